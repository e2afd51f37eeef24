"""``windlass users``: who may log in, and what they may do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from windlass.cli.options import ApiKey, Json, Url
from windlass.cli.running import run

group = typer.Typer(
    help="Add users, change what they may do, disable them. Works on the database in DATABASE_URL, or on a server.\n\n"
    "A user logs in with POST /auth/login and sends the token as Authorization: Bearer …; role and permissions are"
    " looked up anew while the token is good.\n\n"
    "Permissions: workflows.runs.read, workflows.runs.control, workflows.admin (what others own in the tenant),"
    " system.configure or * (everything). The role admin has them all.",
    no_args_is_help=True,
)


class Role(StrEnum):
    """What a user is."""

    USER = "user"
    ADMIN = "admin"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name, in whatever case.")]
Tenant = Annotated[str, typer.Option(metavar="TENANT", help="Whose user or key it is; a new tenant is made.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", metavar="TENANT", help="Those of this tenant only.")]
Permissions = Annotated[
    list[str] | None,
    typer.Option(
        "--permission",
        metavar="NAME",
        help="What it may do; may be given several times. [default: workflows.runs.read and workflows.runs.control]",
    ),
]
Bare = Annotated[bool, typer.Option("--no-permissions", help="Grant nothing.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password and print it, once.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="users")


@group.command()
def add(  # noqa: PLR0917  each is an option
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user's name: an e-mail address, say.")],
    tenant: Tenant = "default",
    role: Annotated[Role, typer.Option(help="admin may do everything in the tenant.")] = Role.USER,
    permission: Permissions = None,
    no_permissions: Bare = False,
    generate: Generate = False,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Add a user.

    The password is asked for, or read from the first line of stdin when that is no terminal; it never stands on the
    command line.
    """
    from windlass.cli.work import users as work

    wanted = work.permissions(permission, bare=no_permissions)
    password = work.read_password(generate=generate)
    run(work.add((url, api_key), name, password, tenant, role.value, wanted, json=json))


@group.command("list")
def list_(tenant: OfTenant = None, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """List the users."""
    from windlass.cli.work import users as work

    run(work.list_users((url, api_key), tenant, json=json))


@group.command()
def disable(name: Name, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Let a user in no more: no login, and tokens end, in other processes after AUTH_CACHE_SECONDS."""
    from windlass.cli.work import users as work

    run(work.change((url, api_key), name, is_active=False, json=json))


@group.command()
def enable(name: Name, json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Let a disabled user in again; tokens of before stay ended."""
    from windlass.cli.work import users as work

    run(work.change((url, api_key), name, is_active=True, json=json))


@group.command()
def password(
    name: Name, generate: Generate = False, json: Json = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """Change a user's password; tokens of before end.

    It is asked for, or read from the first line of stdin when that is no terminal.
    """
    from windlass.cli.work import users as work

    run(work.set_password((url, api_key), name, work.read_password(generate=generate), json=json))


@group.command()
def roles(
    name: Name,
    role: Annotated[Role | None, typer.Option(help="The role from now on.")] = None,
    grant: Annotated[
        list[str] | None, typer.Option(metavar="PERMISSION", help="Grant it; may be given several times.")
    ] = None,
    revoke: Annotated[
        list[str] | None, typer.Option(metavar="PERMISSION", help="Take it away; may be given several times.")
    ] = None,
    json: Json = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Change a user's role and permissions; without options, print them."""
    from windlass.cli.work import users as work

    role_name = None if role is None else role.value
    run(work.change((url, api_key), name, role=role_name, grant=grant or (), revoke=revoke or (), json=json))
