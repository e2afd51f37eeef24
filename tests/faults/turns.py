"""How long a process waits for its turn to write a SQLite file: in seconds, and in turns that others had meanwhile."""

from __future__ import annotations

import mmap
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from windlass.storage.sqlite.folder import TurnLock


@dataclass
class Turns:
    """What one process saw: its longest wait, the most turns of others within one, and how often it had its own."""

    longest: float = 0.0
    most: int = 0
    count: int = 0


def measure_turns(path: str) -> Turns:
    """Count turns in a file that all processes share; the counter changes only while one has its turn."""
    counter = Path(path)
    if not counter.exists():
        counter.write_bytes(bytes(8))
    descriptor = os.open(counter, os.O_RDWR)
    shared = mmap.mmap(descriptor, 8)
    os.close(descriptor)
    seen = Turns()
    acquire, try_acquire = TurnLock.acquire, TurnLock.try_acquire
    asked: list[tuple[float, int]] = []

    def ask() -> None:
        if not asked:
            asked.append((time.monotonic(), struct.unpack("q", shared)[0]))

    def got() -> None:
        begun, turn = asked.pop()
        now = struct.unpack("q", shared)[0]
        shared[:] = struct.pack("q", now + 1)
        seen.longest = max(seen.longest, time.monotonic() - begun)
        seen.most = max(seen.most, now - turn)
        seen.count += 1

    def measured(self: TurnLock) -> None:
        ask()
        acquire(self)
        got()

    def tried(self: TurnLock) -> bool:
        ask()
        taken = try_acquire(self)
        if taken:
            got()
        return taken

    TurnLock.acquire, TurnLock.try_acquire = measured, tried  # type: ignore[method-assign]
    return seen
