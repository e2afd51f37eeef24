"""Why a run does not move, as data: what it waits for, what is in the way, since when, until when. Promise 11.

One answer, computed in one place: the Python call, the API and the command line show what is said here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from windlass.engine.engine import Engine
from windlass.engine.errors import UnknownRun
from windlass.engine.types import TERMINAL, RunView
from windlass.kernel.clock import to_iso
from windlass.kernel.lanes import LaneRules, default_of, limits_of
from windlass.kernel.versions import UNBOUND
from windlass.storage.limits import KINDS, shown
from windlass.storage.overview import processes, versions_of
from windlass.storage.queries import micros, text, views
from windlass.storage.queues import held
from windlass.storage.schema import (
    workflow_concurrency,
    workflow_events,
    workflow_queue_slots,
    workflow_queues,
    workflow_runs,
    workflow_seats,
)

HOLDERS_TOLD = 5
"""How many of the runs are named that have all the places."""
LOOKED_AT = 200
"""How many of a run's last events are read."""
_OPENS = {"step_started": "step_running", "timer_started": "sleeping", "child_started": "child"}
_UNDOING = ("compensation#", "compensation/")
_CLOSES = frozenset({
    "step_completed", "timer_fired", "child_completed", "signal_received", "signal_timed_out", "update_accepted",
    "update_timed_out",
})  # fmt: skip
ADVICE = {
    "no_worker": "start a process that carries this workflow out: `windlass worker`",
    "unknown_version": "start a process that has this version too, or `windlass deploy migrate` the run",
    "queue_paused": "let the queue go on: `windlass queues resume`",
    "queue_full": "wait for the runs ahead, or raise the queue's limit",
    "overall_full": "wait for other runs, or raise the limit over all queues",
    "tenant_full": "wait for the tenant's other runs, or raise its limit: `windlass limits set`",
    "workflow_full": "wait for the definition's other runs, or raise its limit: `windlass limits set`",
    "key_full": "wait for the other runs with this key, or raise its limit: `windlass limits set`",
    "backlog": "wait: processes take it in its turn; more of them are quicker",
    "delayed": "it starts at its time",
    "step_running": "wait for the step; its time-out ends it if it has one",
    "retrying": "the next attempt comes by itself; mend what the error names",
    "compensating": "it has failed and undoes what it had done; wait for its end",
    "sleeping": "it wakes by itself",
    "signal": "send the signal",
    "update": "send the update: `windlass runs update`",
    "child": "look at the child: explain it in turn",
    "waiting_human": "whoever is asked decides: `windlass inbox`",
    "waiting_approval": "whoever is asked decides: `windlass inbox`",
    "paused": "resume it: `windlass runs resume`",
    "poisoned": "its holders died five times without progress; mend the cause, then resume it",
    "secret_missing": "give it its secrets again, and it goes on",
    "holder_dead": "others take it over within twice the lease",
    "write_failed": "the database refused its events; they are tried again in a few seconds",
    "several": "it waits for several things at once; the first one wakes it",
    "running": "it is being worked on",
    "no_wake_up": "nothing would wake it: `windlass doctor --repair`",
}


class Explanation(NamedTuple):
    """Why a run stands where it does; times are ISO 8601 text, ``blocker`` names what is in the way."""

    run_id: str
    status: str
    reason: str
    blocker: str | None
    since: str | None
    next_try: str | None
    detail: str | None
    advice: str | None


class _Facts(NamedTuple):
    run: RunView
    ready_at: int | None
    wake_at: int | None
    events: list[tuple[str, str | None, dict[str, Any], int]]
    lane: str


def explain(
    connection: sa.Connection,
    run_id: str,
    dead: Collection[str],
    now: int,
    rules: LaneRules = LaneRules(),  # noqa: B008
) -> Explanation | None:
    """Explain a run at ``now`` (microseconds); None when there is none.

    Args:
        connection: where to ask.
        run_id: which run.
        dead: holders known to be dead although their lease says live.
        now: microseconds.
        rules: limits where nobody has set one.
    """
    row = connection.execute(sa.select(workflow_runs).where(workflow_runs.c.run_id == run_id)).mappings().first()
    if row is None:
        return None
    [run] = views(connection, [row])
    facts = _Facts(run, row["ready_at"], row["wake_at"], _last_events(connection, run_id), row["lane"])
    reason, blocker, since, until, detail = _cause(connection, facts, dead, now, rules)
    return Explanation(
        run_id,
        facts.run.status,
        reason,
        blocker,
        None if since is None else to_iso(since),
        None if until is None else to_iso(until),
        detail,
        ADVICE.get(reason),
    )


