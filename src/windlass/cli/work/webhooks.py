"""What the commands of ``windlass webhooks`` do."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from windlass import settings
from windlass.bootstrap import visit_application
from windlass.cli import output
from windlass.cli.exits import bad_input
from windlass.contexts.records.api import read_moment
from windlass.contexts.webhooks.api import Wanted, Webhooks
from windlass.kernel.actors import Actor

PAGE = 500
ATTEMPTS = ("created_at", "host", "status", "code", "reason", "attempt", "source", "webhook_id")
LETTERS = ("id", "tenant_id", "run_id", "url", "attempts", "next_attempt_at", "last_error", "created_at")


def wanted(
    tenant: str | None, host: str | None, error: str | None, created_after: str | None, created_before: str | None
) -> Wanted:
    """Return which dead letters are meant.

    Raises:
        Invalid: a time cannot be read.
    """
    after = None if created_after is None else read_moment(created_after, "created_after")
    before = None if created_before is None else read_moment(created_before, "created_before", end=True)
    return Wanted(tenant, host, error, after, before)


def chosen(letter: int | None, those: Wanted, *, everything: bool) -> int | Wanted:
    """Return the one dead letter that is meant, or which ones.

    Raises:
        CommandError: neither is said, or both are.
    """
    said = [letter is not None, those != Wanted(), everything]
    if sum(said) != 1:
        bad_input("say which dead letters: one by its id, those of a filter, or --all")
    return those if letter is None else letter


@asynccontextmanager
async def _open() -> AsyncIterator[tuple[Webhooks, Actor]]:
    found = settings.load().model_copy(update={"app_modules": ()})
    if found.auto_migrate is None:
        found = found.model_copy(update={"auto_migrate": False})
    async with visit_application(found) as application:
        yield application.webhooks, Actor("cli", getpass.getuser(), role="admin", kind="cli")


async def list_deliveries(run_id: str, limit: int, *, json: bool) -> None:
    """Print the attempts to tell of a run."""
    async with _open() as (webhooks, actor):
        found: list[dict[str, Any]] = await webhooks.deliveries(actor, run_id, limit=limit)
    if json:
        output.as_json(found)
    else:
        output.table(ATTEMPTS, [[row[name] for name in ATTEMPTS] for row in found], numbers=("code", "attempt"))


async def list_letters(those: Wanted, limit: int, *, json: bool) -> None:
    """Print dead letters."""
    found: list[dict[str, Any]] = []
    async with _open() as (webhooks, actor):
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            after = found[-1]["id"] if found else 0
            page = await webhooks.letters(actor, those, after=after, limit=size)
            found += page
            if len(page) < size:
                break
    if json:
        output.as_json(found)
    else:
        output.table(LETTERS, [[row[name] for name in LETTERS] for row in found], numbers=("id", "attempts"))


async def replay(what: int | Wanted) -> None:
    """Start a run that sends dead letters again, and print its id."""
    async with _open() as (webhooks, actor):
        if isinstance(what, int):
            print((await webhooks.replay(actor, what, wait=False)).run_id)
            return
        many = await webhooks.replay_many(actor, what)
        output.note(f"{many.matched} dead letters")
        print(many.run_id)


async def discard(what: int | Wanted) -> None:
    """Throw dead letters away and print how many."""
    async with _open() as (webhooks, actor):
        if isinstance(what, int):
            await webhooks.discard(actor, what)
            print(1)
        else:
            print(await webhooks.discard_many(actor, what))
