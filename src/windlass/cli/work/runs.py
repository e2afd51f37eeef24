"""What the commands of ``windlass runs`` do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import typer

from windlass.cli import output
from windlass.cli.client.open import open_client
from windlass.cli.client.protocol import Client, Row, RunQuery
from windlass.cli.exits import CommandError, ExitCode, explain
from windlass.cli.waiting import ENDED, Watch, lacking
from windlass.kernel.errors import WindlassError
from windlass.kernel.versions import FIRST
from windlass.replay.recordings import Recording

LAST_EVENTS = 10
PAGE = 500
PEOPLE = frozenset({"waiting_human", "waiting_approval"})
LOOK_SECONDS = 0.3


async def list_runs(query: RunQuery, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print runs."""
    async with open_client(url, api_key) as client:
        found = await client.list_runs(query)
    if json:
        output.as_json(found)
        return
    columns = ("run", "workflow", "status", "waits for", "created")
    names = ("status", "wait_reason", "created_at")
    output.table(columns, [[run["run_id"], _workflow(run), *(run[name] for name in names)] for run in found])


def _workflow(run: Row) -> object:
    """Return what a run carries out: a definition by its name, else a workflow."""
    return run["attributes"].get("workflow_name") or run["name"]


async def show(run_id: str, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print a run with its last events."""
    async with open_client(url, api_key) as client:
        run = await client.get_run(run_id)
        last = await client.events(run_id, max(0, run["last_seq"] - LAST_EVENTS), PAGE)
        why = await why_it_waits(client, run)
    if json:
        output.as_json({**run, "why": why, "events": last})
        return
    shown = {"run": run["run_id"], "workflow": _workflow(run), "status": run["status"]}
    if why:
        shown["why"] = why
    if run["interface_version"] != FIRST:
        shown["version"] = run["interface_version"] or "not bound to one yet"
    for name in ("queue", "priority", "parent_run_id", "holder", "deaths", "owner", "key", "attributes"):
        if run[name] not in (None, 0, {}):
            shown[name.removesuffix("_run_id")] = run[name]
    for name in ("created_at", "started_at", "ended_at", "wake_at"):
        if run[name] is not None:
            shown[name.removesuffix("_at")] = run[name]
    shown["inputs"] = output.short(run["inputs"], 400)
    if run["outputs"] is not None:
        shown["outputs"] = output.short(run["outputs"], 400)
    if run["error"] is not None:
        shown["error"] = output.short(run["error"].get("message") or run["error"], 400)
    output.fields(shown)
    output.heading(f"Last events of {run['last_seq']}{_deleted(run)}")
    _table_of_events(last)


def _deleted(run: Row) -> str:
    begins = run["history_from_seq"]
    return f" (some before {begins} were deleted)" if begins > 1 else ""


async def why_it_waits(client: Client, run: Row) -> str | None:
    """Return in words why an open run does not move; None when it has ended or is moving."""
    if run["status"] in ENDED:
        return None
    if run["status"] == "paused":
        reason = run["status_reason"] or "paused"
        if reason == "poisoned":
            return f"paused: {run['deaths']} processes died while they held it; look at why, then resume it"
        return f"paused: {reason}; resume it to let it go on"
    if run["holder"] is not None:
        return None
    waits = run["wait_reason"] or ""
    if run["status"] in PEOPLE:
        return "waits for a person to decide; `windlass inbox --all` shows what is asked"
    kind, _, name = waits.partition(":")
    if kind in {"signal", "update"} and name:
        until = f" until {output.text(run['wake_at'])}" if run["wake_at"] else ""
        return f"waits for the {kind} {name!r}{until}"
    if kind == "child" and name:
        return f"waits for its child {name}"
    if run["wake_at"] is not None:
        return f"{_RESTS.get(waits, f'waits ({waits})')} until {output.text(run['wake_at'])}"
    if waits and run["status"] != "queued":
        return f"waits for {waits}"
    if lacks := await lacking(client, run):
        return f"no live process carries out {lacks}; start one with `windlass worker`"
    return f"ready: waits for a place in the queue {run['queue']!r}"


_RESTS = {
    "timer": "asleep",
    "delayed": "starts later: waits",
    "write_failed": "its last write failed: put aside",
}


async def explain_run(run_id: str, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Print why a run stands where it does."""
    async with open_client(url, api_key) as client:
        found = await client.explain(run_id)
    if json:
        output.as_json(found)
        return
    output.fields({name.replace("_", " "): value for name, value in found.items() if value is not None})


async def events(
    run_id: str,
    since: int,
    limit: int | None,
    url: str | None,
    api_key: str | None,
    *,
    follow: bool,
    json: bool,
) -> None:
    """Print events, and with ``follow`` those that come, until the run has ended."""
    async with open_client(url, api_key) as client:
        left = limit
        while True:
            over = not follow or (await client.get_run(run_id))["status"] in ENDED
            while left is None or left > 0:
                most = PAGE if left is None else min(left, PAGE)
                found = await client.events(run_id, since, most)
                _print_events(found, json=json)
                if left is not None:
                    left -= len(found)
                if found:
                    since = found[-1]["event_seq"]
                if len(found) < most:
                    break
            if over or left == 0:
                return
            await asyncio.sleep(LOOK_SECONDS)


async def journal(run_id: str, url: str | None, api_key: str | None) -> None:
    """Print a run with all of its events."""
    async with open_client(url, api_key) as client:
        events: list[Row] = []
        while found := await client.events(run_id, len(events), PAGE):
            events.extend(found)
        sys.stdout.write(Recording.of(await client.get_run(run_id), events).text())


def _print_events(found: Sequence[Row], *, json: bool) -> None:
    for event in found:
        if json:
            output.as_json_line(event)
        else:
            at, step = output.text(event["created_at"]), event["step_id"] or ""
            line = (
                f"{event['event_seq']:>5}  {at}  {event['event_type']:<20} {step:<30} {output.short(event['payload'])}"
            )
            print(line.rstrip(), flush=True)


def _table_of_events(found: Sequence[Row]) -> None:
    rows = [
        (event["event_seq"], event["created_at"], event["event_type"], event["step_id"], output.short(event["payload"]))
        for event in found
    ]
    output.table(("seq", "at", "event", "step", "payload"), rows, numbers=("seq",))


async def wait(run_id: str, timeout: float | None, url: str | None, api_key: str | None, *, json: bool) -> None:
    """Wait for a run and print its output; raises when it did not succeed."""
    async with open_client(url, api_key) as client:
        run = await Watch(client, run_id, timeout).ended()
    if json:
        output.as_json(run)
    elif run["status"] == "succeeded":
        output.as_json(run["outputs"])
    if run["status"] == "succeeded":
        return
    message = (run["error"] or {}).get("message") or run["status_reason"] or ""
    raise CommandError(
        ExitCode.FINDING, f"run {run_id} {run['status']}: {message}", f"`windlass runs show {run_id}` tells more"
    )


async def control(
    run_ids: Sequence[str], action: str, reason: str | None, url: str | None, api_key: str | None, *, json: bool
) -> None:
    """Control runs one after the other; ends with the code of the first that did not let itself be controlled."""
    done: list[Row] = []
    worst: CommandError | None = None
    async with open_client(url, api_key) as client:
        for run_id in run_ids:
            try:
                done.append({"run_id": run_id, **await client.control(run_id, action, reason)})
            except WindlassError as error:
                told = explain(error)
                output.note(f"{run_id}: {told.message}")
                worst = worst or told
    if json:
        output.as_json(done)
    elif done:
        output.table(
            ("run", action, "status"), [(row["run_id"], _RESULTS[row["result"]], row["status"]) for row in done]
        )
    if worst is not None:
        raise typer.Exit(worst.code)


_RESULTS = {
    "applied": "done",
    "already_applied": "was so already",
    "sent": "sent to its process, which does it within a second",
}
