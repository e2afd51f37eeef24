"""The folder beside a SQLite database where its processes meet: writer's turn, holders' locks, doorbells."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import tempfile
import time
from pathlib import Path

_SOCKET_PATH_LIMIT = 100
_STAMP_SECONDS = 0.05


class TurnLock:
    """A fair lock between processes.

    Who wants to write first stands at the turnstile; the one that holds the turnstile is next. A process that
    writes in a loop must queue there behind those already waiting, so nobody starves.
    """

    def __init__(self, folder: Path) -> None:
        self._turn = os.open(folder / "turn.lock", os.O_RDWR | os.O_CREAT, 0o666)
        self._write = os.open(folder / "write.lock", os.O_RDWR | os.O_CREAT, 0o666)

    def acquire(self) -> None:
        """Wait for this process's turn."""
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._write, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def try_acquire(self) -> bool:
        """Take the turn if nobody has it or waits for it."""
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            fcntl.flock(self._write, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        return True

    def release(self) -> None:
        """Let the next process write."""
        fcntl.flock(self._write, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close both files; a held lock is released."""
        os.close(self._turn)
        os.close(self._write)


class RunFolder:
    """Paths and locks of one database's processes."""

    def __init__(self, database: Path) -> None:
        self.path = database.parent / f"{database.name}-run"
        (self.path / "holders").mkdir(parents=True, exist_ok=True)
        self.bells = self.path
        self._known: list[Path] = []
        self._changed = 0
        self._settled = 0.0
        if len(str(self.path)) > _SOCKET_PATH_LIMIT - 45:
            digest = hashlib.sha256(str(database).encode()).hexdigest()[:16]
            self.bells = Path(tempfile.gettempdir()) / f"windlass-{os.getuid()}-{digest}"
            self.bells.mkdir(mode=0o700, exist_ok=True)

    def lock_holder(self, holder: str) -> int:
        """Take a holder's own lock for as long as the returned descriptor stays open."""
        descriptor = os.open(self._holder(holder), os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor

    def holder_is_dead(self, holder: str) -> bool:
        """Say whether nobody holds this holder's lock: its process is gone, whatever the clocks say."""
        try:
            descriptor = os.open(self._holder(holder), os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                return False
            raise
        finally:
            os.close(descriptor)
        return True

    def forget_holder(self, holder: str) -> None:
        """Remove what a dead holder left."""
        self._holder(holder).unlink(missing_ok=True)
        self.bell(holder).unlink(missing_ok=True)

    def bell(self, holder: str) -> Path:
        """Return the path of a holder's doorbell socket."""
        return self.bells / f"{holder}.bell"

    def others(self, holder: str | None) -> list[Path]:
        """Return the doorbells of the other processes; the folder is read when its time stamp has changed.

        And for a moment after that: on many kernels two changes within a few milliseconds have one time stamp.
        """
        changed, now = self.bells.stat().st_mtime_ns, time.monotonic()
        if changed != self._changed:
            self._changed, self._settled = changed, now + _STAMP_SECONDS
        if now < self._settled:
            self._known = [path for path in self.bells.iterdir() if path.suffix == ".bell"]
        own = f"{holder}.bell"
        return [path for path in self._known if path.name != own]

    def _holder(self, holder: str) -> Path:
        return self.path / "holders" / f"{holder}.lock"


def hang_bell(bell: socket.socket, path: Path) -> None:
    """Bind a doorbell; nobody sees it before it can be rung, so that one that cannot be is a dead one's."""
    hidden = path.with_suffix(".hang")
    bell.bind(str(hidden))
    hidden.rename(path)


def ring_bell(path: Path, message: bytes) -> None:
    """Send a datagram to a doorbell. A full one is left alone, its owner looks once a second; a dead one goes.

    One whose owner is just closing it is a broken pipe: it goes with its owner.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(message, str(path))
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                path.unlink(missing_ok=True)
            elif error.errno not in {errno.ENOENT, errno.EAGAIN, errno.ENOBUFS, errno.EPIPE}:
                raise
