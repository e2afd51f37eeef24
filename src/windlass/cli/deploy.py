"""``windlass deploy``: change workflows while runs of them are open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Modules, Url
from windlass.cli.running import run

group = typer.Typer(
    help="Change workflows while runs of them are open: find those that new code would strand, and move them over.",
    no_args_is_help=True,
)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="deploy")


@group.command()
def export(
    workflow: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Runs of this workflow only. May be given several times."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of to stdout.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write the open runs with their journals and inputs, one a line.

    Runs of Windlass's own workflows are left out, and with them definitions, their inputs and whatever is withheld.
    """
    from windlass.cli.work import deploy as work

    run(work.export(tuple(workflow or ()), output, url, api_key))


@group.command()
def check(
    histories: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE|DIR", help="What `windlass deploy export` wrote; of a folder all *.ndjson. May be repeated."
        ),
    ],
    app: Modules = None,
    json: Json = False,
) -> None:
    """Replay recorded runs against the code here and list those that would strand.

    Asks no database and no server, and calls no step. The exit code is 0 when every run would go on, 1 otherwise.
    """
    from windlass.cli.work import deploy as work

    work.check(histories, app, json=json)


@group.command()
def migrate(
    run_id: RunId,
    to_version: Annotated[str, typer.Option(metavar="VERSION", help="The version that the run is to have.")],
    app: Modules = None,
    json: Json = False,
) -> None:
    """Bind an open run to another version of its workflow, if the code of that follows its journal.

    Works on the database in DATABASE_URL, with the code here. A run that is being worked on has to be paused first.
    """
    from windlass.cli.work import deploy as work

    run(work.migrate(run_id, to_version, app, json=json))


@group.command()
def fork(
    run_id: RunId,
    from_step: Annotated[str, typer.Option(metavar="PATH", help="The first call that is done anew, such as charge#1.")],
    to_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The version of the new run; without it the old one's.")
    ] = None,
    app: Modules = None,
    json: Json = False,
) -> None:
    """Start a run that takes over what another had come to before a step; the other is cancelled if it is open.

    Works on the database in DATABASE_URL, with the code here. A run that is being worked on has to be paused first.
    """
    from windlass.cli.work import deploy as work

    run(work.fork(run_id, from_step, to_version, app, json=json))
