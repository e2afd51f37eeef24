"""What the commands of ``windlass quotas`` do."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.cli import output
from windlass.cli.client.limits import open_limits
from windlass.cli.client.operators import operator
from windlass.cli.client.protocol import Row
from windlass.cli.exits import bad_input

OVERRIDES = ("tenant_id", "user_id", "limit", "value", "updated_at", "updated_by")
IN_FORCE = ("limit", "value", "source", "used", "resets_at")


def read_value(text: str) -> int | None:
    """Return a limit as it is said; None is no limit.

    Raises:
        CommandError: it is neither a number from 0 on nor ``none``.
    """
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        bad_input(f"a limit is a number from 0 on, or none, not {text!r}")
    return int(text)


async def list_limits(
    user: str | None, tenant: str | None, url: str | None, api_key: str | None, *, json: bool
) -> None:
    """Print overrides, or what is in force for a user."""
    async with open_limits(url, api_key, tenant, operator()) as client:
        rows = await (client.overrides() if user is None else client.standing(user))
    _tell(rows, OVERRIDES if user is None else IN_FORCE, json=json)


async def set_limit(
    limit: str, value: int | None, user: str | None, tenant: str | None, url: str | None, api_key: str | None,
    *, json: bool,
) -> None:  # fmt: skip
    """Set a limit and print it."""
    async with open_limits(url, api_key, tenant, operator()) as client:
        row = await client.change(limit, value, user)
    if json:
        output.as_json(row)
    else:
        _tell([row], OVERRIDES, json=False)


async def clear_limit(
    limit: str, user: str | None, tenant: str | None, url: str | None, api_key: str | None, *, json: bool
) -> None:
    """Take an override away, and say whether there was one."""
    async with open_limits(url, api_key, tenant, operator()) as client:
        cleared = await client.clear(limit, user)
    if json:
        output.as_json({"cleared": cleared})
    else:
        print("cleared" if cleared else "there was none")


def _tell(rows: Sequence[Row], names: tuple[str, ...], *, json: bool) -> None:
    if json:
        output.as_json(list(rows))
    else:
        output.table(names, [[row[name] for name in names] for row in rows], numbers=("value", "used"))
