"""What the connection that writes knows of held runs, so that it need not read what it has just written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from windlass.engine.types import FRESH, ClaimedRun, NewRun, RunHead
from windlass.kernel.clock import to_iso

MOST = 2000
"""Heads that are kept; those that were written longest ago go first."""


class KnownHeads:
    """Heads of held runs as the last transactions of one connection left them.

    They are good for as long as nobody else has written to the file, and SQLite says so: its ``data_version`` is
    another one after every commit of another connection, whosever it is. Inside a transaction that writes nobody can.
    """

    def __init__(self) -> None:
        self._heads: dict[str, RunHead] = {}
        self._born: list[NewRun] = []
        self._out: set[str] = set()
        self._version = -1

    def begin(self, raw: sqlite3.Connection) -> None:
        """Forget everything if another connection has written since; call it in a transaction that writes."""
        version = raw.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self.forget()
            self._version = version

    def give(self, run_id: str, heads: dict[str, RunHead]) -> bool:
        """Put a head that is known among those of a transaction, which may change it.

        Returns:
            whether it was known. It is again after ``keep``, or never.
        """
        head = self._heads.pop(run_id, None)
        if head is None:
            return False
        heads[run_id] = head
        return True

    def bear(self, runs: Iterable[NewRun]) -> None:
        """Know runs that this transaction inserts, once it has committed."""
        self._born += [run for run in runs if run.holder is not None]

    def hand_out(self, runs: Iterable[ClaimedRun]) -> None:
        """Leave the heads of claimed runs to who has claimed them: they stay as they were claimed."""
        self._out.update(run.head.run_id for run in runs)

    @contextmanager
    def unborn_after_failure(self) -> Iterator[None]:
        """Know nothing of runs that a savepoint inserts and takes back."""
        born = len(self._born)
        try:
            yield
        except BaseException:
            del self._born[born:]
            raise

    def keep(self, heads: Iterable[RunHead]) -> None:
        """Keep those that are held, as a commit left them."""
        kept = self._heads
        for run in self._born:
            kept[run.run_id] = _head(run)
        self._born.clear()
        for head in heads:
            if head.holder is None or head.run_id in self._out:
                kept.pop(head.run_id, None)
            else:
                kept[head.run_id] = head
        self._out.clear()
        if len(kept) > MOST:
            for run_id in list(kept)[: len(kept) - MOST]:
                del kept[run_id]

    def forget(self) -> None:
        """Know nothing: what is in the file is in doubt, or may have been changed by others."""
        self._heads.clear()
        self._born.clear()
        self._out.clear()


def _head(run: NewRun) -> RunHead:
    """Return what would be read of a run that has just been inserted."""
    started = None if run.started_at is None else to_iso(run.started_at)
    return RunHead(
        run.run_id, run.name, str(run.status), None, None, run.holder, run.last_seq, run.queue, run.priority, FRESH,
        run.ready_at, run.wake_at, 0, run.parent_run_id, run.on_end, started, run.lane,
    )  # fmt: skip
