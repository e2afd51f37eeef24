"""The run rows in memory, and the indexes that claims, timers and takeovers look through."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import fields
from operator import attrgetter
from typing import NamedTuple

from windlass.engine.types import FRESH, TERMINAL, ClaimedRun, NewRun, RunHead, Status
from windlass.kernel.clock import to_iso
from windlass.kernel.versions import code_of
from windlass.storage.memory.tables import Ranking, Table, UndoLog
from windlass.storage.state import copied

ReadyKey = tuple[int, int, int, str]
WakeKey = tuple[int, str]
Shelf = tuple[str, str]
"""Queue and code: what a claim chooses by."""


class RunRow(NamedTuple):
    """A run: what it was born with, its changeable head (never handed out, only copies), and how it ended."""

    born: NewRun
    head: RunHead
    outputs: str | None = None
    error: str | None = None
    ended_at: int | None = None
    failed_attempts: int | None = None

    @property
    def shelf(self) -> Shelf:
        """Return where a claim finds it."""
        return self.born.queue, code_of(self.born.name, self.born.interface_version)

    @property
    def ready_key(self) -> ReadyKey | None:
        """Return its place among the runs that may be claimed, or None: priority, woken first, longest ready."""
        head = self.head
        if head.holder is not None or head.ready_at is None or head.lane:
            return None
        return head.priority, head.claim_rank, head.ready_at, head.run_id

    @property
    def due_key(self) -> WakeKey | None:
        """Return its place among the runs of its lane that may be claimed, or None."""
        head = self.head
        if head.holder is not None or head.ready_at is None or not head.lane:
            return None
        return head.ready_at + (head.priority + head.claim_rank) * self.born.ageing, head.run_id

    @property
    def wake_key(self) -> WakeKey | None:
        """Return its place among the runs that time alone will wake, or None."""
        head = self.head
        if head.wake_at is None or head.holder is not None or head.status in _ASLEEP_FOR_GOOD:
            return None
        return head.wake_at, head.run_id

    def claimed(self) -> ClaimedRun:
        """Return it as a claim hands it out, without journal and inbox."""
        born = self.born
        return ClaimedRun(
            copied(self.head),
            born.inputs,
            born.tenant_id,
            born.owner,
            born.key,
            born.attributes,
            born.interface_version,
        )


_born = attrgetter(*(field.name for field in fields(NewRun)))
_ASLEEP_FOR_GOOD = frozenset({Status.PAUSED, *TERMINAL})


def new_row(run: NewRun) -> RunRow:
    """Return the row of a run that has just been born."""
    head = RunHead(
        run.run_id,
        run.name,
        run.status,
        None,
        None,
        run.holder,
        run.last_seq,
        run.queue,
        run.priority,
        FRESH,
        run.ready_at,
        run.wake_at,
        0,
        run.parent_run_id,
        run.on_end,
        None if run.started_at is None else to_iso(run.started_at),
        run.lane,
    )
    return RunRow(NewRun(*_born(run)), head)


class RunTable(Table[str, RunRow]):
    """Runs by id."""

    def __init__(self, undo: UndoLog) -> None:
        super().__init__(undo)
        self._ready: dict[Shelf, Ranking[ReadyKey]] = {}
        self._lanes: dict[str, Ranking[WakeKey]] = {}
        self._wakes: Ranking[WakeKey] = Ranking()
        self._held: dict[str, set[str]] = {}
        self._children: dict[str, set[str]] = {}

    def _changed(self, key: str, old: RunRow | None, new: RunRow | None) -> None:
        row = new or old
        if row is None:
            return
        was_ready, is_ready = old and old.ready_key, new and new.ready_key
        if old is not None and new is not None and old.born is not new.born and old.shelf != new.shelf:
            self._ready.setdefault(old.shelf, Ranking()).replace(was_ready, None)
            was_ready = None
        if was_ready != is_ready:
            self._ready.setdefault(row.shelf, Ranking()).replace(was_ready, is_ready)
        was_due, is_due = old and old.due_key, new and new.due_key
        if was_due != is_due:
            self._lanes.setdefault(row.born.lane, Ranking()).replace(was_due, is_due)
        self._wakes.replace(old and old.wake_key, new and new.wake_key)
        _move(self._held, key, old and old.head.holder, new and new.head.holder)
        _move(self._children, key, old and old.born.parent_run_id, new and new.born.parent_run_id)

    def ready(self, wanted: Callable[[Shelf], bool]) -> Iterator[RunRow]:
        """Yield runs that may be claimed from wanted shelves, best first.

        The caller claims each as it comes, or stops wanting its shelf.
        """
        tops: list[tuple[ReadyKey, Shelf]] = []
        for shelf, ranking in self._ready.items():
            first = ranking.first()
            if first is not None and wanted(shelf):
                tops.append((first, shelf))
        heapq.heapify(tops)
        while tops:
            key, shelf = tops[0]
            if wanted(shelf):
                yield self[key[3]]
            first = self._ready[shelf].first()
            if first is None or not wanted(shelf):
                heapq.heappop(tops)
            else:
                heapq.heapreplace(tops, (first, shelf))

    def has_ready(self, wanted: Callable[[Shelf], bool]) -> bool:
        """Say whether anything may be claimed from wanted shelves."""
        return any(len(ranking) > 0 and wanted(shelf) for shelf, ranking in self._ready.items())

    def lanes(self) -> list[str]:
        """Return the lanes with runs that may be claimed, in order."""
        return sorted(lane for lane, ranking in self._lanes.items() if len(ranking))

    def ready_in(self, lane: str, many: int) -> list[RunRow]:
        """Return the runs of a lane that may be claimed, whose turn comes first."""
        return [self[run_id] for _, run_id in self._lanes[lane].smallest(many)]

    def next_wake(self) -> WakeKey | None:
        """Return when the next run wakes by itself, and which."""
        return self._wakes.first()

    def held_by(self, holder: str) -> list[str]:
        """Return the runs of one holder in id order."""
        return sorted(self._held.get(holder, ()))

    def held(self) -> list[str]:
        """Return every held run in id order."""
        return sorted(run_id for runs in self._held.values() for run_id in runs)

    def children_of(self, run_id: str) -> list[str]:
        """Return the children of a run in id order."""
        return sorted(self._children.get(run_id, ()))


def _move(index: dict[str, set[str]], member: str, old: str | None, new: str | None) -> None:
    if old == new:
        return
    if old is not None:
        index[old].remove(member)
        if not index[old]:
            del index[old]
    if new is not None:
        index.setdefault(new, set()).add(member)
