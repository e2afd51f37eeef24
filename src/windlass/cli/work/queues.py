"""What the commands of ``windlass queues`` do."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.cli import output
from windlass.cli.client.open import open_client
from windlass.cli.client.protocol import Row
from windlass.cli.exits import bad_input

NAMES = ("queue", "limit", "paused", "running", "ready", "open")


def read_limit(text: str) -> int | None:
    """Return a limit as it is said; None takes it away.

    Raises:
        CommandError: it is neither a number from 1 on nor ``none``.
    """
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        bad_input(f"a limit is a number from 1 on, or none, not {text!r}", "to stop a queue, pause it")
    return int(text)


async def list_queues(url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print the queues."""
    async with open_client(url, api_key) as client:
        _tell(await client.queues(), json=json)


async def change(queue: str, changes: Row, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Change a queue and print it."""
    async with open_client(url, api_key) as client:
        row = await client.set_queue(queue, changes)
    if json:
        output.as_json(row)
    else:
        _tell([row], json=False)


def _tell(rows: Sequence[Row], *, json: bool) -> None:
    if json:
        output.as_json(list(rows))
    else:
        output.table(
            NAMES, [[row[name] for name in NAMES] for row in rows], numbers=("limit", "running", "ready", "open")
        )
