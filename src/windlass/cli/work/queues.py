"""What the commands of ``windlass queues`` do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from windlass.cli import output
from windlass.cli.client.open import open_client
from windlass.cli.client.protocol import Row
from windlass.cli.exits import CommandError, ExitCode, bad_input
from windlass.cli.progress import progress
from windlass.cli.waiting import FIRST_PAUSE, LONGEST_PAUSE

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


async def drain(queue: str, timeout: float | None, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Pause a queue, wait until nothing of it is worked on, and print how it stands.

    Raises:
        CommandError: that took longer than ``timeout`` seconds; the queue stays paused.
    """
    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    pause = FIRST_PAUSE
    async with open_client(url, api_key) as client:
        row = await client.drain_queue(queue)
        most = row["running"]
        with progress(f"draining {queue}", most, "runs") as bar:
            while not row["drained"]:
                left = math.inf if until is None else until - loop.time()
                if left <= 0:
                    break
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 1.5, LONGEST_PAUSE)
                row = await client.drain_queue(queue)
                most = max(most, row["running"])
                bar.at(most - row["running"], most)
    if json:
        output.as_json(row)
    elif row["drained"]:
        print(f"{queue} is drained, and paused")
    if not row["drained"]:
        raise CommandError(
            ExitCode.UNAVAILABLE,
            f"{row['running']} runs of {queue} are still worked on after {timeout:g} s",
            "it stays paused; drain it again to wait on, or resume it",
        )


def _tell(rows: Sequence[Row], *, json: bool) -> None:
    if json:
        output.as_json(list(rows))
    else:
        output.table(
            NAMES, [[row[name] for name in NAMES] for row in rows], numbers=("limit", "running", "ready", "open")
        )
