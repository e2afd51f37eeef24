"""What the commands of ``windlass users`` do."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import typer

from windlass.cli import output
from windlass.cli.exits import bad_input
from windlass.cli.work.identity import identity, operator, tell_new_tenant
from windlass.contexts.identity.api import PAGE, USUAL_PERMISSIONS, User

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


async def add(name: str, password: Password, tenant: str, role: str, granted: Iterable[str], *, json: bool) -> None:
    """Add a user and print it."""
    async with identity(creates=True) as who:
        added = await who.add_user(operator(), name, password.text, tenant, role, granted)
    tell_new_tenant(tenant, new=added.new_tenant)
    _tell(added.user, password, json=json)


async def set_password(name: str, password: Password, *, json: bool) -> None:
    """Change a password."""
    async with identity() as who:
        user = await who.set_password(operator(), name, password.text)
    _tell(user, password, json=json)


async def change(name: str, *, json: bool, **changes: Any) -> None:
    """Change a user and print it as it is then."""
    async with identity() as who:
        user = await who.change_user(operator(), name, **changes)
    _tell(user, None, json=json)


async def list_users(tenant: str | None, *, json: bool) -> None:
    """Print the users."""
    found: list[User] = []
    async with identity() as who:
        while True:
            page = await who.list_users(tenant, int(found[-1].user_id) if found else 0)
            found += page
            if len(page) < PAGE:
                break
    if json:
        output.as_json([user.shown() for user in found])
    else:
        output.table(COLUMNS, [_row(user) for user in found])


def _row(user: User) -> list[object]:
    rights = " ".join(user.permissions) or None
    return [user.user_id, user.username, user.tenant_id, user.role, rights, user.is_active, user.last_login_at]


def _tell(user: User, password: Password | None, *, json: bool) -> None:
    made = password.text if password is not None and password.made else None
    if json:
        output.as_json(user.shown() | ({} if made is None else {"password": made}))
        return
    output.table(COLUMNS, [_row(user)])
    if made is not None:
        print(f"password: {made}")
