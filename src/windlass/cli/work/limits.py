"""What the commands of ``windlass limits`` do."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.cli import output
from windlass.cli.client.open import open_client
from windlass.cli.client.protocol import Row
from windlass.cli.exits import bad_input

NAMES = ("name", "limit", "set", "running", "weight")


async def list_limits(url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print the limits."""
    async with open_client(url, api_key) as client:
        _tell(await client.limits(), json=json)


async def change(
    name: str, limit: int | None, weight: int | None, url: str | None, api_key: str | None, *, json: bool
) -> None:
    """Set a limit or a weight and print the limit."""
    changes = {field: value for field, value in (("limit", limit), ("weight", weight)) if value is not None}
    if not changes:
        bad_input("there is nothing to set", "say --limit, --weight or both")
    async with open_client(url, api_key) as client:
        _tell([await client.set_limit(name, changes)], json=json)


async def clear(name: str, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Clear a limit and print it as it is then."""
    async with open_client(url, api_key) as client:
        _tell([await client.set_limit(name, None)], json=json)


def _tell(rows: Sequence[Row], *, json: bool) -> None:
    if json:
        output.as_json(list(rows))
    else:
        table = [[row[name] for name in NAMES] for row in rows]
        output.table(NAMES, table, numbers=("limit", "running", "weight"))
