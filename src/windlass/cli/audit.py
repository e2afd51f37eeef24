"""``windlass audit``: who did what, and whether anybody has changed the log since."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run
from windlass.cli.users import OfTenant

group = typer.Typer(
    help="Read the audit log and check it. Works on the database in DATABASE_URL, or on a server.\n\n"
    "Every entry is written in the transaction of what it tells, and carries a hash over itself and the entry before.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="audit")


@group.command("list")
def list_(  # noqa: PLR0917  each is an option
    actor: Annotated[str | None, typer.Option(metavar="ID", help="What this user or key did.")] = None,
    action: Annotated[str | None, typer.Option(metavar="ACTION", help="This action, such as user.add.")] = None,
    target: Annotated[str | None, typer.Option(metavar="TARGET", help="Done to this, such as user:1.")] = None,
    tenant: OfTenant = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="How many, newest first.")] = 50,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List the log, newest first."""
    from windlass.cli.work import audit as work

    wanted = {"tenant": tenant, "actor": actor, "action": action, "target": target}
    run(work.list_entries((url, api_key), wanted, limit, json=json))


@group.command()
def verify(
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER:HASH",
            help="Also make sure that this number still has this hash, as an earlier verify printed it and you kept it"
            " elsewhere: then nothing up to there was written anew. May be given several times.",
        ),
    ] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Check the whole log: nothing in it was changed, taken away or put in between.

    The exit code is 0 when all is well, 1 when something was found.
    """
    from windlass.cli.work import audit as work

    run(work.verify((url, api_key), work.read_anchors(expect or ()), json=json))
