"""``windlass runs``: look at durable runs and control them."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli import live
from windlass.cli.client.protocol import RunQuery
from windlass.cli.options import (
    ApiKey,
    CreatedAfter,
    CreatedBefore,
    Input,
    Inputs,
    Json,
    OnceFor,
    RunStatus,
    Secret,
    Url,
    Wait,
    WaitSeconds,
)
from windlass.cli.running import run

group = typer.Typer(help="Look at durable runs and control them.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
RunIds = Annotated[list[str], typer.Argument(metavar="RUN", help="The runs' ids.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is kept with the run.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    live.register(group)
    app.add_typer(group, name="runs")


@group.command("list")
def list_(  # noqa: PLR0913  each is an option
    *,
    status: Annotated[RunStatus | None, typer.Option(help="Runs in this status only.")] = None,
    name: Annotated[str | None, typer.Option(metavar="WORKFLOW", help="Runs of this workflow only.")] = None,
    queue: Annotated[str | None, typer.Option(metavar="NAME", help="Runs of this queue only.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="RUN", help="Children of this run only.")] = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    failing: Annotated[bool, typer.Option("--failing", help="Open runs an attempt of whose steps has failed.")] = False,
    attempt_gte: Annotated[
        int | None, typer.Option(min=1, max=32_767, metavar="N", help="A step has failed at attempt N or a later one.")
    ] = None,
    waiting_on: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="A reason of explain, or signal:NAME, update:NAME, child:RUN."),
    ] = None,
    error_class: Annotated[
        str | None, typer.Option(metavar="CODE", help="Failed runs whose error begins with this code.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="No more than N runs, 1000 at most.")] = 50,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List runs, newest first."""
    from windlass.cli.work import runs as work

    query = RunQuery(
        None if status is None else status.value,
        name,
        queue,
        parent,
        created_after,
        created_before,
        failing,
        attempt_gte,
        waiting_on,
        error_class,
        limit,
    )
    run(work.list_runs(query, url, api_key, json=json))


@group.command()
def show(run_id: RunId, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Show a run: what it is, why it waits, what happened last."""
    from windlass.cli.work import runs as work

    run(work.show(run_id, url, api_key, json=json))


@group.command()
def explain(run_id: RunId, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Say why a run stands where it does: the reason, what is in the way, since when, and when it goes on."""
    from windlass.cli.work import runs as work

    run(work.explain_run(run_id, url, api_key, json=json))


@group.command()
def events(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events until the run ends.")] = False,
    since: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Only events after this number.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="No more than N events.")] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Print a run's journal; with --json one event a line."""
    from windlass.cli.work import runs as work

    run(work.events(run_id, since, limit, url, api_key, follow=follow, json=json))


@group.command()
def journal(run_id: RunId, url: Url = None, api_key: ApiKey = None) -> None:
    """Print a run with its whole journal as JSON, to be replayed against new code.

    See windlass.testing.replay.
    """
    from windlass.cli.work import runs as work

    run(work.journal(run_id, url, api_key))


@group.command()
def wait(
    run_id: RunId,
    timeout: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Wait no longer than that.")] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Wait for a run's end and print its output.

    The exit code is 0 when it succeeded, 1 when it failed or was cancelled, 5 when it has not ended in time.
    """
    from windlass.cli.work import runs as work

    run(work.wait(run_id, timeout, url, api_key, json=json))


@group.command()
def cancel(run_ids: RunIds, reason: Reason = None, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Cancel runs, their children and their running steps."""
    _control(run_ids, "cancel", reason, url, api_key, json=json)


@group.command()
def pause(run_ids: RunIds, reason: Reason = None, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Keep runs from starting further steps."""
    _control(run_ids, "pause", reason, url, api_key, json=json)


@group.command()
def resume(run_ids: RunIds, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Let paused runs go on."""
    _control(run_ids, "resume", None, url, api_key, json=json)


@group.command()
def retry(run_ids: RunIds, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Open failed runs again from their failed step."""
    _control(run_ids, "retry", None, url, api_key, json=json)


@group.command()
def fork(  # noqa: PLR0913  each is an option
    run_id: RunId,
    *,
    from_step: Annotated[str, typer.Option("--from-step", metavar="STEP", help="The first step to do again.")],
    input_: Input = None,
    inputs: Inputs = None,
    secret: Secret = None,
    idempotency_key: OnceFor = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which steps would be done again.")] = False,
    wait: Wait = False,
    timeout: WaitSeconds = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Start a run of the same definition that takes over what this one had done before a step; prints its id.

    Inputs that are given are instead of this run's, all of them. Its secrets are not taken over.
    """
    from windlass.cli.work import starting as work

    wanted = work.Wanted(input_ or (), inputs, secret or (), idempotency_key, wait, timeout, json)
    run(work.fork(run_id, from_step, wanted, url, api_key, dry_run=dry_run))


def _control(
    run_ids: list[str], action: str, reason: str | None, url: str | None, api_key: str | None, *, json: bool
) -> None:
    from windlass.cli.work import runs as work

    run(work.control(run_ids, action, reason, url, api_key, json=json))
