"""What the commands of ``windlass keys`` do."""

from __future__ import annotations

from collections.abc import Iterable

from windlass.cli import output
from windlass.cli.client.members import open_members
from windlass.cli.client.protocol import Row
from windlass.cli.work.identity import Server, tell_new_tenant

COLUMNS = ("id", "name", "tenant", "permissions", "created", "expires", "revoked")


async def add(at: Server, name: str, tenant: str, granted: Iterable[str], days: float | None, *, json: bool) -> None:
    """Make a key and print it."""
    async with open_members(*at, creates=True) as client:
        key = await client.add_key(name, tenant, granted, days)
    tell_new_tenant(tenant, new=key.pop("new_tenant"))
    if json:
        output.as_json(key)
        return
    output.note(f"key {key['key_id']} of tenant {tenant}; it is shown this once:")
    print(key["key"])


async def list_keys(at: Server, tenant: str | None, *, json: bool) -> None:
    """Print the keys."""
    async with open_members(*at) as client:
        found = await client.list_keys(tenant)
    if json:
        output.as_json(found)
    else:
        output.table(COLUMNS, [_row(key) for key in found])


async def revoke(at: Server, key_id: str, *, json: bool) -> None:
    """Revoke a key."""
    async with open_members(*at) as client:
        done = await client.revoke_key(key_id)
    if json:
        output.as_json(done)
    else:
        applied = done["result"] == "applied"
        print(f"key {key_id} is revoked" if applied else f"key {key_id} was revoked before")


def _row(key: Row) -> list[object]:
    names = ("key_id", "name", "tenant_id", "permissions", "created_at", "expires_at", "revoked_at")
    return [" ".join(key[name]) or None if name == "permissions" else key[name] for name in names]
