"""What others have said to a run in memory, and which of its branches listens for what."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from windlass.engine.types import InboxRow


class Mailbox:
    """Inbox rows of one run that no call has taken yet, by id."""

    def __init__(self) -> None:
        self.rows: dict[str, InboxRow] = {}
        self._listeners: dict[str, deque[asyncio.Future[Any]]] = {}
        self._consumed: list[str] = []
        self._gone: set[str] = set()

    def __contains__(self, inbox_id: str) -> bool:
        return inbox_id in self.rows or inbox_id in self._gone

    @property
    def awaited(self) -> list[str]:
        """What branches listen for."""
        return [key for key, waiting in self._listeners.items() if waiting]

    @property
    def unwanted(self) -> frozenset[str]:
        """The ids of rows that no branch listens for: those alone a run may leave behind when it parks."""
        return frozenset(inbox_id for inbox_id, row in self.rows.items() if not self._listeners.get(mail_key(row)))

    def listen(self, key: str, future: asyncio.Future[Any]) -> None:
        """Have ``future`` get the next row of this key."""
        self._listeners.setdefault(key, deque()).append(future)

    def hush(self, key: str, future: asyncio.Future[Any]) -> None:
        """Stop listening."""
        waiting = self._listeners.get(key)
        if waiting is not None:
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                del self._listeners[key]

    def take(self, key: str) -> InboxRow | None:
        """Take the oldest row of a key; whoever takes one consumes it together with the event that says so."""
        for row in self.rows.values():
            if mail_key(row) == key:
                self._take_out(row)
                return row
        return None

    def hand_out(self, row: InboxRow) -> asyncio.Future[Any] | None:
        """Take a row for the first branch that listens for it; returns that branch's future."""
        waiting = self._listeners.get(mail_key(row))
        while waiting:
            future = waiting.popleft()
            if not future.done():
                self._take_out(row)
                return future
        return None

    def _take_out(self, row: InboxRow) -> None:
        self.rows.pop(row.inbox_id, None)
        self._gone.add(row.inbox_id)

    def put_back(self, row: InboxRow) -> None:
        """Lay a row that was taken in its place again: before those of its key that came later."""
        self._gone.discard(row.inbox_id)
        self.rows = {row.inbox_id: row, **self.rows}

    def consume(self, row: InboxRow) -> None:
        """Have a row leave the database with the next commit."""
        self._take_out(row)
        self._consumed.append(row.inbox_id)

    def take_consumed(self) -> list[str]:
        """Return the ids to be consumed in the next commit, and forget that they were to be."""
        consumed, self._consumed = self._consumed, []
        return consumed


def mail_key(row: InboxRow) -> str:
    """Return what a branch listens for to get this row."""
    return f"{row.kind}:{row.name}"
