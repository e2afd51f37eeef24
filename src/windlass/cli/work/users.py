"""What the commands of ``windlass users`` do."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import typer

from windlass.cli import output
from windlass.cli.client.members import open_members
from windlass.cli.client.protocol import Row
from windlass.cli.exits import bad_input
from windlass.cli.work.identity import Server, tell_new_tenant
from windlass.contexts.identity.api import USUAL_PERMISSIONS

COLUMNS = ("id", "name", "tenant", "role", "permissions", "active", "last login")


class Password(NamedTuple):
    """A password, and whether it was made here, so that it has to be told."""

    text: str
    made: bool


def permissions(named: Sequence[str] | None, *, bare: bool) -> Sequence[str]:
    """Return the permissions that were asked for.

    Raises:
        CommandError: some are, and none.
    """
    if bare and named:
        bad_input("--no-permissions and --permission contradict each other")
    return () if bare else named or USUAL_PERMISSIONS


def read_password(*, generate: bool) -> Password:
    """Return a password: made, asked for, or the first line of stdin.

    Raises:
        CommandError: there is none.
    """
    if generate:
        return Password(secrets.token_urlsafe(18), made=True)
    if output.is_terminal(sys.stdin):
        return Password(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True), made=False)
    text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        bad_input("there is no password on stdin", "write it there, or say --generate")
    return Password(text, made=False)


async def add(
    at: Server, name: str, password: Password, tenant: str, role: str, granted: Iterable[str], *, json: bool
) -> None:
    """Add a user and print it."""
    async with open_members(*at, creates=True) as client:
        user = await client.add_user(name, password.text, tenant, role, granted)
    tell_new_tenant(tenant, new=user.pop("new_tenant"))
    _tell(user, password, json=json)


async def set_password(at: Server, name: str, password: Password, *, json: bool) -> None:
    """Change a password."""
    async with open_members(*at) as client:
        user = await client.set_password(name, password.text)
    _tell(user, password, json=json)


async def change(at: Server, name: str, *, json: bool, **changes: Any) -> None:
    """Change a user and print it as it is then."""
    async with open_members(*at) as client:
        user = await client.change_user(name, changes)
    _tell(user, None, json=json)


async def list_users(at: Server, tenant: str | None, *, json: bool) -> None:
    """Print the users."""
    async with open_members(*at) as client:
        found = await client.list_users(tenant)
    if json:
        output.as_json(found)
    else:
        output.table(COLUMNS, [_row(user) for user in found])


def _row(user: Row) -> list[object]:
    names = ("user_id", "username", "tenant_id", "role", "permissions", "is_active", "last_login_at")
    return [" ".join(user[name]) or None if name == "permissions" else user[name] for name in names]


def _tell(user: Row, password: Password | None, *, json: bool) -> None:
    made = password.text if password is not None and password.made else None
    if json:
        output.as_json(user | ({} if made is None else {"password": made}))
        return
    output.table(COLUMNS, [_row(user)])
    if made is not None:
        print(f"password: {made}")
