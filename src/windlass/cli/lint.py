"""``windlass lint``: what a workflow's code must not do by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windlass.cli import output
from windlass.cli.exits import ExitCode
from windlass.cli.options import Json

Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="Python files, or folders of them.")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(lint)


def lint(paths: Paths, json: Json = False) -> None:
    """Look through workflows for what makes them come to something else when they run again after a crash.

    Clocks, dice, files, tasks of asyncio's own and the like, each with its line and what to use instead.
    A comment, windlass: allow=RULE, keeps a line or a function from being told of.

    The exit code is 1 when something is found.
    """
    from windlass.testing.linting import lint as look

    found = look(*paths)
    if json:
        output.as_json([finding.shown() for finding in found])
    else:
        for finding in found:
            print(finding)
    if found:
        raise typer.Exit(ExitCode.FINDING)
    if not json:
        output.note("nothing is found")
