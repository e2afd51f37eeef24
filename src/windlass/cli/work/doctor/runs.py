"""Processes and runs: does everybody who works live, and does every open run go on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from windlass.cli.output import number
from windlass.cli.work.doctor.findings import REPAIR, Check, naming
from windlass.contexts.records.api import wrong_counts
from windlass.engine.ports import Backend
from windlass.kernel.clock import SECOND, SystemClock, to_iso
from windlass.kernel.versions import UNBOUND, parts_of
from windlass.storage import invariant, overview, strays
from windlass.storage.invariant import MEANINGS, Adrift
from windlass.storage.strays import Gap

LATE_SECONDS = 60.0
"""Runs that were ready for longer than that are late, and so is the cancellation of children of ended runs."""


@dataclass(slots=True)
class Lost:
    """What is wrong with processes and runs and can be mended."""

    dead: list[str]
    adrift: list[Adrift]
    seats: list[str]
    orphans: dict[str, str]
    miscounted: int
    gaps: list[Gap] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether anything is."""
        return any((self.dead, self.adrift, self.seats, self.orphans, self.miscounted, self.gaps))


def lost(backend: Backend, *, quick: bool) -> Lost:
    """Look for it; ``quick`` counts the events of no run."""
    dead = backend.reader.poll("", (), 0).dead
    before = to_iso(SystemClock().now() - int(LATE_SECONDS * SECOND))

    def look(connection: sa.Connection) -> Lost:
        return Lost(
            dead, invariant.adrift(connection, dead), strays.stray_seats(connection),
            strays.orphans(connection, before), wrong_counts(connection), [] if quick else strays.gaps(connection),
        )  # fmt: skip

    return backend.read(look)


def runs(backend: Backend, *, quick: bool) -> list[Check]:
    """Look at processes and runs."""
    found = lost(backend, quick=quick)
    now = SystemClock().now()
    live = backend.read(lambda connection: overview.processes(connection, found.dead))
    waiting = backend.read(lambda connection: overview.ready_runs(connection, now))
    checks = [
        _invariant(found.adrift),
        _processes(live, found.dead),
        _queue(waiting, live),
        _seats(found.seats),
        _children(found.orphans),
        _counts(found.miscounted),
    ]
    return checks if quick else [*checks, _journals(found.gaps)]


def _invariant(adrift: Sequence[Adrift]) -> Check:
    if not adrift:
        return Check("runs", "ok", "every open run has a live holder or a named wake-up")
    named = naming([f"{run.run_id} ({run.name}): {MEANINGS[run.finding]}" for run in adrift])
    return Check("runs", "failed", f"{number(len(adrift))} adrift: {named}", REPAIR)


def _processes(live: Sequence[overview.ProcessView], dead: Sequence[str]) -> Check:
    workers = [process for process in live if process.workflows]
    said = f"{len(live)} live, {len(workers)} of them carry out runs"
    if dead:
        return Check("processes", "warning", f"{said}; {len(dead)} dead and not taken over yet", REPAIR)
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


def _seats(stray: Sequence[str]) -> Check:
    if not stray:
        return Check("seats", "ok", "only runs that somebody holds have slots of queues and seats of limits")
    return Check("seats", "failed", f"{number(len(stray))} runs have one that nobody holds: {naming(stray)}", REPAIR)


def _children(orphans: dict[str, str]) -> Check:
    if not orphans:
        return Check("children", "ok", "no open run is left below one that has ended")
    named = naming([f"{run_id} (below {parent})" for run_id, parent in orphans.items()])
    said = f"{number(len(orphans))} open runs are left below ended ones: {named}"
    return Check("children", "failed", said, f"start a process, which cancels them, or {REPAIR}")


def _journals(gaps: Sequence[Gap]) -> Check:
    if not gaps:
        return Check("journals", "ok", "no run lacks an event")
    named = naming([f"{gap.run_id} ({gap.name}) lacks {number(abs(gap.missing))}" for gap in gaps])
    advice = f"restore them from a backup; {REPAIR} cancels open ones, for their steps would be done again"
    return Check("journals", "failed", f"{number(len(gaps))} have a gap: {named}", advice)


def _counts(miscounted: int) -> Check:
    if not miscounted:
        return Check("counts", "ok", "the counts of reports equal a look at every record")
    said = f"{number(miscounted)} counts of reports are wrong: records were changed by hand"
    return Check("counts", "failed", said, REPAIR)
