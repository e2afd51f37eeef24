"""What the commands for people who decide do."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from windlass.cli import output
from windlass.cli.client.open import open_client
from windlass.cli.client.protocol import Row
from windlass.cli.exits import bad_input

COLUMNS = ("run", "step", "workflow", "asks", "whom", "yes", "until", "about")


async def inbox(url: str | None, api_key: str | None, *, everybody: bool, limit: int, json: bool) -> None:
    """Print what waits."""
    async with open_client(url, api_key) as client:
        found = await client.inbox(everybody=everybody, limit=limit)
    if json:
        output.as_json(found)
    elif found:
        output.table(COLUMNS, [_line(question) for question in found])
    else:
        output.note("nothing waits for a decision")


def _line(question: Row) -> tuple[object, ...]:
    return (
        question["run_id"],
        question["step_id"],
        question["workflow"],
        question["kind"],
        ", ".join(question["assigned_to"]),
        f"{question['approvals']} of {question['quorum']}",
        question["due_at"],
        output.short(question["instructions"], 60),
    )


async def decide(
    run_id: str, step_id: str, decision: str, comment: str | None, fields: str | None, url: str | None,
    api_key: str | None,
) -> None:  # fmt: skip
    """Answer a question."""
    filled = None if fields is None else read_fields(fields)
    async with open_client(url, api_key) as client:
        await client.decide(run_id, step_id, decision, comment, filled)
    output.note(f"{'approved' if decision == 'approve' else 'rejected'}: step {step_id} of run {run_id}")


def read_fields(text: str) -> Row:
    """Return filled-in fields.

    Raises:
        CommandError: they are no JSON object.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        bad_input(f"--fields is no JSON: {error}", "give an object, '{\"amount\": 7}' for example")
    if not isinstance(found, dict):
        bad_input("--fields is no JSON object", "give an object, '{\"amount\": 7}' for example")
    return found


async def reassign(run_id: str, step_id: str, to: Sequence[str], url: str | None, api_key: str | None) -> None:
    """Ask others."""
    async with open_client(url, api_key) as client:
        await client.reassign(run_id, step_id, to)
    output.note(f"step {step_id} of run {run_id} now asks {', '.join(to)}")
