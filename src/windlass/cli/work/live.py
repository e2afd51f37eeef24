"""What the commands do that follow, change and ask runs that are open."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from windlass.cli import output
from windlass.cli.client.live import open_live
from windlass.cli.exits import CommandError, ExitCode
from windlass.cli.waiting import ENDED

PAGE = 500
LOOK_SECONDS = 0.3


async def stream(
    run_id: str, name: str, offset: int, url: str | None, api_key: str | None, *, follow: bool, json: bool
) -> None:
    """Print the items of a stream, and with ``follow`` those that come, until it or the run has ended."""
    async with open_live(url, api_key) as client:
        while True:
            over = not follow or await client.status(run_id) in ENDED
            page = await client.items(run_id, name, offset, PAGE)
            for item in page["items"]:
                offset = item["offset"] + 1
                if json:
                    output.as_json_line(item)
                else:
                    print(_said(item["value"]), flush=True)
            if page["closed"] or (over and len(page["items"]) < PAGE):
                return
            if not page["items"]:
                await asyncio.sleep(LOOK_SECONDS)


async def published(run_id: str, key: str | None, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print what a run has published, or one value of it."""
    async with open_live(url, api_key) as client:
        values = await client.published(run_id)
    if key is not None:
        if key not in values:
            raise CommandError(ExitCode.NOT_FOUND, f"run {run_id} has published no {key!r}")
        output.as_json(values[key])
    elif json:
        output.as_json(values)
    else:
        output.fields({name: _said(value) for name, value in values.items()})


async def update(
    run_id: str,
    name: str,
    payload: str | None,
    update_id: str | None,
    timeout: float,
    url: str | None,
    api_key: str | None,
) -> None:
    """Send an update and print its answer."""
    order = {"name": name, "payload": read_value(payload), "timeout": timeout}
    order |= {} if update_id is None else {"update_id": update_id}
    async with open_live(url, api_key) as client:
        output.as_json(await client.update(run_id, order))


async def query(
    run_id: str, name: str, argument: str | None, timeout: float, url: str | None, api_key: str | None
) -> None:
    """Ask and print the answer."""
    order = {"name": name, "argument": read_value(argument), "timeout": timeout}
    async with open_live(url, api_key) as client:
        output.as_json(await client.query(run_id, order))


def read_value(text: str | None) -> Any:
    """Return what was given: JSON where it can be read so, else text."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _said(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
