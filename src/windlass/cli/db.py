"""``windlass db``: the version of the database's tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from windlass.cli import output
from windlass.cli.exits import CommandError, ExitCode, bad_input
from windlass.cli.options import Json

if TYPE_CHECKING:
    from windlass.storage.migrate import Version

group = typer.Typer(help="Bring the database's tables to a version, or look at it.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="db")


@group.command()
def upgrade(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="How far to go: a revision, or head.")] = "head",
) -> None:
    """Apply the migrations that are missing."""
    from windlass import settings
    from windlass.bootstrap import migration_lock
    from windlass.storage import migrate

    url = settings.load().database
    before = migrate.inspect(url)
    _tell(str(url), before, migrate.upgrade(url, migration_lock(url), revision))


@group.command(context_settings={"ignore_unknown_options": True})
def downgrade(
    revision: Annotated[
        str,
        typer.Argument(metavar="REVISION", help="How far to go back: -1, a revision, or base for no tables at all."),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; what the tables hold is deleted with them.")] = False,
) -> None:
    """Take migrations back, and what their tables hold.

    Stop servers and workers first.
    """
    from windlass import settings
    from windlass.bootstrap import migration_lock
    from windlass.storage import migrate

    url = settings.load().database
    before = migrate.inspect(url)
    if not yes:
        if not output.is_terminal(sys.stdin):
            bad_input("a downgrade deletes data", "say --yes if that is meant")
        typer.confirm(f"{url} goes from {before.current} back to {revision}; data is deleted. Go on?", abort=True)
    _tell(str(url), before, migrate.downgrade(url, migration_lock(url), revision))


@group.command()
def current(json: Json = False) -> None:
    """Print the version the database is at, and the wanted one."""
    from windlass import settings
    from windlass.storage import migrate

    url = settings.load().database
    found = migrate.inspect(url)
    values = {
        "database": str(url),
        "current": found.current,
        "head": found.head,
        "up_to_date": found.matches,
    }
    if json:
        output.as_json(values)
    else:
        output.fields(values)


@group.command()
def check() -> None:
    """Say whether the database is at this program's version.

    The exit code is 0 when it is, 1 when it is at another version, 5 when it does not answer.
    """
    from windlass import settings
    from windlass.kernel.errors import ConfigError
    from windlass.storage import migrate

    url = settings.load().database
    found = migrate.inspect(url)
    try:
        migrate.refuse_other(url, found)
    except ConfigError as error:
        raise CommandError(ExitCode.FINDING, error.message) from error
    print(f"{url} is at {found.current}, as it should be")


@group.command()
def move(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            envvar="MOVE_TO",
            help="The new database, postgresql://user:password@host:5432/name: empty, or not even migrated."
            " MOVE_TO keeps the password out of the list of processes.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be moved, and what stands in its way; change nothing.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Open the old database again, as long as the new one has not been used.")
    ] = False,
    drain_seconds: Annotated[
        float,
        typer.Option("--drain-seconds", metavar="SECONDS", help="How long running steps may take to end.", min=0),
    ] = 60.0,
    without_foreign: Annotated[
        bool, typer.Option("--without-foreign", help="Leave tables behind that are not Windlass's own.")
    ] = False,
    json: Json = False,
) -> None:
    """Move the SQLite database of DATABASE_URL to PostgreSQL, with its open runs, while servers go on.

    History is copied while servers work. Then they drain: running steps end, new work is refused with 503 and
    Retry-After. What is left is copied, every row is compared, and the new database is whole in one commit. Start
    servers with DATABASE_URL=postgresql://... afterwards: every open run goes on there, no step is done twice.

    The old file stays as it is, marked as moved: nothing starts on it. Should the command die, give it again: it
    ends what it had begun, or begins anew. Should it fail, servers go on where they were. The files of artifacts are
    not touched: keep WORKFLOWS_ARTIFACTS_DIR, or copy that folder when the new servers are on another machine.

    The exit code of --dry-run is 1 when something stands in the way, that of the move 4; it is 5 when a database
    does not answer or servers do not drain in time.
    """
    from windlass.cli.work import move as work

    if dry_run and undo:
        bad_input("--dry-run and --undo say different things")
    given = work.Given(to, drain_seconds, without_foreign)
    if dry_run:
        work.plan(given, json=json)
    elif undo:
        work.undo(given, json=json)
    else:
        work.move(given, json=json)


def _tell(url: str, before: Version, after: Version) -> None:
    if before.current == after.current:
        print(f"{url} is at {after.current or 'no version'}: nothing to do")
    else:
        print(f"{url} went from {before.current or 'no version'} to {after.current or 'no version'}")
