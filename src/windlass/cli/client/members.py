"""Asking for users, keys and the audit log, at a server or the database itself: dictionaries as the API has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from windlass.cli.client.http import HttpClient, open_http, segment
from windlass.cli.client.protocol import Row

USERS, KEYS, AUDIT = "/api/v1/users", "/api/v1/keys", "/api/v1/audit"
PAGE = 200


class MemberClient(Protocol):
    """What the commands of users, keys and the audit log ask for."""

    async def add_user(self, name: str, password: str, tenant: str, role: str, granted: Iterable[str]) -> Row:
        """Add a user; ``new_tenant`` says that its tenant was made."""
        ...

    async def change_user(self, name: str, changes: Row) -> Row:
        """Change a user, or with no changes return it."""
        ...

    async def set_password(self, name: str, password: str) -> Row:
        """Change a user's password."""
        ...

    async def list_users(self, tenant: str | None) -> list[Row]:
        """Return all users, or those of a tenant."""
        ...

    async def add_key(self, name: str, tenant: str, granted: Iterable[str], days: float | None) -> Row:
        """Make a key; ``key`` is what is sent, ``new_tenant`` as with users."""
        ...

    async def list_keys(self, tenant: str | None) -> list[Row]:
        """Return all keys, or those of a tenant."""
        ...

    async def revoke_key(self, key_id: str) -> Row:
        """Revoke a key."""
        ...

    async def entries(self, wanted: Row, limit: int) -> list[Row]:
        """Return entries of the audit log, newest first, by ``tenant``, ``actor``, ``action`` and ``target``."""
        ...

    async def verify(self, after: int, limit: int) -> Row:
        """Check a stretch of the audit log; see ``identity.api.Verdict``."""
        ...


class HttpMembers:
    """See ``MemberClient``."""

    def __init__(self, client: HttpClient) -> None:
        self._call = client.call

    async def add_user(self, name: str, password: str, tenant: str, role: str, granted: Iterable[str]) -> Row:
        """Add a user."""
        body = {"username": name, "password": password, "tenant_id": tenant, "role": role, "permissions": [*granted]}
        added: Row = await self._call("POST", USERS, json=body)
        return added

    async def change_user(self, name: str, changes: Row) -> Row:
        """Change a user."""
        changed: Row = await self._call("PATCH", f"{USERS}/{segment(name)}", json=changes)
        return changed

    async def set_password(self, name: str, password: str) -> Row:
        """Change a password."""
        changed: Row = await self._call("PUT", f"{USERS}/{segment(name)}/password", json={"password": password})
        return changed

    async def list_users(self, tenant: str | None) -> list[Row]:
        """Return users."""
        return await self._pages(USERS, {"tenant": tenant}, None)

    async def add_key(self, name: str, tenant: str, granted: Iterable[str], days: float | None) -> Row:
        """Make a key."""
        body = {"name": name, "tenant_id": tenant, "permissions": [*granted], "days": days}
        added: Row = await self._call("POST", KEYS, json=body)
        return added

    async def list_keys(self, tenant: str | None) -> list[Row]:
        """Return keys."""
        return await self._pages(KEYS, {"tenant": tenant}, None)

    async def revoke_key(self, key_id: str) -> Row:
        """Revoke a key."""
        done: Row = await self._call("DELETE", f"{KEYS}/{segment(key_id)}")
        return done

    async def entries(self, wanted: Row, limit: int) -> list[Row]:
        """Return entries."""
        return await self._pages(AUDIT, wanted, limit)

    async def verify(self, after: int, limit: int) -> Row:
        """Check the log."""
        verdict: Row = await self._call("GET", f"{AUDIT}/verify", params={"after": after, "limit": limit})
        return verdict

    async def _pages(self, path: str, wanted: Row, limit: int | None) -> list[Row]:
        items: list[Row] = []
        params: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        while limit is None or len(items) < limit:
            params["limit"] = PAGE if limit is None else min(limit - len(items), PAGE)
            page = await self._call("GET", path, params=params)
            items += page["items"]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        return items


@asynccontextmanager
async def open_members(url: str | None, api_key: str | None, *, creates: bool = False) -> AsyncIterator[MemberClient]:
    """Open a client.

    Args:
        url: the server's address, or None for the database of DATABASE_URL.
        api_key: the server's key, or that of an administrator.
        creates: whether a SQLite file that is not there is made.
    """
    if url is not None:
        async with open_http(url, api_key) as client:
            yield HttpMembers(client)
        return
    from windlass.cli.client.direct_members import DirectMembers
    from windlass.cli.client.operators import identity

    async with identity(creates=creates) as who:
        yield DirectMembers(who)
