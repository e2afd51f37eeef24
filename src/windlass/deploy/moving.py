"""Moving open runs to other code: bound to a version that follows their journal, or begun anew from a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from windlass.deploy.checking import Trouble, trial
from windlass.deploy.telling import take_over
from windlass.engine.births import RUN_STARTED, insert
from windlass.engine.compensation import NAME as COMPENSATION
from windlass.engine.continuing import latest
from windlass.engine.ending import cancel
from windlass.engine.engine import Engine
from windlass.engine.errors import RunConflict
from windlass.engine.heads import append, to_json
from windlass.engine.history import History
from windlass.engine.ports import Ring, Transaction
from windlass.engine.types import TERMINAL, Event, NewEvent, NewRun, RunHead, RunView
from windlass.kernel.errors import Invalid
from windlass.kernel.ids import new_id
from windlass.replay.recordings import OWN, Recording
from windlass.values.codec import encode

PAGE = 1000
DONE_ANEW = frozenset({"step", "child", "signal"})
"""Kinds of calls that a fork begins anew when they have not ended; of the others what has been written counts."""
Tell = Callable[[Transaction], None]


@dataclass(frozen=True, slots=True)
class Moved:
    """A run that was moved: ``run_id`` goes on, with ``to_version``.

    A fork's is a new one, ``from_run_id`` the old; so many calls were taken over from it.
    """

    run_id: str
    workflow: str
    from_version: str
    to_version: str
    from_run_id: str | None = None
    taken_over: int | None = None


async def migrate(engine: Engine, run_id: str, version: str, *, by: str, tell: Tell) -> Moved:
    """Bind an open run to another version of its workflow, whose code is here and follows its journal.

    Args:
        engine: of the run's database; its registry knows the version.
        run_id: which run.
        version: the one it is to have.
        by: who asks for it; kept in the journal's event ``run_migrated``.
        tell: hears of it in the transaction that does it.

    Raises:
        UnknownRun, UnknownWorkflow: there is no such run, or no such version here.
        Invalid: it is of this version already.
        RunConflict: the code does not follow its journal, it has ended, or it is being worked on.
    """
    run = await engine.get_run(run_id)
    definition = engine.registry.get(run.name, version)
    if run.interface_version == version:
        raise Invalid(f"run {run_id} is of version {version} already", field="to_version")
    _open(run_id, run.status)
    recording = await _recorded(engine, run)
    _must_follow(run_id, definition.code, trial(definition, recording))
    now = engine.clock.now()

    def write(tx: Transaction) -> None:
        head = _unchanged(tx, run_id, recording)
        _open(run_id, head.status)
        told = {"from": run.interface_version, "to": version, "by": by}
        append(tx, head, NewEvent("run_migrated", None, to_json(told), now))
        tx.bind_runs([(run_id, version)])
        tx.bump_runs([head])
        if head.ready_at is not None:
            tx.rings.append(Ring("ready", run_id))
        tell(tx)

    await engine.transact(write)
    return Moved(run_id, run.name, run.interface_version, version)


async def fork(engine: Engine, run_id: str, step: str, version: str | None, *, by: str, tell: Tell) -> Moved:
    """Start a run that takes over what a run had come to before a step, and cancel that run if it is open.

    What it wrote to streams and published is taken over as far as its journal is, signals that it has not received are,
    too. Children and timers that have ended count as done; steps,
    children and signals that were open are begun anew.

    Args:
        engine: of the run's database; its registry knows the version.
        run_id: which run.
        step: the path of the first call that is done anew, as the journal has it.
        version: the version of the new run; the old one's, or else the one that new runs get.
        by: who asks for it; kept in the new journal's event ``run_forked``.
        tell: hears of it in the transaction that does it.

    Raises:
        UnknownRun, UnknownWorkflow: there is no such run, or no such version here.
        Invalid: its journal has no such call, or it is one of Windlass's own runs.
        RunConflict: the code does not follow what is taken over, the run is being worked on, it has begun to undo what
            it did, or it is the child of an open run, which would hear that it was cancelled.
    """
    run = await engine.get_run(run_id)
    if run.name in OWN:
        raise Invalid(f"{run.name} is Windlass's own: `windlass runs fork` is for runs of definitions", field="run_id")
    definition = engine.registry.get(run.name, version if version is not None else run.interface_version or None)
    recording = await _recorded(engine, run)
    if any((event.step_id or "").startswith((f"{COMPENSATION}#", f"{COMPENSATION}/")) for event in recording.events):
        raise RunConflict(f"run {run_id} has begun to undo what it did: start another", run_id=run_id)
    now, fresh = engine.clock.now(), new_id()
    told = {"from_run_id": run_id, "from_step": step, "by": by}
    kept = [
        Event(fresh, 1, "run_started", None, RUN_STARTED, now),
        Event(fresh, 2, "run_forked", None, to_json(told), now),
    ]
    kept += [event._replace(run_id=fresh, seq=number) for number, event in enumerate(_before(recording, step), 3)]
    taken = Recording(fresh, run.name, definition.version, run.status, recording.inputs, tuple(kept))
    _must_follow(run_id, definition.code, trial(definition, taken))

    def write(tx: Transaction) -> None:
        head = _unchanged(tx, run_id, recording)
        open_ = head.status not in TERMINAL
        if open_ and head.parent_run_id is not None:
            raise RunConflict(f"run {run_id} is a child: fork its parent, or migrate it", run_id=run_id)
        _begin(tx, taken, run, head, now)
        if open_:
            cancel(tx, [head], by, f"forked as {fresh}", now)
        tell(tx)

    await engine.transact(write)
    calls = {event.step_id for event in kept[2:]}
    return Moved(fresh, run.name, run.interface_version, definition.version, run_id, len(calls))


def _begin(tx: Transaction, taken: Recording, run: RunView, head: RunHead, now: int) -> None:
    attributes = encode({**run.attributes, "forked_from": run.run_id}, "attributes")
    new = NewRun(
        taken.run_id, taken.workflow, taken.inputs, now, queue=head.queue, priority=head.priority,
        tenant_id=run.tenant_id, owner=run.owner, key=run.key, attributes=attributes, interface_version=taken.version,
        on_end=head.on_end, last_seq=len(taken.events), started_at=now,
    )  # fmt: skip
    insert(tx, [new])
    tx.append_events(taken.events)
    take_over(tx, run.run_id, taken.run_id, taken.events)
    letters = [row for row in tx.load_inbox([run.run_id]).get(run.run_id, ()) if row.kind == "signal"]
    if letters:
        tx.add_inbox([row._replace(inbox_id=new_id(), run_id=taken.run_id) for row in letters])


def _before(recording: Recording, step: str) -> list[Event]:
    """Return the events of the calls that a fork need not do anew, in order.

    Raises:
        Invalid: there is no such call.
    """
    place = next((number for number, event in enumerate(recording.events) if event.step_id == step), None)
    if place is None:
        raise Invalid(f"the journal of run {recording.run_id} has no call {step!r}", field="from_step")
    before = recording.events[:place]
    calls = History(before).calls
    kept = {path for path, call in calls.items() if call.settled is not None or call.kind not in DONE_ANEW}
    return [event for event in before if event.step_id in kept]


async def _recorded(engine: Engine, run: RunView) -> Recording:
    events: list[Event] = []
    while page := await engine.events(run.run_id, since=events[-1].seq if events else 0, limit=PAGE):
        events += page
    part, inputs = latest(events, to_json(run.inputs))
    return Recording(run.run_id, run.name, run.interface_version, run.status, inputs, tuple(part))


def _must_follow(run_id: str, code: str, trouble: Trouble | None) -> None:
    if trouble is not None:
        raise RunConflict(f"run {run_id} would strand with {code}: {trouble.detail}", run_id=run_id, why=trouble.why)


def _open(run_id: str, status: str) -> None:
    if status in TERMINAL:
        raise RunConflict(f"run {run_id} is {status}", run_id=run_id, status=status)


def _unchanged(tx: Transaction, run_id: str, recording: Recording) -> RunHead:
    """Lock a run that nobody works on, and that has not gone on since it was looked at."""
    head = tx.lock_runs([run_id])[run_id]
    if head.holder is not None:
        raise RunConflict(f"run {run_id} is being worked on: pause it first", run_id=run_id, status=head.status)
    if head.last_seq != (recording.events[-1].seq if recording.events else 0):
        raise RunConflict(f"run {run_id} has gone on meanwhile: try again", run_id=run_id, status=head.status)
    return head
