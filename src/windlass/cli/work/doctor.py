"""What ``windlass doctor`` looks at, one question after the other, and how it mends what it finds."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from windlass import settings
from windlass.bootstrap import open_backend, visit_application
from windlass.cli import output
from windlass.cli.exits import ExitCode
from windlass.cli.output import number
from windlass.contexts.records.api import wrong_counts
from windlass.engine.ports import Backend
from windlass.kernel.clock import SystemClock
from windlass.kernel.errors import ConfigError, WindlassError
from windlass.kernel.versions import UNBOUND, parts_of
from windlass.settings import Settings
from windlass.storage import invariant, migrate, overview
from windlass.storage.invariant import HOLDER_DEAD, MEANINGS, Adrift
from windlass.storage.urls import DatabaseUrl

MEBIBYTE = 1024 * 1024
WAL_BYTES = 64 * MEBIBYTE
"""The WAL of a database in use stays below that; a larger one means that somebody reads without end."""
DISK_BYTES = 512 * MEBIBYTE
LATE_SECONDS = 60.0
"""Runs that were ready for longer than that are late."""
NAMED = 5
"""How many runs a finding names."""


@dataclass(frozen=True, slots=True)
class Check:
    """An answer: ``result`` is ok, warning or failed, ``said`` explains it, ``advice`` says what to do."""

    check: str
    result: str
    said: str
    advice: str = ""


async def examine(*, repair: bool, json: bool) -> None:
    """Look at everything, mend what is wanted, print the answers; raises when there is a finding."""
    found = settings.load()
    checks, well = await asyncio.to_thread(database, found)
    if well:
        backend = open_backend(found.database)
        try:
            if repair:
                adrift, dead = await asyncio.to_thread(lost, backend)
                miscounted = await asyncio.to_thread(backend.read, wrong_counts)
                if adrift or dead or miscounted:
                    checks.append(await mend(found, adrift, dead, miscounted))
            checks += await asyncio.to_thread(runs, backend)
        finally:
            backend.close()
    _tell(checks, json=json)
    if any(check.result != "ok" for check in checks):
        raise typer.Exit(ExitCode.FINDING)


def database(found: Settings) -> tuple[list[Check], bool]:
    """Look at the database from outside; also say whether its tables can be looked at."""
    url = found.database
    try:
        version = migrate.inspect(url)
    except ConfigError as error:
        return [Check("database", "failed", error.message)], False
    except WindlassError as error:
        return [Check("database", "failed", str(error), "start it, or mend DATABASE_URL")], False
    checks = [Check("database", "ok", f"{url} answers")]
    try:
        migrate.refuse_other(url, version)
        checks.append(Check("schema", "ok", f"at {version.current}, as this program wants"))
    except ConfigError as error:
        checks.append(Check("schema", "failed", error.message, "windlass db upgrade" if version.known else ""))
    sound = True
    if url.path is not None and url.path.exists():
        whole = integrity(url)
        sound = whole.result == "ok"
        checks += [whole, *files(url.path.absolute())]
    return checks, version.matches and sound


def integrity(url: DatabaseUrl) -> Check:
    """Let SQLite look for damage in its file."""
    try:
        found = migrate.quick_check(url)
    except WindlassError as error:
        return Check("file", "failed", error.message)
    if found == "ok":
        return Check("file", "ok", "SQLite finds no damage in it")
    return Check("file", "failed", migrate.damaged(url, found).message)


def files(path: Path) -> list[Check]:
    """Look at the files of a SQLite database and their disk."""
    wal = Path(f"{path}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    free = shutil.disk_usage(path.parent).free
    said = f"{size / MEBIBYTE:.1f} MiB beside a file of {path.stat().st_size / MEBIBYTE:.1f} MiB"
    grown = "one large transaction has grown it, which passes, or a reader keeps it: look for one without end"
    checks = [Check("wal", "ok", said) if size <= WAL_BYTES else Check("wal", "warning", said, grown)]
    said = f"{number(free / MEBIBYTE)} MiB free"
    full = "make room: without it nothing can be accepted"
    checks.append(Check("disk", "ok", said) if free >= DISK_BYTES else Check("disk", "warning", said, full))
    return checks


def lost(backend: Backend) -> tuple[list[Adrift], list[str]]:
    """Return the runs that break the invariant, and the dead processes."""
    dead = backend.reader.poll("", (), 0).dead
    return backend.read(lambda connection: invariant.adrift(connection, dead)), dead


def runs(backend: Backend) -> list[Check]:
    """Look at processes and runs."""
    adrift, dead = lost(backend)
    now = SystemClock().now()
    live = backend.read(lambda connection: overview.processes(connection, dead))
    waiting = backend.read(lambda connection: overview.ready_runs(connection, now))
    return [
        _invariant(adrift),
        _processes(live, dead),
        _queue(waiting, live),
        _counts(backend.read(wrong_counts)),
    ]


def _invariant(adrift: Sequence[Adrift]) -> Check:
    if not adrift:
        return Check("runs", "ok", "every open run has a live holder or a named wake-up")
    named = "; ".join(f"{run.run_id} ({run.name}): {MEANINGS[run.finding]}" for run in adrift[:NAMED])
    more = f"; and {len(adrift) - NAMED} more" if len(adrift) > NAMED else ""
    return Check("runs", "failed", f"{number(len(adrift))} adrift: {named}{more}", "windlass doctor --repair")


def _processes(live: Sequence[overview.ProcessView], dead: Sequence[str]) -> Check:
    workers = [process for process in live if process.workflows]
    said = f"{len(live)} live, {len(workers)} of them carry out runs"
    if dead:
        return Check(
            "processes", "warning", f"{said}; {len(dead)} dead and not taken over yet", "windlass doctor --repair"
        )
    return Check("processes", "ok", said)


def _queue(waiting: Sequence[overview.ReadyRuns], live: Sequence[overview.ProcessView]) -> Check:
    total = sum(ready.number for ready in waiting)
    if not total:
        return Check("queue", "ok", "nothing waits for a process")
    orphans = [ready for ready in waiting if not _known(ready.name, live)]
    if orphans:
        named = ", ".join(f"{ready.name.removesuffix('@')} ({number(ready.number)})" for ready in orphans)
        advice = "start `windlass worker`, with --app for workflows of your own"
        return Check("queue", "failed", f"no live process carries out {named}", advice)
    oldest = max(ready.oldest_seconds for ready in waiting)
    said = f"{number(total)} wait for a process, the longest for {oldest:.1f} s"
    if oldest > LATE_SECONDS:
        return Check("queue", "warning", said, "start more workers, or look at `windlass queues list` for limits")
    return Check("queue", "ok", said)


def _known(code: str, live: Sequence[overview.ProcessView]) -> bool:
    name, version = parts_of(code)
    there = overview.versions_of(name, live)
    return version in there or (version == UNBOUND and bool(there))


def _counts(miscounted: int) -> Check:
    if not miscounted:
        return Check("counts", "ok", "the counts of reports equal a look at every record")
    said = f"{number(miscounted)} counts of reports are wrong: records were changed by hand"
    return Check("counts", "failed", said, "windlass doctor --repair")


async def mend(found: Settings, adrift: Sequence[Adrift], dead: Sequence[str], miscounted: int) -> Check:
    """Take over the runs of dead processes, queue again those that nothing would wake, count records anew."""
    async with visit_application(found) as application:
        engine = application.engine
        gone = {*dead, *(run.holder for run in adrift if run.finding == HOLDER_DEAD and run.holder is not None)}
        moved = sum([await engine.worker.take_over(holder) for holder in sorted(gone)])
        ids = [run.run_id for run in adrift if run.finding != HOLDER_DEAD]
        woken = await engine.transact(lambda tx: invariant.make_ready(tx, ids, engine.clock.now()))
        if miscounted:
            await application.records.rebuild_counts()
    said = f"dead processes ended: {len(gone)}; their runs given back: {number(moved)}; runs woken: {number(woken)}"
    if miscounted:
        said += f"; counts mended: {number(miscounted)}"
    return Check("repair", "ok", said)


def _tell(checks: Sequence[Check], *, json: bool) -> None:
    if json:
        result: dict[str, Any] = {
            "ok": all(check.result == "ok" for check in checks),
            "checks": [asdict(check) for check in checks],
        }
        output.as_json(result)
        return
    output.table(("check", "result", "what"), [(check.check, check.result, check.said) for check in checks])
    for check in checks:
        if check.advice:
            output.note(f"{check.check}: {check.advice}")
