"""``windlass doctor``: is everything as it must be, and can it be mended?"""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import Json
from windlass.cli.running import run


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(doctor)


def doctor(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Mend what is safe to mend: take over runs of dead processes, wake runs adrift, count records anew.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Examine database, disk, processes and runs.

    The exit code is 0 when all is well, and 1 when there is a finding.
    """
    from windlass.cli.work import doctor as work

    run(work.examine(repair=repair, json=json))
