"""What the commands of ``windlass audit`` do."""

from __future__ import annotations

import re
from collections.abc import Iterable

import typer

from windlass.cli import output
from windlass.cli.client.members import MemberClient, open_members
from windlass.cli.client.protocol import Row
from windlass.cli.exits import ExitCode, bad_input
from windlass.cli.work.identity import Server

CHECKED = 10_000
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


async def list_entries(at: Server, wanted: Row, limit: int, *, json: bool) -> None:
    """Print entries by ``tenant``, ``actor``, ``action`` and ``target``."""
    async with open_members(*at) as client:
        found = await client.entries(wanted, limit)
    if json:
        output.as_json(found)
    else:
        output.table(COLUMNS, [_row(entry) for entry in found], numbers=("number",))


async def verify(at: Server, anchors: list[tuple[int, str]], *, json: bool) -> None:
    """Check the log, and end with 1 when something is wrong with it."""
    async with open_members(*at) as client:
        result = await _verdict(client, anchors)
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


async def _verdict(client: MemberClient, anchors: list[tuple[int, str]]) -> Row:
    checked, problems, after = 0, [], 0
    while True:
        verdict = await client.verify(after, CHECKED)
        checked += verdict["checked"]
        problems += verdict["problems"]
        if verdict["next"] is None:
            break
        after = verdict["next"]
    for seq, digest in anchors:
        there = await client.verify(max(0, seq - 1), 1)
        if (there["last_seq"], there["last_hash"]) != (seq, digest):
            problems.append(f"{seq}: does not have the hash that was expected: it was written anew, or taken away")
    return {
        "ok": not problems,
        "checked": checked,
        "last_seq": verdict["last_seq"],
        "last_hash": verdict["last_hash"],
        "problems": problems,
    }


def _row(entry: Row) -> list[object]:
    actor = entry["actor"]
    told = [output.short(entry[name], 60) if entry[name] is not None else None for name in ("before", "after")]
    return [entry["seq"], entry["at"], entry["tenant_id"], actor["name"], entry["action"], entry["target"], *told]
