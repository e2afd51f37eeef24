"""Free TCP ports on the loopback address."""

import socket

_given: set[int] = set()


def free_port() -> int:
    """Return a port nothing listens on and that this process has not been given before.

    Another process could still take it before its user binds it; servers here are started once and
    their start is waited for, so such a clash shows as a failed start, never as a wrong answer.
    """
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
