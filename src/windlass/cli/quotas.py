"""``windlass quotas``: how much users and tenants may start, changed while all is running."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run

group = typer.Typer(
    help="Look at limits of runs and change them: daily and burst (runs of a user in a UTC day and in a minute),"
    " run_adhoc and run_saved (requests of a caller in a minute), queue_depth (runs of a tenant that wait),"
    " queue_depth_all (of all tenants).",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="LIMIT", help="Which limit, such as daily.")]
User = Annotated[str | None, typer.Option(metavar="ID", help="Of this user alone; else of all users.")]
Tenant = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of this tenant, or '*' for all of them; not with --url.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="quotas")


@group.command("list")
def list_(
    user: Annotated[str | None, typer.Option(metavar="ID", help="What is in force for this user, and used.")] = None,
    tenant: Tenant = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List limits other than the settings', or with --user all that are in force for one user."""
    from windlass.cli.work import quotas as work

    run(work.list_limits(user, tenant, url, api_key, json=json))


@group.command("set")
def set_(
    limit: Name,
    value: Annotated[str, typer.Argument(metavar="N", help="How much; none is no limit.")],
    user: User = None,
    tenant: Tenant = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Set a limit; it is in force at once, in every process."""
    from windlass.cli.work import quotas as work

    run(work.set_limit(limit, work.read_value(value), user, tenant, url, api_key, json=json))


@group.command()
def clear(
    limit: Name,
    user: User = None,
    tenant: Tenant = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Take such a limit away: the tenant's, or the settings', is in force again."""
    from windlass.cli.work import quotas as work

    run(work.clear_limit(limit, user, tenant, url, api_key, json=json))
