"""``windlass inbox``, ``approve``, ``reject`` and ``reassign``: what waits for people, and their answers."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run

Run = Annotated[str, typer.Argument(metavar="RUN", help="The run that asks.")]
Step = Annotated[str, typer.Argument(metavar="STEP", help="The step that asks.")]
Comment = Annotated[str | None, typer.Option(metavar="TEXT", help="What to tell with it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (inbox, approve, reject, reassign):
        app.command()(command)


def inbox(
    *,
    everybody: Annotated[bool, typer.Option("--all", help="What waits for anybody, not only for you.")] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="No more than N questions.")] = 50,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List what waits for your decision, oldest first.

    On the database itself you are its operator, whom nobody asks: use --all.
    """
    from windlass.cli.work import people as work

    run(work.inbox(url, api_key, everybody=everybody, limit=limit, json=json))


def approve(
    run_id: Run,
    step_id: Step,
    comment: Comment = None,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="JSON", help="What you fill in or change: a JSON object.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Say yes to what a step of a run asks."""
    from windlass.cli.work import people as work

    run(work.decide(run_id, step_id, "approve", comment, fields, url, api_key))


def reject(run_id: Run, step_id: Step, comment: Comment = None, url: Url = None, api_key: ApiKey = None) -> None:
    """Say no to what a step of a run asks."""
    from windlass.cli.work import people as work

    run(work.decide(run_id, step_id, "reject", comment, None, url, api_key))


def reassign(
    run_id: Run,
    step_id: Step,
    to: Annotated[
        list[str], typer.Option("--to", metavar="USER", help="Whom to ask, by name or id; may be given several times.")
    ],
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Ask somebody else."""
    from windlass.cli.work import people as work

    run(work.reassign(run_id, step_id, to, url, api_key))
