"""What the commands of ``windlass keys`` do."""

from __future__ import annotations

from collections.abc import Iterable

from windlass.cli import output
from windlass.cli.work.identity import identity, operator, tell_new_tenant
from windlass.contexts.identity.api import PAGE, ServiceKey, shown_key
from windlass.kernel.clock import to_iso

COLUMNS = ("id", "name", "tenant", "permissions", "created", "expires", "revoked")


async def add(name: str, tenant: str, granted: Iterable[str], days: float | None, *, json: bool) -> None:
    """Make a key and print it."""
    async with identity(creates=True) as who:
        added = await who.add_key(operator(), name, tenant, granted, days)
    tell_new_tenant(tenant, new=added.new_tenant)
    if json:
        output.as_json(shown_key(added.key) | {"key": added.text})
        return
    output.note(f"key {added.key.key_id} of tenant {tenant}; it is shown this once:")
    print(added.text)


async def list_keys(tenant: str | None, *, json: bool) -> None:
    """Print the keys."""
    found: list[ServiceKey] = []
    async with identity() as who:
        while True:
            page = await who.list_keys(tenant, found[-1].key_id if found else "")
            found += page
            if len(page) < PAGE:
                break
    if json:
        output.as_json([shown_key(key) for key in found])
    else:
        output.table(COLUMNS, [_row(key) for key in found])


async def revoke(key_id: str, *, json: bool) -> None:
    """Revoke a key."""
    async with identity() as who:
        done = await who.revoke_key(operator(), key_id)
    if json:
        output.as_json({"key_id": key_id, "result": "applied" if done else "already_applied"})
    else:
        print(f"key {key_id} is revoked" if done else f"key {key_id} was revoked before")


def _row(key: ServiceKey) -> list[object]:
    ends = None if key.expires_at is None else to_iso(key.expires_at)
    rights = " ".join(key.permissions) or None
    return [key.key_id, key.label, key.tenant_id, rights, key.created_at, ends, key.revoked_at]
