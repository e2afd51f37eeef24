"""What the commands of ``windlass webhooks`` do."""

from __future__ import annotations

from windlass.cli import output
from windlass.cli.client.webhooks import open_webhooks
from windlass.cli.exits import bad_input
from windlass.cli.work.identity import Server
from windlass.contexts.records.api import read_moment
from windlass.contexts.webhooks.api import Wanted

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


async def list_deliveries(at: Server, run_id: str, limit: int, *, json: bool) -> None:
    """Print the attempts to tell of a run."""
    async with open_webhooks(*at) as client:
        found = await client.deliveries(run_id, limit)
    if json:
        output.as_json(found)
    else:
        output.table(ATTEMPTS, [[row[name] for name in ATTEMPTS] for row in found], numbers=("code", "attempt"))


async def list_letters(at: Server, those: Wanted, limit: int, *, json: bool) -> None:
    """Print dead letters."""
    async with open_webhooks(*at) as client:
        found = await client.letters(those, limit)
    if json:
        output.as_json(found)
    else:
        output.table(LETTERS, [[row[name] for name in LETTERS] for row in found], numbers=("id", "attempts"))


async def replay(at: Server, what: int | Wanted) -> None:
    """Start a run that sends dead letters again, and print its id; or what a server has heard already."""
    async with open_webhooks(*at) as client:
        if isinstance(what, int):
            done = await client.replay(what)
            print(done["run_id"]) if "run_id" in done else output.as_json(done["answer"])
            return
        many = await client.replay_many(what)
        output.note(f"{many['matched']} dead letters")
        print(many["run_id"])


async def discard(at: Server, what: int | Wanted) -> None:
    """Throw dead letters away and print how many."""
    async with open_webhooks(*at) as client:
        if isinstance(what, int):
            await client.discard(what)
            print(1)
        else:
            print(await client.discard_many(what))
