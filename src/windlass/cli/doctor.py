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
            help="Mend what is safe to mend: what dead processes hold, runs adrift, children left behind, journals with"
            " a gap, wrong counts, files without a row and rows without a file.",
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Do not count the events of each run, nor look for the file of each artifact."),
    ] = False,
    json: Json = False,
) -> None:
    """Examine database, disk, processes, runs and artifacts.

    The exit code is 0 when all is well, and 1 when there is a finding.
    """
    from windlass.cli.work import doctor as work

    run(work.examine(repair=repair, quick=quick, json=json))
