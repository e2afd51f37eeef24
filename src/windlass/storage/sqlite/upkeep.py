"""Looking after a SQLite file: its WAL is moved into it, and what was deleted is given back to the disk."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from windlass.storage.sqlite.folder import RunFolder, TurnLock
from windlass.storage.sqlite.session import connect

WAIT_MILLISECONDS = 100
"""How long the end of a checkpoint waits for readers, while nobody can write."""
VACUUM_WAIT_MILLISECONDS = 5000


def maintain(path: Path, mode: str, *, vacuum: bool) -> dict[str, Any]:
    """Checkpoint the WAL of a file, and vacuum the file where that is wanted.

    Most of a checkpoint happens beside whoever writes; its end, and a vacuum, have the turn to write. What readers or
    another maintenance keep from happening is left to the next time.

    Args:
        path: the file.
        mode: PASSIVE, RESTART or TRUNCATE.
        vacuum: whether to write the file anew, without what was deleted; nobody can write meanwhile.

    Returns:
        what came of it.
    """
    folder = RunFolder(path)
    with _alone(folder) as ours:
        if not ours:
            return {"skipped": "another maintenance goes on"}
        before = path.stat().st_size
        raw = connect(str(path))
        try:
            found: dict[str, Any] = {"checkpoint": _checkpoint(raw, "PASSIVE")}
            if mode != "PASSIVE" or vacuum:
                with _turn(folder):
                    if vacuum:
                        found["vacuum"] = _vacuum(raw)
                    if mode != "PASSIVE":
                        raw.execute(f"PRAGMA busy_timeout = {WAIT_MILLISECONDS}")
                        found["checkpoint"] = _checkpoint(raw, mode)
        finally:
            raw.close()
        return {**found, "bytes_before": before, "bytes_after": path.stat().st_size}


def _checkpoint(raw: sqlite3.Connection, mode: str) -> dict[str, Any]:
    busy, pages, moved = raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return {"mode": mode, "busy": bool(busy), "pages": pages, "moved": moved}


def _vacuum(raw: sqlite3.Connection) -> str:
    raw.execute(f"PRAGMA busy_timeout = {VACUUM_WAIT_MILLISECONDS}")
    try:
        raw.execute("VACUUM")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise
        return "busy"
    return "done"


@contextmanager
def _turn(folder: RunFolder) -> Iterator[None]:
    turn = TurnLock(folder.path)
    turn.acquire()
    try:
        yield
    finally:
        turn.close()


@contextmanager
def _alone(folder: RunFolder) -> Iterator[bool]:
    descriptor = os.open(folder.path / "maintenance.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
