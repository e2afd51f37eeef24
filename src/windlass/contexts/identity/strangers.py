"""Names by which people are to be asked, and that stand for nobody."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from windlass.contexts.identity import keys, users
from windlass.contexts.identity.model import KEEPER, ROLES
from windlass.contexts.identity.tables import users as rows
from windlass.kernel.actors import DEVELOPER, ROLE, could_be_id

_KEY = "key:"
_NO_USERS = frozenset({KEEPER.user_id, DEVELOPER.user_id, "operator"})
"""Callers that have no row."""


def strangers(connection: sa.Connection, tenant_id: str, names: Sequence[str], *, vouched: bool) -> list[str]:
    """Return which names stand for nobody of a tenant.

    Names of users are anybody's where the tenant keeps none, and where somebody else vouches for users: then one may
    come later. Ids, of users and of service keys, and roles are given here alone.

    Args:
        connection: reads.
        tenant_id: the tenant.
        names: names and ids of users, ids of keys, roles.
        vouched: whether somebody else vouches for users.
    """
    kept = not vouched and _keeps_users(connection, tenant_id)
    return [name for name in names if not _known(connection, tenant_id, name, kept=kept)]


def _known(connection: sa.Connection, tenant_id: str, name: str, *, kept: bool) -> bool:
    if not could_be_id(name):
        named = users.find(connection, name) if kept else None
        return not kept or (named is not None and named.tenant_id == tenant_id)
    if name.startswith(ROLE):
        return name.removeprefix(ROLE) in ROLES
    if name.startswith(_KEY):
        key = keys.find(connection, name.removeprefix(_KEY))
        return key is not None and key.key.tenant_id == tenant_id and key.key.revoked_at is None
    found = users.by_id(connection, name)
    return name in _NO_USERS or (found is not None and (found.user_id, found.tenant_id) == (name, tenant_id))


def _keeps_users(connection: sa.Connection, tenant_id: str) -> bool:
    query = sa.select(rows.c.user_id).where(rows.c.tenant_id == tenant_id, ~rows.c.seeded).limit(1)
    return connection.execute(query).first() is not None
