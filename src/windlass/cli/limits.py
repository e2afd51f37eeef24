"""``windlass limits``: how many runs of definitions run at once, by tenant, workflow and key, and who goes first."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run

group = typer.Typer(
    help="Limits of runs of definitions: tenant:TENANT, workflow:TENANT:ID or key:TENANT:ID:KEY.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="tenant:acme, workflow:acme:17 or key:acme:17:red.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="limits")


@group.command("list")
def list_(json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """List the limits that are set or in use, and tenants with a weight."""
    from windlass.cli.work import limits as work

    run(work.list_limits(url, api_key, json=json))


@group.command("set")
def set_(
    name: Name,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="How many runs at once.")] = None,
    weight: Annotated[
        int | None, typer.Option("--weight", min=1, help="Of a tenant: its turns for one of weight 1.")
    ] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Set a limit, or the weight of a tenant; runs that were waiting start."""
    from windlass.cli.work import limits as work

    run(work.change(name, limit, weight, url, api_key, json=json))


@group.command()
def clear(name: Name, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Go back to the limit of the settings, and of a tenant to weight 1."""
    from windlass.cli.work import limits as work

    run(work.clear(name, url, api_key, json=json))
