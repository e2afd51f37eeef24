"""Answering the commands of users, keys and the audit log in this process, on the database itself."""

from __future__ import annotations

from collections.abc import Iterable

from windlass.cli.client.operators import operator
from windlass.cli.client.protocol import Row
from windlass.contexts.identity.api import PAGE, AuditQuery, Identity, ServiceKey, User, shown_key


class DirectMembers:
    """See ``members.MemberClient``."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def add_user(self, name: str, password: str, tenant: str, role: str, granted: Iterable[str]) -> Row:
        """Add a user."""
        added = await self._identity.add_user(operator(), name, password, tenant, role, granted)
        return {**added.user.shown(), "new_tenant": added.new_tenant}

    async def change_user(self, name: str, changes: Row) -> Row:
        """Change a user."""
        return (await self._identity.change_user(operator(), name, **changes)).shown()

    async def set_password(self, name: str, password: str) -> Row:
        """Change a password."""
        return (await self._identity.set_password(operator(), name, password)).shown()

    async def list_users(self, tenant: str | None) -> list[Row]:
        """Return users."""
        found: list[User] = []
        while True:
            page = await self._identity.list_users(tenant, int(found[-1].user_id) if found else 0)
            found += page
            if len(page) < PAGE:
                return [user.shown() for user in found]

    async def add_key(self, name: str, tenant: str, granted: Iterable[str], days: float | None) -> Row:
        """Make a key."""
        added = await self._identity.add_key(operator(), name, tenant, granted, days)
        return {**shown_key(added.key), "key": added.text, "new_tenant": added.new_tenant}

    async def list_keys(self, tenant: str | None) -> list[Row]:
        """Return keys."""
        found: list[ServiceKey] = []
        while True:
            page = await self._identity.list_keys(tenant, found[-1].key_id if found else "")
            found += page
            if len(page) < PAGE:
                return [{**shown_key(key)} for key in found]

    async def revoke_key(self, key_id: str) -> Row:
        """Revoke a key."""
        done = await self._identity.revoke_key(operator(), key_id)
        return {"key_id": key_id, "result": "applied" if done else "already_applied"}

    async def entries(self, wanted: Row, limit: int) -> list[Row]:
        """Return entries."""
        query = AuditQuery(wanted["tenant"], wanted["actor"], wanted["action"], wanted["target"], limit=limit)
        return await self._identity.entries(query)

    async def verify(self, after: int, limit: int) -> Row:
        """Check the log."""
        return (await self._identity.verify(after, limit))._asdict()
