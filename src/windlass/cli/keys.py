"""``windlass keys``: keys of services, which carry a tenant and permissions."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run
from windlass.cli.users import Bare, OfTenant, Permissions, Tenant

group = typer.Typer(
    help="Make keys for services and revoke them. Works on the database in DATABASE_URL, or on a server.\n\n"
    "A service sends its key as X-API-Key, or as Authorization: Bearer. Only a hash is kept, so it is shown once.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="keys")


@group.command()
def add(  # noqa: PLR0917  each is an option
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, to know it by.")],
    tenant: Tenant = "default",
    permission: Permissions = None,
    no_permissions: Bare = False,
    days: Annotated[
        float | None, typer.Option(metavar="N", help="How long it is good. [default: until it is revoked]")
    ] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a key and print it, once: keep it where the service finds it.

    The key alone goes to stdout, so that it can be put into a file or variable.
    """
    from windlass.cli.work import keys as work
    from windlass.cli.work.users import permissions

    run(work.add((url, api_key), name, tenant, permissions(permission, bare=no_permissions), days, json=json))


@group.command("list")
def list_(tenant: OfTenant = None, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """List the keys, without what is sent."""
    from windlass.cli.work import keys as work

    run(work.list_keys((url, api_key), tenant, json=json))


@group.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id: see `windlass keys list`.")],
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Revoke a key for good; running servers let it in no more after AUTH_CACHE_SECONDS."""
    from windlass.cli.work import keys as work

    run(work.revoke((url, api_key), key_id, json=json))
