"""``windlass schedules``: runs that start at the times of a crontab line."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run

group = typer.Typer(help="Start runs at the times of a crontab line.", no_args_is_help=True)


class Overlap(StrEnum):
    """What becomes of a slot while runs of earlier ones are open."""

    SKIP = "skip"
    QUEUE = "queue"


class RunMode(StrEnum):
    """Kept with the schedule; nobody waits for its runs either way."""

    ASYNC = "async"
    SYNC = "sync"


class ValidationMode(StrEnum):
    """How strictly a saved workflow is checked when it starts."""

    BLOCK = "block"
    NON_BLOCK = "non-block"


Id = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id.")]
Workflow = Annotated[str | None, typer.Option(metavar="NAME", help="The Python workflow to run.")]
WorkflowId = Annotated[int | None, typer.Option(metavar="N", help="The saved workflow to run.")]
CronLine = Annotated[str, typer.Argument(metavar="CRON", help="Minute, hour, day of month, month, day of week.")]
Cron = Annotated[str | None, typer.Option(metavar="CRON", help="Minute, hour, day of month, month, day of week.")]
Zone = Annotated[str | None, typer.Option(metavar="ZONE", help="Such as Europe/Berlin.")]
Name = Annotated[str | None, typer.Option(metavar="TEXT", help="A name for people.")]
Inputs = Annotated[str | None, typer.Option(metavar="JSON", help="The input of each run, an object.")]
OverlapOption = Annotated[
    Overlap | None, typer.Option("--overlap", help="While runs are open: skip the slot, or up to three and then queue.")
]
Grace = Annotated[
    int | None, typer.Option("--misfire-grace-sec", metavar="SECONDS", help="How late a slot may still fire.")
]
Coalesce = Annotated[
    bool | None, typer.Option("--coalesce/--no-coalesce", help="Fold slots that come together into one run.")
]
Online = Annotated[
    bool | None,
    typer.Option("--require-online/--no-require-online", help="Skip a slot when no process knows the code."),
]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many at most.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="schedules")


def _said(inputs: str | None, **values: Any) -> dict[str, Any]:
    from windlass.cli.work import schedules as work

    return work.said({**values, "inputs": work.read_inputs(inputs)})


@group.command("list")
def list_(
    owner: Annotated[str | None, typer.Option(metavar="USER", help="Those of this user, or '*' for all.")] = None,
    limit: Limit = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List schedules, newest first."""
    from windlass.cli.work import schedules as work

    run(work.list_schedules(owner, limit, offset, url, api_key, json=json))


@group.command()
def show(schedule_id: Id, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Show a schedule."""
    from windlass.cli.work import schedules as work

    run(work.show(schedule_id, url, api_key, json=json))


@group.command()
def create(  # noqa: PLR0913, PLR0917  the fields of a schedule
    cron: CronLine,
    workflow: Workflow = None,
    workflow_id: WorkflowId = None,
    timezone: Zone = None,
    name: Name = None,
    inputs: Inputs = None,
    overlap: OverlapOption = None,
    grace: Grace = None,
    coalesce: Coalesce = None,
    require_online: Online = None,
    run_mode: Annotated[RunMode | None, typer.Option(help="Kept with the schedule.")] = None,
    validation_mode: Annotated[ValidationMode | None, typer.Option(help="For saved workflows.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Fire nothing yet.")] = False,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a schedule of a workflow and print its id."""
    from windlass.cli.work import schedules as work

    draft = _said(
        inputs, cron=cron, workflow=workflow, workflow_id=workflow_id, timezone=timezone, name=name,
        concurrency_mode=overlap, misfire_grace_sec=grace, coalesce=coalesce, require_online=require_online,
        run_mode=run_mode, validation_mode=validation_mode, enabled=False if paused else None,
    )  # fmt: skip
    run(work.create(draft, url, api_key, json=json))


@group.command()
def update(  # noqa: PLR0913, PLR0917  the fields of a schedule
    schedule_id: Id,
    cron: Cron = None,
    workflow: Workflow = None,
    workflow_id: WorkflowId = None,
    timezone: Zone = None,
    name: Name = None,
    inputs: Inputs = None,
    overlap: OverlapOption = None,
    grace: Grace = None,
    coalesce: Coalesce = None,
    require_online: Online = None,
    run_mode: Annotated[RunMode | None, typer.Option(help="Kept with the schedule.")] = None,
    validation_mode: Annotated[ValidationMode | None, typer.Option(help="For saved workflows.")] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Change a schedule; what is not said stays."""
    from windlass.cli.work import schedules as work

    changes = _said(
        inputs, cron=cron, workflow=workflow, workflow_id=workflow_id, timezone=timezone, name=name,
        concurrency_mode=overlap, misfire_grace_sec=grace, coalesce=coalesce, require_online=require_online,
        run_mode=run_mode, validation_mode=validation_mode,
    )  # fmt: skip
    run(work.change(schedule_id, changes, url, api_key, json=json))


@group.command()
def delete(schedule_id: Id, url: Url = None, api_key: ApiKey = None) -> None:
    """Delete a schedule and its history; the runs it started stay."""
    from windlass.cli.work import schedules as work

    run(work.delete(schedule_id, url, api_key))


@group.command()
def pause(schedule_id: Id, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Fire a schedule no more until it is resumed."""
    from windlass.cli.work import schedules as work

    run(work.change(schedule_id, {"enabled": False}, url, api_key, json=json))


@group.command()
def resume(schedule_id: Id, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Fire a paused schedule again, from now on."""
    from windlass.cli.work import schedules as work

    run(work.change(schedule_id, {"enabled": True}, url, api_key, json=json))


@group.command("run-now")
def run_now(schedule_id: Id, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Start a schedule's workflow at once and print the run's id."""
    from windlass.cli.work import schedules as work

    run(work.run_now(schedule_id, url, api_key, json=json))


@group.command()
def preview(cron: CronLine, timezone: Zone = None, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Print the next 20 times of a crontab line; nothing is stored."""
    from windlass.cli.work import schedules as work

    run(work.preview(work.said({"cron": cron, "timezone": timezone}), url, api_key, json=json))


@group.command()
def backfill(  # noqa: PLR0917  a window
    schedule_id: Id,
    start: Annotated[str, typer.Argument(metavar="START", help="A date-time with its zone.")],
    end: Annotated[str, typer.Argument(metavar="END", help="A date-time with its zone that is over.")],
    per_minute: Annotated[int | None, typer.Option(metavar="N", help="Runs to start in a minute at most.")] = None,
    at_once: Annotated[int | None, typer.Option(metavar="N", help="Runs that may be open at once.")] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Run the slots of a past window that have had no run."""
    from windlass.cli.work import schedules as work

    window = work.said({"start": start, "end": end, "per_minute": per_minute, "at_once": at_once})
    run(work.backfill(schedule_id, window, url, api_key, json=json))


@group.command()
def fires(schedule_id: Id, limit: Limit = 50, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """List what became of a schedule's slots, newest first."""
    from windlass.cli.work import schedules as work

    run(work.fires(schedule_id, limit, url, api_key, json=json))
