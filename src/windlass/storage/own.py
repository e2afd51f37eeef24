"""Transactions of their own for transactional steps, where the database can run several at once (PostgreSQL).

User code never sits in the others' batch there: it may be slow, and its locks are its own business. Promise 8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from windlass.engine.ops import Operation
from windlass.engine.ports import WriteSession
from windlass.storage.committer import Committer, OnRings

A = TypeVar("A")
R = TypeVar("R")


class OwnTransactions:
    """``engine.ops.Commits`` over several connections: one unit a transaction, each on the least busy one.

    Args:
        sessions: the connections; closed with this.
        on_rings: called with the doorbells and the events of each commit.
    """

    def __init__(self, sessions: Sequence[WriteSession], *, on_rings: OnRings = lambda _rings, _written: None) -> None:
        self._committers = [Committer(session, on_rings=on_rings, max_batch=1) for session in sessions]

    def start(self) -> None:
        """Start a thread for each connection."""
        for committer in self._committers:
            committer.start()

    def hurry(self) -> None:
        """Wait for no database that is away any more."""
        for committer in self._committers:
            committer.hurry()

    def close(self) -> None:
        """Finish what is waiting and close the connections."""
        for committer in self._committers:
            committer.close()

    def submit(self, op: Operation[A, R], unit: A, *, bounded: bool = False) -> asyncio.Future[R]:
        """Queue a unit; see ``engine.ops.Commits``."""
        return min(self._committers, key=lambda committer: committer.waiting).submit(op, unit, bounded=bounded)
