"""What must be true at every instant: after each commit, and between any two turns of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from tests.simulation.ledger import Execution
from windlass.engine.types import TERMINAL, WITH_PEOPLE, Event, InboxRow, RunHead, Status
from windlass.kernel.clock import SECOND
from windlass.kernel.lanes import LaneRules

if TYPE_CHECKING:
    from tests.simulation.world import World

MISSING_SECONDS = 40.0
"""How long a run may be held by a living process that does not have it in memory: it may be writing, or waiting to."""

_LOOK_EVERY = SECOND // 2


class Violation(AssertionError):
    """A promise was broken, in ``world``."""

    world: World


class Checks:
    """Watches a world; the first violation ends it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.first: Violation | None = None
        self.commits = 0
        self._heads: dict[str, RunHead] = {}
        self._settled: set[tuple[str, str]] = set()
        self._open_children: dict[str, set[str]] = {}
        self._missing: dict[str, int] = {}
        self._next_look = 0

    def complain(self, what: str, cause: BaseException | None = None) -> None:
        """Remember the first violation; it is raised at the end of the turn."""
        if self.first is None:
            self.first = Violation(what)
            self.first.__cause__ = cause
            self._world.trace(f"VIOLATION {what}")

    def between(self) -> None:
        """Look between two turns.

        Raises:
            Violation: something was found.
        """
        if self.first is not None:
            raise self.first
        world = self._world
        for process in world.processes.values():
            process.holders.add(process.engine.worker.holder)
        if world.loop.us >= self._next_look:
            self._next_look = world.loop.us + _LOOK_EVERY
            self._look_into_memories()

    def _look_into_memories(self) -> None:
        world = self._world
        holders = {p.engine.worker.holder: p for p in world.processes.values() if p.up and not p.frozen}
        missing: dict[str, int] = {}
        for run_id, head in self._heads.items():
            process = holders.get(head.holder or "")
            if process is not None and run_id not in process.engine.worker.runs:
                missing[run_id] = self._missing.get(run_id, world.loop.us)
                if world.loop.us - missing[run_id] > MISSING_SECONDS * SECOND:
                    self.complain(f"{name(head)} is held by {process.name}, which knows nothing of it")
        self._missing = missing

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self._heads)

    def status(self, run_id: str) -> str:
        """Return where a run stands."""
        return str(self._heads[run_id].status)

    def executed(self, execution: Execution) -> None:
        """Hear that a step begins."""
        head = self._heads.get(execution.run_id)
        if (execution.run_id, execution.path) not in self._settled or head is None:
            return
        process = self._world.processes.get(execution.process)
        if process is not None and head.holder == process.engine.worker.holder:
            self.complain(f"{name(head)} repeats {execution.path}, whose outcome is in the journal")

    def committed(self, process: str) -> None:
        """Look at the store after a commit of ``process``."""
        self.commits += 1
        world = self._world
        before, after = self._heads, world.store.heads()
        self._heads = after
        for run_id, old in before.items():
            if run_id not in after:
                self.complain(f"{name(old)} has disappeared")
        lines = []
        for run_id, head in after.items():
            known = before.get(run_id)
            if known is None or known.last_seq != head.last_seq:
                events = self._journal(process, known, head)
                lines.append(f"{told(head)} {' '.join(e.type for e in events)}")
            elif world.tracing and told(known) != told(head):
                lines.append(told(head))
            if (
                known is not None
                and known.last_seq == head.last_seq
                and known.status in TERMINAL
                and known.status != head.status
            ):
                self.complain(f"{name(known)} became {head.status} without an event")
        world.trace(f"{process} commit {world.faults.commits}: {', '.join(lines)}")
        self._invariant(after)
        self._places(after)

    def _journal(self, process: str, known: RunHead | None, head: RunHead) -> list[Event]:
        """Check what a commit appended to a journal, and who appended it."""
        last = 0 if known is None else known.last_seq
        journal = self._world.store.journal(head.run_id)
        if len(journal) != head.last_seq or (journal and journal[-1].seq != head.last_seq):
            numbers = [event.seq for event in journal]
            self.complain(f"{name(head)} has events {numbers}, its last number is {head.last_seq}")
        fresh = journal[last:]
        if known is not None:
            if known.status in {Status.SUCCEEDED, Status.CANCELLED}:
                self.complain(f"{name(known)} was written to: {[event.type for event in fresh]}")
            if known.status == Status.FAILED and (not fresh or fresh[0].type != "run_retried"):
                self.complain(f"{name(known)} was written to without a retry: {[event.type for event in fresh]}")
            self._writer(process, known, fresh)
        for event in fresh:
            self._learn(event)
        return fresh

    def _writer(self, process: str, known: RunHead, fresh: list[Event]) -> None:
        """Only the holder of a run writes its journal, or anybody when there is none, or its holder is dead."""
        world = self._world
        writer = world.processes.get(process)
        own = set() if writer is None else writer.holders | {writer.engine.worker.holder}
        if known.holder is None or known.holder in own:
            return
        types = [event.type for event in fresh]
        if types[:1] not in (["run_requeued"], ["run_paused"], ["cancel_acknowledged"]):
            self.complain(f"{process} wrote {types} to {name(known)}, which {known.holder[-6:]} held")
        for other in world.processes.values():
            if other.up and not other.stopped_once and other.engine.worker.holder == known.holder:
                self.complain(f"{process} took {name(known)} from {other.name}, which lives")

    def _learn(self, event: Event) -> None:
        path = event.step_id or ""
        if event.type == "step_completed":
            if (event.run_id, path) in self._settled:
                self.complain(f"run {event.run_id} has two outcomes of {path}")
            self._settled.add((event.run_id, path))
        elif event.type in {"child_started", "child_completed"}:
            children = self._open_children.setdefault(event.run_id, set())
            child = orjson.loads(event.payload)["run_id"]
            (children.add if event.type == "child_started" else children.discard)(child)
        elif event.type == "run_retried":
            self._open_children.pop(event.run_id, None)

    def _invariant(self, heads: dict[str, RunHead]) -> None:
        """Every open run has a holder or a named wake-up, and none sleeps through what it waits for."""
        parked = []
        for head in heads.values():
            if head.status in TERMINAL:
                if head.holder is not None or head.ready_at is not None:
                    self.complain(f"{name(head)} has ended and is still held or ready")
            elif head.holder is None and head.ready_at is None and head.status != Status.PAUSED:
                waits = head.status == Status.RUNNING or head.status in WITH_PEOPLE
                if waits and head.wait_reason not in {None, "idle"}:
                    parked.append(head)
                elif head.wake_at is None:
                    self.complain(f"{name(head)} has neither holder nor wake-up")
        if parked:
            unread = self._world.store.unread()
            for head in parked:
                self._asleep(head, heads, unread.get(head.run_id, []))

    def _asleep(self, head: RunHead, heads: dict[str, RunHead], unread: list[InboxRow]) -> None:
        if head.wait_reason == "write_failed":
            return
        children = self._open_children.get(head.run_id, set())
        letters = {row.name for row in unread if row.kind == "child"}
        for row in unread:
            if f"{row.kind}:{row.name}" == head.wait_reason or row.name in children or row.kind == "cancel":
                self.complain(f"{name(head)} sleeps although {row.kind} {row.name} is in its inbox")
        for child in children:
            if child not in heads or (heads[child].status in TERMINAL and child not in letters):
                self.complain(f"{name(head)} waits for child {child}, of whose end it was not told")

    def _places(self, heads: dict[str, RunHead]) -> None:
        """No queue gives more places than it has, and none to a run that nobody holds."""
        taken: dict[str, int] = {}
        for queue, run_id in self._world.store.slots():
            taken[queue] = taken.get(queue, 0) + 1
            if heads[run_id].holder is None:
                self.complain(f"{name(heads[run_id])} has a place of queue {queue}, and no holder")
        for queue, count in taken.items():
            most = (LaneRules().tenant, 1, 1)[queue.count("/")] if queue.startswith("lane ") else count
            if count > self._world.limits.get(queue, most):
                self.complain(f"queue {queue} gave {count} places")


def told(head: RunHead) -> str:
    """Return where a run stands, in few words."""
    holder = f"of {head.holder[-6:]}" if head.holder else "ready" if head.ready_at else f"{head.wait_reason}"
    return f"{head.run_id[-6:]} {head.status} {head.last_seq} {holder}"


def name(head: RunHead) -> str:
    """Return how to speak of a run."""
    return f"run {head.run_id} ({head.name}, {head.status}, {head.wait_reason})"
