"""Wrong passwords in a row: after some, each makes the next try wait longer, whether there is such a user or not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from windlass.contexts.identity.tables import login_failures
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND
from windlass.kernel.errors import Unavailable

MOST_IN_TURN = 50
"""Tries of one name that may wait for each other; further ones are told to come again."""
FREE = 3
"""Wrong passwords that cost nothing but their own time."""
LONGEST_SECONDS = 60
REMEMBERED_SECONDS = 3600
"""After so long without a further one they are forgotten."""
_FAIL = """INSERT INTO login_failures (name_hash, failures, retry_at, expires_at)
 VALUES (:name_hash, 1, :now, :expires_at) ON CONFLICT (name_hash) DO UPDATE SET
 failures = CASE WHEN login_failures.expires_at <= :now THEN 1 ELSE login_failures.failures + 1 END,
 expires_at = excluded.expires_at RETURNING failures"""
_WAIT = "UPDATE login_failures SET retry_at = :retry_at WHERE name_hash = :name_hash"
_FORGET = "DELETE FROM login_failures WHERE name_hash = :name_hash"


def hashed(folded_name: str) -> str:
    """Return what is kept of a name that somebody tried."""
    return hashlib.sha256(folded_name.encode(errors="replace")).hexdigest()


def blocked_until(connection: sa.Connection, name_hash: str) -> int:
    """Return when a name may be tried again, in microseconds."""
    c = login_failures.c
    return connection.execute(sa.select(c.retry_at).where(c.name_hash == name_hash)).scalar() or 0


def fail(tx: Transaction, name_hash: str, now: int) -> None:
    """Remember a wrong password."""
    values = {"name_hash": name_hash, "now": now, "expires_at": now + REMEMBERED_SECONDS * SECOND}
    failures = tx.execute(_FAIL, values).fetchone()[0]
    if failures > FREE:
        seconds = min(LONGEST_SECONDS, 2 ** min(failures - FREE - 1, 16))
        tx.execute(_WAIT, {"name_hash": name_hash, "retry_at": now + seconds * SECOND})


def succeed(tx: Transaction, name_hash: str) -> None:
    """Forget the wrong passwords of a name."""
    tx.execute(_FORGET, {"name_hash": name_hash})


class Turns:
    """Lets those who try the same name do so one after the other: guesses side by side would all count as the first."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """Wait for a name's turn.

        Raises:
            Unavailable: too many are waiting for it.
        """
        lock, users = self._locks.setdefault(name, (asyncio.Lock(), []))
        if len(users) >= MOST_IN_TURN:
            raise Unavailable("too many logins at once", retry_after=2.0)
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[name]
