"""What ``windlass db move`` does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import NamedTuple

import typer

from windlass import settings
from windlass.bootstrap.carrying import Report
from windlass.bootstrap.moving import Move
from windlass.cli import output
from windlass.cli.exits import CommandError, ExitCode
from windlass.cli.output import number
from windlass.cli.progress import progress
from windlass.kernel.errors import Unavailable

MEGABYTE = 1024 * 1024


class Given(NamedTuple):
    """What was said on the command line."""

    to: str
    drain_seconds: float
    without_foreign: bool


@contextmanager
def _move(given: Given, title: str) -> Iterator[Move]:
    with progress(title, None, "") as shown:
        found = Move(
            settings.load(),
            given.to,
            tell=lambda what, done, total: shown.at(done, total, what),
            drain_seconds=given.drain_seconds,
            without_foreign=given.without_foreign,
        )
        try:
            yield found
        except Unavailable as error:
            hint = "is it running, and is --to right?" if "cannot be reached" in error.message else ""
            raise CommandError(ExitCode.UNAVAILABLE, " ".join(error.message.split()), hint) from error


def plan(given: Given, *, json: bool) -> None:
    """Say what would be moved, and what stands in the way."""
    with _move(given, "Looking") as found:
        plan = found.plan()
    if json:
        output.as_json(asdict(plan))
    else:
        held = {name: count for name, count in plan.rows.items() if count}
        runs = ", ".join(f"{number(count)} {status}" for status, count in plan.open_runs.items())
        output.fields(
            {
                "from": plan.source,
                "to": plan.target,
                "the new database": plan.target_state,
                "revision": plan.version,
                "open runs": runs or "none",
                "rows": number(sum(held.values())),
                "old size": f"{number(plan.source_bytes / MEGABYTE)} MB",
                "room the new one needs": f"about {number(plan.needs_bytes / MEGABYTE)} MB",
                "artifacts": f"{plan.artifacts}: its files stay where they are",
            }
        )
        output.table(("table", "rows"), [(name, number(count)) for name, count in held.items()], numbers=("rows",))
        for problem in plan.problems:
            print(f"in the way: {problem}")
        if not plan.problems:
            print("nothing is in the way: give the command without --dry-run")
    if plan.problems:
        raise typer.Exit(ExitCode.FINDING)


def move(given: Given, *, json: bool) -> None:
    """Move, and say what was moved and how long nothing could be written."""
    with _move(given, "Moving") as found:
        done = found.move()
        source, target = found.source, str(found.url)
    if json:
        output.as_json({"from": source, "to": target, **_told(done)})
        return
    rows = sum(done.rows.values())
    if done.finished:
        print(f"{source} is moved to {target}: an earlier command had done all but its last mark; {number(rows)} rows")
    else:
        print(
            f"{source} is moved to {target}: {number(rows)} rows in {len(done.rows)} tables, compared one by one;"
            f" {number(done.carried_live)} of them while servers worked ({done.bulk_seconds:.1f} s)."
            f" Closed for {done.down_seconds:.1f} s: {done.drain_seconds:.1f} to drain,"
            f" {done.rest_seconds:.1f} for the rest"
        )
    print("Start servers with DATABASE_URL set to it; the old ones answer 503 until you stop them")


def undo(given: Given, *, json: bool) -> None:
    """Open the old database again."""
    with _move(given, "Looking whether the new database was used") as found:
        done = found.undo()
        source, target = found.source, str(found.url)
    if json:
        output.as_json({"from": target, "to": source, **_told(done)})
    else:
        print(f"the move is undone: {source} is in use again, nothing starts on {target}")


def _told(done: Report) -> dict[str, object]:
    return {**asdict(done), "down_seconds": done.down_seconds}
