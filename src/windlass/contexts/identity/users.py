"""Rows of tenants and users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.identity.model import User
from windlass.contexts.identity.tables import users
from windlass.engine.ports import Transaction
from windlass.kernel.actors import fold
from windlass.kernel.errors import Conflict, NotFound
from windlass.storage.queries import iso
from windlass.storage.queries import text as json_text

_SHOWN = [column for column in users.c if column.name not in {"folded_name", "password_hash"}]
_ADD_TENANT = "INSERT INTO tenants (tenant_id, created_at) VALUES (:tenant_id, :now) ON CONFLICT DO NOTHING"
_ADD = """INSERT INTO users (tenant_id, username, folded_name, password_hash, role, permissions, created_at, updated_at,
 seeded) VALUES (:tenant_id, :username, :folded, :password_hash, :role, :permissions, :now, :now, :seeded)
 ON CONFLICT DO NOTHING RETURNING user_id"""
_CHANGE = """UPDATE users SET role = :role, permissions = :permissions, is_active = :is_active,
 token_version = :version, updated_at = :now WHERE user_id = :user_id"""
_HASH = """UPDATE users SET password_hash = :password_hash, token_version = token_version + 1,
 updated_at = :now, seeded = :seeded WHERE user_id = :user_id"""
_REHASH = "UPDATE users SET password_hash = :fresh WHERE user_id = :user_id AND password_hash = :known"
_SEEN = "UPDATE users SET last_login_at = :now WHERE user_id = :user_id"


def add_tenant(tx: Transaction, tenant_id: str, now: str) -> bool:
    """Add a tenant unless it is there; says whether it was new."""
    return int(tx.execute(_ADD_TENANT, {"tenant_id": tenant_id, "now": now}).rowcount) == 1


def add(tx: Transaction, user: User, password_hash: str) -> User:
    """Add a user; the id is given here.

    Raises:
        Conflict: the name is taken.
    """
    found = tx.execute(
        _ADD,
        {
            "tenant_id": user.tenant_id,
            "username": user.username,
            "folded": fold(user.username),
            "password_hash": password_hash,
            "role": user.role,
            "permissions": permissions_text(user.permissions),
            "now": user.created_at,
            "seeded": user.seeded,
        },
    ).fetchone()
    if found is None:
        raise Conflict(f"there is a user {user.username} already", username=user.username)
    return named(tx.connection, user.username)


def change(tx: Transaction, user: User) -> None:
    """Write a user's role, permissions, whether it is active, and the version of its tokens."""
    tx.execute(
        _CHANGE,
        {
            "user_id": int(user.user_id),
            "role": user.role,
            "permissions": permissions_text(user.permissions),
            "is_active": user.is_active,
            "version": user.version,
            "now": user.updated_at,
        },
    )


def set_password(tx: Transaction, user: User, password_hash: str, now: str) -> None:
    """Write a password; tokens of before are good no more."""
    tx.execute(_HASH, {"user_id": int(user.user_id), "password_hash": password_hash, "now": now, "seeded": False})


def logged_in(tx: Transaction, user: User, now: str) -> None:
    """Remember a login."""
    tx.execute(_SEEN, {"user_id": int(user.user_id), "now": now})


def rehash(tx: Transaction, user: User, known: str, fresh: str) -> None:
    """Replace the hash of a password by another one of the same, unless it has been changed."""
    tx.execute(_REHASH, {"user_id": int(user.user_id), "known": known, "fresh": fresh})


def by_id(connection: sa.Connection, user_id: str) -> User | None:
    """Return a user, or None."""
    if not (user_id.isascii() and user_id.isdigit() and len(user_id) <= 18):
        return None
    row = connection.execute(sa.select(*_SHOWN).where(users.c.user_id == int(user_id))).mappings().first()
    return None if row is None else _user(row)


def find(connection: sa.Connection, username: str) -> User | None:
    """Return a user by name, or None."""
    return (with_hash(connection, username) or (None,))[0]


def with_hash(connection: sa.Connection, username: str) -> tuple[User, str] | None:
    """Return a user by name with what is kept of the password, or None."""
    folded = fold(username)
    if not folded.isprintable():
        return None
    query = sa.select(*_SHOWN, users.c.password_hash).where(users.c.folded_name == folded)
    row = connection.execute(query).mappings().first()
    return None if row is None else (_user(row), row["password_hash"])


def locked(tx: Transaction, username: str) -> User:
    """Return a user by name, whom no other transaction changes meanwhile.

    Raises:
        NotFound: there is none.
    """
    folded = fold(username)
    if folded.isprintable():
        tx.connection.execute(sa.select(users.c.user_id).where(users.c.folded_name == folded).with_for_update())
    return named(tx.connection, username)


def named(connection: sa.Connection, username: str) -> User:
    """Return a user by name.

    Raises:
        NotFound: there is none.
    """
    found = find(connection, username)
    if found is None:
        raise NotFound(f"there is no user {username}", username=username)
    return found


def page(connection: sa.Connection, tenant_id: str | None, after: int, limit: int) -> list[User]:
    """Return users in order of their ids, beginning after one."""
    query = sa.select(*_SHOWN).where(users.c.user_id > after).order_by(users.c.user_id).limit(limit)
    if tenant_id is not None:
        query = query.where(users.c.tenant_id == tenant_id)
    return [_user(row) for row in connection.execute(query).mappings()]


def permissions_text(names: Sequence[str]) -> str:
    """Return permissions as they are kept."""
    return orjson.dumps(list(names)).decode()


def permissions_of(value: object) -> tuple[str, ...]:
    """Return permissions as they were kept."""
    return tuple(orjson.loads(json_text(value) or "[]"))


def _user(row: Any) -> User:
    return User(
        user_id=str(row["user_id"]),
        tenant_id=row["tenant_id"],
        username=row["username"],
        role=row["role"],
        permissions=permissions_of(row["permissions"]),
        is_active=bool(row["is_active"]),
        version=row["token_version"],
        created_at=iso(row["created_at"]) or "",
        updated_at=iso(row["updated_at"]) or "",
        last_login_at=iso(row["last_login_at"]),
        seeded=bool(row["seeded"]),
    )
