"""What the commands of users, keys and the audit log share."""

from __future__ import annotations

from windlass.cli.output import note

Server = tuple[str | None, str | None]
"""The address of a server with its key; without an address the database is meant."""


def tell_new_tenant(tenant_id: str, *, new: bool) -> None:
    """Say that a tenant was made, which may be a misspelt one."""
    if new and tenant_id != "default":
        note(f"tenant {tenant_id} is new")
