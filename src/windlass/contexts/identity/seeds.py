"""The administrator that development comes with: whose password everybody knows, and who is nobody elsewhere.

It is no user before it first logs in. Giving it another password makes it one like any other.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.contexts.identity import users
from windlass.contexts.identity.model import USUAL_PERMISSIONS, User
from windlass.contexts.identity.tables import users as table
from windlass.engine.ports import Transaction

NAME = "admin@example.com"
PASSWORD = "admin123"  # noqa: S105  the one of the runbook, in development alone
HASH = "$argon2id$v=19$m=65536,t=3,p=4$Bfw8VOVwFQAvIyzZQ5xD+g$sia/Xo5rrd10hoKe3EZyifsI64HIwHKgzCw7qN48gQ4"
"""Of that password."""


def plant(tx: Transaction, now: str) -> User:
    """Add it.

    Raises:
        Conflict: somebody has that name since a moment.
    """
    users.add_tenant(tx, "default", now)
    seed = User("", "default", NAME, "admin", USUAL_PERMISSIONS, True, 1, now, now, None, seeded=True)
    return users.add(tx, seed, HASH)


def planted(connection: sa.Connection) -> bool:
    """Say whether the database has one."""
    return bool(connection.execute(sa.select(sa.exists().where(table.c.seeded))).scalar())
