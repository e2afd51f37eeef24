"""What ``windlass backup``, ``restore``, ``verify`` and ``retention`` do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import typer

from windlass import settings
from windlass.bootstrap import visit_application
from windlass.cli import output
from windlass.cli.exits import ExitCode, bad_input
from windlass.cli.output import number
from windlass.cli.progress import progress
from windlass.contexts.artifacts.api import count_older
from windlass.contexts.workflows.api import SnapshotRetention
from windlass.kernel.clock import SECOND, to_iso
from windlass.storage.backups import api
from windlass.storage.backups.contents import Contents
from windlass.storage.invariant import MEANINGS
from windlass.storage.retention import Removed, Retention

DAY = 86_400 * SECOND
NAMED = 5
TABLES = ("workflow_runs", "workflow_events", "workflows", "records")
"""Those a person is told of."""


class Ages(NamedTuple):
    """From how many days on what is old; None leaves it alone."""

    runs: float | None
    events: float | None
    artifacts: float | None


def backup(file: Path, *, json: bool) -> None:
    """Copy the database into a file and say what the copy holds."""
    url = settings.load().database
    unit = "bytes" if url.path is not None else "tables"
    with progress(f"Copying {url}", None, unit) as shown:
        found = api.backup(url, file, shown.at)
    _tell(found, file, f"{url} is copied to {file}", json=json)


def restore(file: Path, *, json: bool) -> None:
    """Fill the database from a file and say what it holds."""
    url = settings.load().database
    unit = "bytes" if url.path is not None else "tables"
    with progress(f"Restoring {url}", None, unit) as shown:
        found = api.restore(file, url, shown.at)
    _tell(found, file, f"{url} is restored from {file}", json=json)


def verify(file: Path, *, json: bool) -> None:
    """Look through a file; raises when a run of it is adrift."""
    found = api.verify(file)
    _tell(found, file, f"{file} is whole", json=json)


def _tell(found: Contents, file: Path, said: str, *, json: bool) -> None:
    lost = found.adrift or []
    if json:
        output.as_json(
            {
                "file": str(file),
                "bytes": file.stat().st_size,
                "backend": found.backend,
                "version": found.version,
                "rows": found.rows,
                "adrift": None if found.adrift is None else [run._asdict() for run in lost],
            }
        )
    else:
        held = ", ".join(f"{number(found.rows[name])} in {name}" for name in TABLES if name in found.rows)
        print(f"{said}: at {found.version or 'no version'}, {len(found.rows)} tables, {held or 'nothing'}")
        for run in lost[:NAMED]:
            print(
                f"run {run.run_id} ({run.name}) is adrift: {MEANINGS[run.finding]}; windlass doctor --repair mends it"
            )
    if lost:
        raise typer.Exit(ExitCode.FINDING)


async def retention(ages: Ages, *, yes: bool, dry_run: bool, json: bool) -> None:
    """Remove what is old, or count it, and say how much it is."""
    if ages == Ages(None, None, None):
        bad_input("nothing is to go", "say how old: --runs DAYS, --events DAYS, --artifacts DAYS")
    if yes and dry_run:
        bad_input("--yes and --dry-run say different things")
    async with visit_application(settings.load()) as application:
        now = application.engine.clock.now()
        work = Retention(application.engine, dry=not yes)
        told: dict[str, Any] = {"dry_run": not yes}
        told |= await _part("runs", ages.runs, now, work.runs)
        if ages.runs is not None:
            unneeded = SnapshotRetention(application.engine, dry=not yes)
            told["definitions"] = {"definitions": await unneeded.remove(now - int(ages.runs * DAY))}
        told |= await _part("events", ages.events, now, work.events)
        if ages.artifacts is not None:
            seconds = ages.artifacts * 86_400
            if yes:
                told["artifacts"] = (await application.artifacts.gc(seconds)).view()
            else:
                before = to_iso(now - int(ages.artifacts * DAY))
                count = await application.engine.read(lambda connection: count_older(connection, before))
                told["artifacts"] = {"artifacts": count}
    if json:
        output.as_json(told)
        return
    for part, counts in told.items():
        if part != "dry_run":
            counted = ", ".join(f"{number(count)} {name}" for name, count in counts.items())
            print(f"{part}: {counted} {'removed' if yes else 'would be removed (say --yes)'}")


async def _part(name: str, days: float | None, now: int, remove: Callable[[str], Any]) -> dict[str, dict[str, int]]:
    if days is None:
        return {}
    removed: Removed = await remove(to_iso(now - int(days * DAY)))
    return {name: removed._asdict()}
