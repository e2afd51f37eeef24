"""``windlass bench``: how fast this machine and database are."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import Json
from windlass.cli.running import run


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(bench)


def bench(
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=60, help="How long each measure lasts.")
    ] = 2.0,
    json: Json = False,
) -> None:
    """Measure commits and steps a second, here.

    It works in a place of its own beside the database in DATABASE_URL, a file or a schema that is removed afterwards,
    and with the same durability: every commit is on disk.
    """
    from windlass.cli.work import bench as work

    run(work.measure(seconds, json=json))
