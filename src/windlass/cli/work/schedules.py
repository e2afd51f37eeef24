"""What the commands of ``windlass schedules`` do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from windlass.cli import output
from windlass.cli.client.protocol import Row
from windlass.cli.client.schedules import ScheduleClient, open_schedules
from windlass.cli.exits import CommandError, ExitCode, bad_input

LIST = ("id", "name", "target", "cron", "timezone", "enabled", "next_run_at", "last_status")
FIRES = ("slot", "kind", "status", "slots", "run_id", "reason")
OFF = "nothing fires: no live process has WORKFLOWS_SCHEDULER_ENABLED=true"


def read_inputs(text: str | None) -> Any:
    """Return inputs given as JSON.

    Raises:
        CommandError: it is none.
    """
    import orjson

    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        bad_input(f"--inputs is no JSON: {error}", 'for example --inputs \'{"name": "Eve"}\'')


def said(values: Row) -> Row:
    """Return what was said of a schedule, without what was not."""
    return {name: value for name, value in values.items() if value is not None}


async def asked(
    url: str | None, api_key: str | None, work: Callable[[ScheduleClient], Awaitable[Any]], *, creates: bool = False
) -> Any:
    """Do something with a client and return what it gave."""
    async with open_schedules(url, api_key, creates=creates) as client:
        return await work(client)


async def list_schedules(
    owner: str | None, limit: int, offset: int, url: str | None, api_key: str | None, *, json: bool
) -> None:
    """Print schedules."""
    found: list[Row] = await asked(url, api_key, lambda client: client.list_schedules(owner, limit, offset))
    if json:
        output.as_json(found)
        return
    rows = [row | {"target": row["workflow"] or row["workflow_id"]} for row in found]
    output.table(LIST, [[row[name] for name in LIST] for row in rows])
    if found and not found[0]["firing"]:
        output.note(OFF)


async def show(schedule_id: str, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print a schedule."""
    found: Row = await asked(url, api_key, lambda client: client.get(schedule_id))
    if json:
        output.as_json(found)
        return
    output.fields(found)
    if not found["firing"]:
        output.note(OFF)


async def create(draft: Row, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Make a schedule and print its id."""
    made: Row = await asked(url, api_key, lambda client: client.create(draft), creates=True)
    if json:
        output.as_json(made)
    else:
        print(made["id"])
    if not made["firing"]:
        output.note(OFF)


async def change(schedule_id: str, changes: Row, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Change a schedule and print it."""

    async def work(client: ScheduleClient) -> Row:
        await client.change(schedule_id, changes)
        return await client.get(schedule_id)

    found: Row = await asked(url, api_key, work)
    if json:
        output.as_json(found)
    else:
        output.fields(found)


async def delete(schedule_id: str, url: str | None, api_key: str | None) -> None:
    """Delete a schedule.

    Raises:
        CommandError: there is none.
    """
    if not await asked(url, api_key, lambda client: client.delete(schedule_id)):
        raise CommandError(ExitCode.NOT_FOUND, f"no schedule {schedule_id}")


async def run_now(schedule_id: str, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Start the target and print the run's id."""
    run_id: str = await asked(url, api_key, lambda client: client.run_now(schedule_id))
    if json:
        output.as_json({"run_id": run_id})
    else:
        print(run_id)


async def preview(trial: Row, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print the next times of a crontab line."""
    found: Row = await asked(url, api_key, lambda client: client.preview(trial), creates=True)
    if json:
        output.as_json(found)
        return
    for slot in found["next_runs"]:
        print(output.text(slot))


async def backfill(schedule_id: str, window: Row, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Start a backfill and print its run."""
    begun: Row = await asked(url, api_key, lambda client: client.backfill(schedule_id, window))
    if json:
        output.as_json(begun)
    else:
        output.fields(begun)


async def fires(schedule_id: str, limit: int, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print what became of slots."""
    found: list[Row] = await asked(url, api_key, lambda client: client.fires(schedule_id, limit))
    if json:
        output.as_json(found)
    else:
        output.table(FIRES, [[row[name] for name in FIRES] for row in found], numbers=("slots",))
