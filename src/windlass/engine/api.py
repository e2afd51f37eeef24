"""What a workflow says: sleep, wait for signals, run children, and ask for time and dice."""

from __future__ import annotations

import asyncio
import uuid as uuids
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from windlass.engine.errors import RunCancelled, RunFailed, SignalTimeout, Suspend
from windlass.engine.heads import to_json
from windlass.engine.registry import Definition, check_name
from windlass.engine.run import Run
from windlass.engine.scope import Scope, current_scope
from windlass.engine.types import WITH_PEOPLE, NewEvent, NewRun, Status
from windlass.kernel.checks import LONGEST_SECONDS, check_number
from windlass.kernel.clock import SECOND, from_datetime, to_datetime
from windlass.kernel.ids import new_id
from windlass.kernel.lanes import ageing_of
from windlass.values.codec import digest


async def sleep(
    seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0, name: str = "sleep"
) -> None:
    """Wait durably. A long sleep costs a row, not a task; a restart does not begin it anew.

    Raises:
        ValueError: the time is negative, no number, or beyond any calendar.
        BadName: the name cannot be a part of a path.
    """
    check_number("sleep", seconds + 60 * minutes + 3600 * hours + 86400 * days, 0, LONGEST_SECONDS)
    length = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days)
    scope = current_scope("sleep")
    await _sleep(scope, check_name(name), scope.run.worker.clock.now() + length // timedelta(microseconds=1))


async def sleep_until(when: datetime, *, name: str = "sleep_until") -> None:
    """Wait durably until a point in time; one that is over already does not wait.

    Raises:
        ValueError: ``when`` has no time zone.
        BadName: the name cannot be a part of a path.
    """
    if when.tzinfo is None:
        raise ValueError("sleep_until needs a date-time with a zone")
    await _sleep(current_scope("sleep_until"), check_name(name), from_datetime(when))


async def _sleep(scope: Scope[Run], name: str, due: int) -> None:
    run = scope.run
    path, recorded = scope.enter(name, "timer")
    if recorded is not None and recorded.settled is not None:
        scope.hear(recorded.seq)
        return
    if recorded is not None and recorded.opened is not None:
        due = recorded.opened["due_at"]
    else:
        run.pending.append(NewEvent("timer_started", path, to_json({"due_at": due}), run.worker.clock.now()))
    if run.pausing is not None:
        await run.hold()
    await run.wait(due=due)
    run.pending.append(NewEvent("timer_fired", path, "{}", run.worker.clock.now()))
    scope.hear()


async def signal(
    name: str,
    *,
    timeout: float | None = None,
    status: Status = Status.RUNNING,
    told: Mapping[str, Any] | None = None,
) -> Any:
    """Wait for a signal and return its payload. One sent before is not lost; each is received once.

    Args:
        name: which signal.
        timeout: seconds to wait; without it for ever.
        status: what the run is while it waits for nothing else: ``waiting_human`` or ``waiting_approval`` when the
            signal comes from a person. Such a run leaves memory at once.
        told: JSON data for the event of that name which says that the wait begins; without, there is no such event.

    Raises:
        SignalTimeout: it did not come in time (recorded: a replay sees the same).
        ValueError: the time is no number, or beyond any calendar; a run cannot wait in this status.
        BadName: no signal can have this name.
    """
    if timeout is not None:
        check_number("timeout", timeout, -LONGEST_SECONDS, LONGEST_SECONDS, whose=f"signal {name!r}: ")
    if status != Status.RUNNING and status not in WITH_PEOPLE:
        raise ValueError(f"signal {name!r}: a run cannot wait as {status}")
    scope = current_scope(f"signal {name!r}")
    check_name(name)
    run = scope.run
    path, recorded = scope.enter(f"signal:{name}", "signal")
    due = None if timeout is None else run.worker.clock.now() + int(timeout * SECOND)
    if recorded is not None and recorded.settled is not None:
        scope.hear(recorded.seq)
        return _signalled(recorded.settled, recorded.data or {}, name, path)
    if recorded is not None and recorded.opened is not None:
        due = recorded.opened["due_at"]
    elif status in WITH_PEOPLE and told is not None:
        opening = to_json({**told, "due_at": due})
        run.pending.append(NewEvent(status.value, path, opening, run.worker.clock.now()))
    elif due is not None:
        run.pending.append(NewEvent("signal_awaited", path, to_json({"due_at": due}), run.worker.clock.now()))
    if run.pausing is not None:
        await run.hold()
    row = await run.wait(due=due, listen=f"signal:{name}", status=status)
    now = run.worker.clock.now()
    scope.hear()
    if row is None:
        run.pending.append(NewEvent("signal_timed_out", path, to_json({"name": name}), now))
        return _signalled("signal_timed_out", {}, name, path)
    payload = f'{{"name":{to_json(name)},"id":{to_json(row.dedup_id)},"payload":{row.payload}}}'
    run.pending.append(NewEvent("signal_received", path, payload, now))
    run.mail.consume(row)
    return orjson.loads(row.payload)


def _signalled(kind: str, data: dict[str, Any], name: str, path: str) -> Any:
    if kind == "signal_received":
        return data["payload"]
    raise SignalTimeout(f"signal {name!r} did not come in time", step=path, signal=name)


async def call_child(workflow: Definition, args: Sequence[Any], kwargs: dict[str, Any], **options: Any) -> Any:
    """Run a workflow as a child of the current run and return its output; ``options`` are fields of its ``NewRun``."""
    scope = current_scope(f"workflow {workflow.name}")
    run = scope.run
    path, recorded = scope.enter(workflow.name, "child")
    mark = digest(args, kwargs, f"input of {workflow.name}")
    run.has_children = True
    child: str | None = None
    if recorded is not None:
        if recorded.digest is not None and recorded.digest != mark:
            raise run.diverged(f"child {path!r} is started with another input than its journal holds")
        if recorded.settled is not None:
            scope.hear(recorded.seq)
            return _child_result(workflow, recorded.data or {}, path)
        child = recorded.opened["run_id"] if recorded.opened else None
    while True:
        if child is None:
            if run.replaying:
                await run.catch_up()
            if run.held_up:
                await run.hold()
            child = await _start_child(run, workflow, path, mark, (args, kwargs), options)
        row = await run.wait(listen=f"child:{child}")
        if row is None:
            raise Suspend
        letter = orjson.loads(row.payload)
        if letter.get("by") != "parent":
            break
        run.mail.consume(row)
        child = None  # taken along by this run's own failure, which has been retried since
    payload = f'{{"type":"child","run_id":"{child}",{row.payload[1:]}'
    run.pending.append(NewEvent("child_completed", path, payload, run.worker.clock.now()))
    run.mail.consume(row)
    scope.hear()
    return _child_result(workflow, letter | {"run_id": child}, path)


async def _start_child(
    run: Run,
    workflow: Definition,
    path: str,
    mark: str,
    given: tuple[Sequence[Any], dict[str, Any]],
    options: dict[str, Any],
) -> str:
    worker = run.worker
    now, lane = worker.clock.now(), options.get("lane", "")
    inputs = workflow.signature.pack(*given, f"input of {workflow.name}")
    holder = None if lane else worker.birth(workflow.queue, workflow.code)
    child = NewRun(
        new_id(), workflow.name, inputs, now, queue=workflow.queue, priority=workflow.priority,
        tenant_id=run.claimed.tenant_id, owner=run.claimed.owner, interface_version=workflow.version,
        parent_run_id=run.run_id, holder=holder, **options,
        ageing=ageing_of(workflow.priority, worker.lanes.ageing) if lane else 0,
    )  # fmt: skip
    opening = f'{{"type":"child","run_id":"{child.run_id}","workflow":"{workflow.name}","input":"{mark}"}}'
    landed = False
    try:
        await run.commit([NewEvent("child_started", path, opening, now)], starts=[child])
        landed = True
    except asyncio.CancelledError:
        landed = True  # a refusal would have been heard instead
        raise
    finally:
        worker.born(child, holder is not None, landed)
    return child.run_id


def _child_result(workflow: Definition, data: dict[str, Any], path: str) -> Any:
    if data["status"] == Status.SUCCEEDED:
        return workflow.signature.restore(to_json(data["result"]), f"output of {workflow.name}")
    kind = RunCancelled if data["status"] == Status.CANCELLED else RunFailed
    message = (data["result"] or {}).get("message", data["status"])
    raise kind(f"child {path} {data['status']}: {message}", step=path, run_id=data["run_id"], error=data["result"])


OWN_WORDS = frozenset({"run", "cancel", "step", "timer", "signal", "waiting", "child", "value", "stream", "update"})
"""First words of the types of the engine's own events."""


def note(event_type: str, data: Mapping[str, Any]) -> None:
    """Write an event of the workflow's own into the journal; a replay writes none anew.

    Args:
        event_type: its type, ``human_rejected`` for example.
        data: JSON data.

    Raises:
        ValueError: the engine has events of such a type itself.
        BadName: it is no name.
    """
    kind = check_name(event_type).partition("_")[0]
    if kind in OWN_WORDS:
        raise ValueError(f"events {kind}_… are the engine's own: {event_type}")
    scope = current_scope(f"note {event_type}")
    path, recorded = scope.enter(event_type, kind)
    if recorded is not None:
        scope.hear(recorded.seq)
        return
    scope.run.pending.append(NewEvent(event_type, path, to_json(dict(data)), scope.run.worker.clock.now()))
    scope.hear()


def now() -> datetime:
    """Return the time, recorded: a replay gets the same."""
    return to_datetime(recorded("now", lambda run: run.worker.clock.now()))


def uuid() -> uuids.UUID:
    """Return a random UUID, recorded: a replay gets the same."""
    return uuids.UUID(recorded("uuid", _random_uuid))


def random() -> float:
    """Return a random number in [0, 1), recorded: a replay gets the same."""
    value: float = recorded("random", lambda run: run.worker.random())
    return value


def _random_uuid(run: Run) -> str:
    bits = 0
    for _ in range(4):
        bits = bits << 32 | int(run.worker.random() * (1 << 32))
    return str(uuids.UUID(int=bits, version=4))


def recorded(name: str, make: Callable[[Run], Any]) -> Any:
    """Return a JSON value that is made once: a replay gets the same."""
    scope = current_scope(name)
    run = scope.run
    path, known = scope.enter(name, "value")
    if known is not None:
        scope.hear(known.seq)
        return (known.data or {})["value"]
    value = make(run)
    run.pending.append(NewEvent("value_recorded", path, to_json({"value": value}), run.worker.clock.now()))
    scope.hear()
    return value