async def presumed_dead(engine: Engine) -> list[str]:
    """Return the holders known to be dead although their lease may say live."""
    now = engine.clock.now()
    return (await engine.worker.read(lambda: engine.backend.reader.poll("", (), now))).dead


async def explain_run(engine: Engine, run_id: str) -> Explanation:
    """Explain a run of an engine's database.

    Raises:
        UnknownRun: there is no such run.
    """
    now = engine.clock.now()
    dead = await presumed_dead(engine)
    found = await engine.read(lambda connection: explain(connection, run_id, dead, now, engine.lanes))
    if found is None:
        raise UnknownRun(f"no run {run_id}", run_id=run_id)
    return found


_Cause = tuple[str, str | None, int | None, int | None, str | None]


def _last_events(connection: sa.Connection, run_id: str) -> list[tuple[str, str | None, dict[str, Any], int]]:
    c = workflow_events.c
    query = sa.select(c.event_type, c.step_id, c.payload_json, c.created_at).where(c.run_id == run_id)
    rows = connection.execute(query.order_by(c.event_seq.desc()).limit(LOOKED_AT)).all()
    return [(row[0], row[1], orjson.loads(text(row[2]) or "{}"), micros(row[3])) for row in reversed(rows)]


def _cause(connection: sa.Connection, facts: _Facts, dead: Collection[str], now: int, rules: LaneRules) -> _Cause:
    run = facts.run
    last = facts.events[-1][3] if facts.events else micros(facts.run.created_at)
    if run.status in TERMINAL:
        detail = None if run.error is None else str(run.error.get("message"))
        return run.status, None, last, None, detail
    if run.status == "paused":
        reason = run.status_reason if run.status_reason in {"poisoned", "secret_missing"} else "paused"
        return reason or "paused", None, last, None, run.status_reason
    if run.holder is not None:
        live = {process.holder for process in processes(connection, dead)}
        if run.holder not in live:
            return "holder_dead", run.holder, last, None, None
        return _undoing(facts, _open_call(facts, now) or ("running", run.holder, last, None, None))
    if facts.ready_at is not None or (facts.wake_at is not None and facts.wake_at <= now):
        return _unclaimed(connection, facts, dead, rules)
    return _undoing(facts, _asleep(facts, now))


def _undoing(facts: _Facts, cause: _Cause) -> _Cause:
    """Say of a run that has failed that it undoes what it had done; the detail is what this waits for."""
    if not any(path and path.startswith(_UNDOING) for _, path, _, _ in facts.events):
        return cause
    reason, blocker, since, until, detail = cause
    return "compensating", blocker, since, until, f"{reason}: {detail}" if detail else reason


def _open_call(facts: _Facts, now: int) -> _Cause | None:
    """Return what the last call that has not ended waits for: of a run that waits for people, for them."""
    open_: dict[str, _Cause] = {}
    for kind, path, data, at in facts.events:
        if path is None:
            continue
        if kind in _CLOSES or (kind == "step_failed" and data.get("retry_at") is None):
            open_.pop(path, None)
        elif kind == "step_failed":
            if data["retry_at"] > now:
                open_[path] = ("retrying", path, at, data["retry_at"], f"{data['error_type']}: {data['error']}")
        elif kind in _OPENS:
            blocker = data.get("run_id") if kind == "child_started" else path
            open_[path] = (_OPENS[kind], blocker, at, data.get("due_at"), None)
        elif kind in {"waiting_human", "waiting_approval"}:
            open_[path] = (kind, ", ".join(map(str, data.get("assigned_to", ()))) or None, at, data.get("due_at"), path)
        elif kind in {"signal_awaited", "update_awaited"}:
            word = kind.partition("_")[0]
            open_[path] = (word, path.rpartition(f"{word}:")[2].partition("#")[0], at, data.get("due_at"), None)
    inner = [path for path in open_ if not any(other.startswith(f"{path}/") for other in open_)]
    people = [path for path in open_ if open_[path][0] == facts.run.status]
    return open_[(people or inner)[-1]] if open_ else None


