"""``windlass backup``, ``restore``, ``verify``: the database in one file; ``windlass retention``: what is old goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windlass.cli.options import Json

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file of the copy.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(backup)
    app.command()(restore)
    app.command()(verify)
    app.command()(retention)


def backup(file: File, json: Json = False) -> None:
    """Copy the database into a new file while servers go on.

    SQLite is copied by its own backup, PostgreSQL by pg_dump (custom format). The copy is looked through before FILE
    appears; a file that is there already is not overwritten. Artifacts are files of their own: copy their folder, too.
    """
    from windlass.cli.work import backups as work

    work.backup(file, json=json)


def restore(file: File, json: Json = False) -> None:
    """Fill the database of DATABASE_URL from a copy, all of it or nothing.

    The database must not be there yet (SQLite) or be empty (PostgreSQL). Runs go on from where the copy found them.
    """
    from windlass.cli.work import backups as work

    work.restore(file, json=json)


def verify(file: File, json: Json = False) -> None:
    """Look through a copy: every page or row, and for SQLite every open run; nothing is changed.

    The exit code is 0 when all is well, 1 when a run is adrift, 2 when the copy is damaged.
    """
    from windlass.cli.work import backups as work

    work.verify(file, json=json)


def retention(
    runs: Annotated[
        float | None,
        typer.Option("--runs", metavar="DAYS", help="Runs that ended so long ago go, with all that is theirs.", min=0),
    ] = None,
    events: Annotated[
        float | None,
        typer.Option("--events", metavar="DAYS", help="Journals of runs that ended so long ago go.", min=0),
    ] = None,
    artifacts: Annotated[
        float | None,
        typer.Option("--artifacts", metavar="DAYS", help="Artifacts so old go, with their files.", min=0),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only counted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; so it is without --yes, too.")] = False,
    json: Json = False,
) -> None:
    """Remove what is old, in small batches, while servers go on.

    Open runs, and what they need, are never touched. Idempotency keys outlive their runs. With --runs, definitions that
    runs were started with go too, once no run needs them and none was started with them for that long, or a week.
    """
    from windlass.cli.running import run
    from windlass.cli.work import backups as work

    run(work.retention(work.Ages(runs, events, artifacts), yes=yes, dry_run=dry_run, json=json))
