"""``windlass``: one command for the servers, the database and what is in it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from windlass.cli import (
    artifacts,
    audit,
    backups,
    bench,
    db,
    demo,
    deploy,
    doctor,
    info,
    keys,
    limits,
    lint,
    people,
    queues,
    quotas,
    records,
    runs,
    schedules,
    servers,
    users,
    webhooks,
    workflows,
)
from windlass.cli.exits import ExitCode, epilog, explain
from windlass.cli.quick import quicken

app = typer.Typer(
    help="Durable workflow automation in one Python package.\n\n"
    "Commands work on the database in DATABASE_URL, or with --url on a running server.",
    epilog=epilog(),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for register in (
    servers.register,
    db.register,
    records.register,
    runs.register,
    queues.register,
    artifacts.register,
    people.register,
    webhooks.register,
    doctor.register,
    bench.register,
    info.register,
    backups.register,
    schedules.register,
    users.register,
    keys.register,
    audit.register,
    workflows.register,
    limits.register,
    quotas.register,
    demo.register,
    lint.register,
    deploy.register,
):
    register(app)
quicken(app)


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; anywhere on the line.")
    ] = False,
) -> None:
    """Take the options of every command."""
    del debug  # main() has taken it


def main() -> None:
    """Run the command line and exit with one of the documented codes."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        app(args=[argument for argument in arguments if argument != "--debug"], prog_name="windlass")
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        ended = explain(error)
        print(f"windlass: {ended.message}" + (f" ({ended.hint})" if ended.hint else ""), file=sys.stderr)
        sys.exit(ended.code)