def _unclaimed(connection: sa.Connection, facts: _Facts, dead: Collection[str], rules: LaneRules) -> _Cause:
    run, since = facts.run, facts.ready_at or facts.wake_at
    settings = {
        row.queue: row
        for row in connection.execute(sa.select(workflow_queues).where(workflow_queues.c.queue.in_([run.queue, "*"])))
    }
    own, overall = settings.get(run.queue), settings.get("*")
    for setting, name in ((own, run.queue), (overall, "*")):
        if setting is not None and setting.paused:
            going = held(connection, name)
            return (
                "queue_paused",
                name,
                since,
                None,
                f"the queue drains: runs still worked on: {going}" if going else None,
            )
    there = versions_of(run.name, processes(connection, dead))
    if not there:
        return "no_worker", run.name, since, None, "no live process carries this workflow out"
    if run.interface_version not in {UNBOUND, *there}:
        detail = f"it is of version {run.interface_version}; live processes carry out {', '.join(there)}"
        return "unknown_version", f"{run.name}@{run.interface_version}", since, None, detail
    for setting, reason in ((own, "queue_full"), (overall, "overall_full")):
        if setting is not None and setting.concurrency_limit is not None:
            taken = _taken(connection, setting.queue)
            if len(taken) >= setting.concurrency_limit:
                return (
                    reason,
                    setting.queue,
                    since,
                    None,
                    f"{len(taken)} of {setting.concurrency_limit} places are taken",
                )
    return _full_lane(connection, facts, rules) or ("backlog", run.queue, since, None, None)


def _full_lane(connection: sa.Connection, facts: _Facts, rules: LaneRules) -> _Cause | None:
    """Return the first limit of the run's lane that has no seat free, and who has them."""
    seats = workflow_seats.c
    for name in limits_of(facts.lane) if facts.lane else ():
        most = connection.execute(
            sa.select(workflow_concurrency.c.most).where(workflow_concurrency.c.name == name)
        ).scalar()
        most = default_of(facts.lane, name, rules) if most is None else most
        query = sa.select(seats.run_id).where(seats.name == name).order_by(seats.run_id).limit(most)
        held = connection.execute(query).scalars().all()
        if len(held) >= most:
            told = ", ".join(held[:HOLDERS_TOLD]) + (", …" if len(held) > HOLDERS_TOLD else "")
            reason = f"{KINDS[name.count('/')]}_full"
            return (
                reason,
                shown(name),
                facts.ready_at or facts.wake_at,
                None,
                f"{most} of {most} places are taken: {told}",
            )
    return None


def _taken(connection: sa.Connection, queue: str) -> Sequence[str]:
    slots = workflow_queue_slots.c
    query = sa.select(slots.run_id).where(slots.queue == queue, slots.run_id.is_not(None))
    return connection.execute(query).scalars().all()


def _asleep(facts: _Facts, now: int) -> _Cause:
    run, wait = facts.run, facts.run.wait_reason or ""
    last = facts.events[-1][3] if facts.events else micros(facts.run.created_at)
    if run.started_at is None and facts.wake_at is not None:
        return "delayed", None, last, facts.wake_at, None
    if run.status in {"waiting_human", "waiting_approval"} or wait == "timer":
        found = _open_call(facts, now)
        if found is not None:
            return found
        return ("sleeping" if wait == "timer" else run.status), None, last, facts.wake_at, None
    if wait.startswith("child:"):
        return "child", wait.removeprefix("child:"), last, facts.wake_at, None
    for word in ("signal", "update"):
        if wait.startswith(f"{word}:"):
            return word, wait.removeprefix(f"{word}:"), last, facts.wake_at, None
    if wait == "write_failed":
        return "write_failed", None, last, facts.wake_at, None
    if wait.endswith(" things"):
        return "several", wait, last, facts.wake_at, None
    return (
        ("sleeping", None, last, facts.wake_at, None)
        if facts.wake_at
        else ("no_wake_up", None, last, None, wait or None)
    )
