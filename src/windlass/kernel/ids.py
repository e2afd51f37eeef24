"""Sortable ids: UUID version 7 (RFC 9562), monotonic within a process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable


def wall_ms() -> int:
    """Return wall time in milliseconds."""
    return time.time_ns() // 1_000_000


class Ids:
    """A source of UUIDv7 strings (36 characters) that sort in the order they were made.

    Args:
        now_ms: wall time in milliseconds.
        randbytes: a source of random bytes; both are replaced by a simulation's.
    """

    def __init__(
        self,
        now_ms: Callable[[], int] = wall_ms,
        randbytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._now_ms = now_ms
        self._randbytes = randbytes
        self._lock = threading.Lock()
        self._last_ms = 0
        self._counter = 0
        self._pool = b""
        self._at = 0

    def follow(self, now_ms: Callable[[], int] = wall_ms, randbytes: Callable[[int], bytes] = os.urandom) -> None:
        """Take time and randomness from other sources from now on, or from the machine; ids begin anew."""
        with self._lock:
            self._now_ms, self._randbytes = now_ms, randbytes
            self._last_ms = self._counter = self._at = 0
            self._pool = b""

    def new(self) -> str:
        """Return a new id; the 12 bits after the time are a counter, so ids of one process are ordered."""
        with self._lock:
            ms = self._now_ms()
            if ms > self._last_ms:
                self._last_ms, self._counter = ms, 0
            else:
                self._counter += 1
                if self._counter > 0xFFF:
                    self._last_ms, self._counter = self._last_ms + 1, 0
                ms = self._last_ms
            at = self._at
            if at + 8 > len(self._pool):
                self._pool, at = self._randbytes(4096), 0
            self._at = at + 8
            tail = int.from_bytes(self._pool[at : at + 8], "big") & 0x3FFFFFFFFFFFFFFF | 0x8000000000000000
            head = ms << 16 | 0x7000 | self._counter
        text = f"{head:016x}{tail:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


process_ids = Ids()
new_id = process_ids.new
