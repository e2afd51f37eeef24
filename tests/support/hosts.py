"""A process as a host of its own: its own network, in which nothing is but itself, and its own name.

Anybody may make one, root or not: a user namespace comes with it. Where the machine allows none, the process stays in
the network of all; what it does and what is done to it are the same.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_NEWUTS, _NEWUSER, _NEWNET = 0x0400_0000, 0x1000_0000, 0x4000_0000
_SIOCSIFFLAGS, _UP = 0x8914, 1


def leave(name: str) -> bool:
    """Leave the networks of this machine, and be called ``name``; says whether the machine allowed it.

    The process must not have threads.
    """
    for kinds in (_NEWUSER | _NEWNET | _NEWUTS, _NEWNET | _NEWUTS):
        if _may(kinds, name):
            _leave(kinds, name)
            return True
    return False


def _may(kinds: int, name: str) -> bool:
    """Say whether a process of ours comes through: some machines refuse only half-way."""
    scout = os.fork()
    if scout == 0:
        try:
            _leave(kinds, name)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(scout, 0)[1] == 0


def _leave(kinds: int, name: str) -> None:
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(kinds) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if kinds & _NEWUSER:
        for file, said in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", file).write_text(said)
    socket.sethostname(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))


def lend_listener(address: str) -> int:
    """Listen here and have whoever listens at ``address``, a socket's file, accept; returns the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as other:
        other.connect(address)
        socket.send_fds(other, [b"!"], [listener.fileno()])
        port: int = listener.getsockname()[1]
        return port


def borrow_listener(waiting: socket.socket) -> socket.socket:
    """Take the listening socket that somebody lends."""
    connection, _ = waiting.accept()
    with connection:
        _, numbers, _, _ = socket.recv_fds(connection, 1, 1)
        return socket.socket(fileno=numbers[0])
