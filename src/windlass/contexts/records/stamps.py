"""Ids and creation times in one order.

A record's id is a UUID version 7 whose first bits are its creation time to the microsecond, and no two records of
a process are created in the same microsecond: whether a list breaks ties by time or by id, it is the same list.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable

from windlass.kernel.clock import Clock


class Stamps:
    """A source of creation times (microseconds) and the ids that belong to them.

    Args:
        clock: where the time comes from; when it stands still or goes back, stamps go on counting.
        randbytes: a source of random bytes.
    """

    def __init__(self, clock: Clock, randbytes: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._randbytes = randbytes
        self._lock = threading.Lock()
        self._last = 0
        self._pool: list[int] = []
        os.register_at_fork(after_in_child=self._pool.clear)

    def new(self) -> tuple[int, str]:
        """Return a time later than any before, and its id."""
        with self._lock:
            now = self._last = max(self._clock.now(), self._last + 1)
            if not self._pool:
                self._pool.extend(struct.unpack("512Q", self._randbytes(4096)))
            tail = self._pool.pop() & 0x3FFFFFFFFFFFFFFF | 0x8000000000000000
        milliseconds, rest = divmod(now, 1000)
        text = f"{milliseconds << 16 | 0x7000 | rest << 2:016x}{tail:016x}"
        return now, f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
