"""Tables as dicts whose changes can be undone, and a priority queue over their rows."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
Member = TypeVar("Member", bound=tuple[Any, ...])

Undo = Callable[[], None]


class DuplicateRow(Exception):
    """A row with this key is there already."""


class UndoLog:
    """How to take back everything since the transaction began; savepoints are places in it."""

    def __init__(self) -> None:
        self._steps: list[Undo] = []

    def add(self, step: Undo) -> None:
        """Remember how to take back a change that was just made."""
        self._steps.append(step)

    def mark(self) -> int:
        """Return the place reached, for ``rewind``."""
        return len(self._steps)

    def rewind(self, mark: int = 0) -> None:
        """Take back what was done since ``mark``, the latest first."""
        while len(self._steps) > mark:
            self._steps.pop()()

    def forget(self) -> None:
        """Keep what was done."""
        self._steps.clear()


class Table(Generic[K, V]):
    """Rows by key. Rows are replaced, never changed in place: an old row is all that undoing needs."""

    def __init__(self, undo: UndoLog) -> None:
        self._undo = undo
        self._rows: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __getitem__(self, key: K) -> V:
        return self._rows[key]

    def get(self, key: K) -> V | None:
        """Return a row, or None."""
        return self._rows.get(key)

    def items(self) -> list[tuple[K, V]]:
        """Return keys and rows."""
        return list(self._rows.items())

    def insert(self, key: K, row: V) -> None:
        """Add a row.

        Raises:
            DuplicateRow: the key is taken.
        """
        if key in self._rows:
            raise DuplicateRow(key)
        self.put(key, row)

    def put(self, key: K, row: V) -> None:
        """Add or replace a row."""
        old = self._rows.get(key)
        self._write(key, old, row)
        self._undo.add(partial(self._write, key, row, old))

    def remove(self, key: K) -> None:
        """Delete a row if it is there."""
        old = self._rows.get(key)
        if old is not None:
            self._write(key, old, None)
            self._undo.add(partial(self._write, key, None, old))

    def _write(self, key: K, old: V | None, new: V | None) -> None:
        if new is None:
            del self._rows[key]
        else:
            self._rows[key] = new
        self._changed(key, old, new)

    def _changed(self, key: K, old: V | None, new: V | None) -> None:
        """Keep indexes up to date; called for every change and for every change undone."""


class Ranking(Generic[Member]):
    """A set that knows its smallest member.

    Members leave the heap only when they reach its top, so both ``add`` and ``discard`` are cheap.
    """

    def __init__(self) -> None:
        self._members: set[Member] = set()
        self._heap: list[Member] = []

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Member) -> None:
        """Add a member."""
        if member not in self._members:
            self._members.add(member)
            heapq.heappush(self._heap, member)

    def discard(self, member: Member) -> None:
        """Remove a member if it is there."""
        self._members.discard(member)
        if len(self._heap) > 2 * len(self._members) + 64:
            self._heap = list(self._members)
            heapq.heapify(self._heap)

    def replace(self, old: Member | None, new: Member | None) -> None:
        """Let ``new`` take the place of ``old``; either may be missing."""
        if old != new:
            if old is not None:
                self.discard(old)
            if new is not None:
                self.add(new)

    def smallest(self, many: int) -> list[Member]:
        """Return the smallest members, in order."""
        return heapq.nsmallest(many, self._members)

    def first(self) -> Member | None:
        """Return the smallest member, or None."""
        while self._heap and self._heap[0] not in self._members:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None
