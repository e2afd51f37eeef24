"""Service keys: ``wk_<id>_<secret>``. The secret is random, so a plain hash of it is as good as a slow one."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any, NamedTuple

import sqlalchemy as sa

from windlass.contexts.identity.model import ServiceKey
from windlass.contexts.identity.tables import service_keys
from windlass.contexts.identity.users import permissions_of, permissions_text
from windlass.engine.ports import Transaction
from windlass.kernel.errors import NotFound
from windlass.storage.queries import iso

PREFIX = "wk_"
_KEY = re.compile(r"wk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_ADD = """INSERT INTO service_keys
 (key_id, tenant_id, label, secret_hash, permissions, created_at, created_by, expires_at)
 VALUES (:key_id, :tenant_id, :label, :secret_hash, :permissions, :created_at, :created_by, :expires_at)"""
_REVOKE = "UPDATE service_keys SET revoked_at = :now WHERE key_id = :key_id AND revoked_at IS NULL"


class Kept(NamedTuple):
    """A key with the hash of its secret."""

    key: ServiceKey
    secret_hash: str

    def fits(self, secret: str) -> bool:
        """Say whether a secret is this key's."""
        return secrets.compare_digest(hashed(secret), self.secret_hash)


def new() -> tuple[str, str]:
    """Return a new key's id and its secret."""
    return secrets.token_hex(6), secrets.token_urlsafe(32)


def written(key_id: str, secret: str) -> str:
    """Return a key as it is sent."""
    return f"{PREFIX}{key_id}_{secret}"


def parts(text: str) -> tuple[str, str] | None:
    """Return the id and the secret of a key, or None when it is none."""
    found = _KEY.fullmatch(text)
    return None if found is None else (found[1], found[2])


def hashed(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(tx: Transaction, key: ServiceKey, secret: str) -> None:
    """Keep a new key."""
    tx.execute(
        _ADD,
        {
            "key_id": key.key_id,
            "tenant_id": key.tenant_id,
            "label": key.label,
            "secret_hash": hashed(secret),
            "permissions": permissions_text(key.permissions),
            "created_at": key.created_at,
            "created_by": key.created_by,
            "expires_at": key.expires_at,
        },
    )


def revoke(tx: Transaction, key_id: str, now: str) -> bool:
    """Revoke a key; says whether it was good before.

    Raises:
        NotFound: there is none of this id.
    """
    if find(tx.connection, key_id) is None:
        raise NotFound(f"there is no key {key_id}", key_id=key_id)
    return int(tx.execute(_REVOKE, {"key_id": key_id, "now": now}).rowcount) == 1


def find(connection: sa.Connection, key_id: str) -> Kept | None:
    """Return a key, or None."""
    row = connection.execute(sa.select(service_keys).where(service_keys.c.key_id == key_id)).mappings().first()
    return None if row is None else Kept(_key(row), row["secret_hash"])


def page(connection: sa.Connection, tenant_id: str | None, after: str, limit: int) -> list[ServiceKey]:
    """Return keys in order of their ids, beginning after one."""
    c = service_keys.c
    query = sa.select(service_keys).where(c.key_id > after).order_by(c.key_id).limit(limit)
    if tenant_id is not None:
        query = query.where(c.tenant_id == tenant_id)
    return [_key(row) for row in connection.execute(query).mappings()]


def _key(row: Any) -> ServiceKey:
    return ServiceKey(
        key_id=row["key_id"],
        tenant_id=row["tenant_id"],
        label=row["label"],
        permissions=permissions_of(row["permissions"]),
        created_at=iso(row["created_at"]) or "",
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=iso(row["revoked_at"]),
    )
