"""What the commands of ``windlass audit`` do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import typer

from windlass.cli import output
from windlass.cli.exits import ExitCode, bad_input
from windlass.cli.work.identity import identity
from windlass.contexts.identity.api import AuditQuery, Identity

COLUMNS = ("number", "time", "tenant", "actor", "action", "target", "before", "after")
_ANCHOR = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


def read_anchors(texts: Iterable[str]) -> list[tuple[int, str]]:
    """Return numbers with the hashes they must have.

    Raises:
        CommandError: one is none.
    """
    found = []
    for text in texts:
        parts = _ANCHOR.fullmatch(text)
        if parts is None:
            bad_input(f"--expect takes a number and its hash, as verify prints them, not {text!r}")
        found.append((int(parts[1]), parts[2]))
    return found


async def list_entries(
    tenant: str | None, actor: str | None, action: str | None, target: str | None, limit: int, *, json: bool
) -> None:
    """Print entries."""
    async with identity() as who:
        found = await who.entries(AuditQuery(tenant, actor, action, target, limit=limit))
    if json:
        output.as_json(found)
    else:
        output.table(COLUMNS, [_row(entry) for entry in found], numbers=("number",))


async def verify(anchors: list[tuple[int, str]], *, json: bool) -> None:
    """Check the log, and end with 1 when something is wrong with it."""
    async with identity() as who:
        result = await _verdict(who, anchors)
    if json:
        output.as_json(result)
    elif result["ok"]:
        print(f"{result['checked']} entries are as they were written")
        if result["last_seq"]:
            print(f"the last one is {result['last_seq']}:{result['last_hash']}")
    else:
        for problem in result["problems"]:
            print(problem)
    if not result["ok"]:
        raise typer.Exit(ExitCode.FINDING)


async def _verdict(who: Identity, anchors: list[tuple[int, str]]) -> dict[str, Any]:
    checked, problems, after = 0, [], 0
    while True:
        verdict = await who.verify(after)
        checked += verdict.checked
        problems += verdict.problems
        if verdict.next is None:
            break
        after = verdict.next
    for seq, digest in anchors:
        if await who.hash_at(seq) != digest:
            problems.append(f"{seq}: does not have the hash that was expected: it was written anew, or taken away")
    return {
        "ok": not problems,
        "checked": checked,
        "last_seq": verdict.last_seq,
        "last_hash": verdict.last_hash,
        "problems": problems,
    }


def _row(entry: dict[str, Any]) -> list[object]:
    actor = entry["actor"]
    told = [output.short(entry[name], 60) if entry[name] is not None else None for name in ("before", "after")]
    return [entry["seq"], entry["at"], entry["tenant_id"], actor["name"], entry["action"], entry["target"], *told]
