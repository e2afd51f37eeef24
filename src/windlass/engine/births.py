"""How runs come into being: started by a caller, by a parent, or by the end of another run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from windlass.engine.heads import to_json
from windlass.engine.ports import Ring, Transaction
from windlass.engine.types import Event, NewRun, RunHead, Status
from windlass.kernel.lanes import LaneRules, tenant_of

RUN_STARTED = '{"mode":"async"}'


def insert(tx: Transaction, runs: Sequence[NewRun], rules: LaneRules | None = None) -> None:
    """Insert runs. Those born claimed get their first event; a limit or a lost lease takes the claim away.

    Without ``rules`` no run of a lane keeps its claim.
    """
    born = []
    hopeful = [run for run in runs if run.holder is not None]
    limited = tx.restricted_queues(hopeful if rules else ()) if hopeful else frozenset()
    for run in runs:
        bound = "*" in limited or run.queue in limited
        if run.holder is not None and (bound or not tx.lease_is_live(run.holder)):
            _unclaim(run)
    _sit_down(tx, runs, rules)
    for run in runs:
        if run.holder is not None:
            run.status, run.last_seq, run.started_at = Status.RUNNING, 1, run.created_at
            born.append(Event(run.run_id, 1, "run_started", None, RUN_STARTED, run.created_at))
        else:
            if run.wake_at is None:
                run.ready_at = run.ready_at or run.created_at
            tx.rings.append(Ring("ready", run.run_id))
    tx.insert_runs(runs)
    if born:
        tx.append_events(born)


def _unclaim(run: NewRun) -> None:
    run.holder, run.status, run.last_seq, run.started_at = None, Status.QUEUED, 0, None


def _sit_down(tx: Transaction, runs: Sequence[NewRun], rules: LaneRules | None) -> None:
    """Give claimed runs of lanes their seats, those of a tenant all or none: so nobody passes anybody.

    None where another of its runs is ready, is about to be, or becomes so with them.
    """
    laned = [run for run in runs if run.lane and run.wake_at is None]
    hopeful = [run for run in laned if run.holder is not None]
    beside = {tenant_of(run.lane) for run in laned if run.holder is None}
    now = max((run.created_at for run in hopeful), default=0)
    alone = [run for run in hopeful if tenant_of(run.lane) not in beside]
    seated = tx.take_seats(alone, rules, now) if alone and rules is not None else frozenset()
    for run in hopeful:
        if run.run_id not in seated:
            _unclaim(run)


def follow(tx: Transaction, ended: Iterable[RunHead], at: int) -> None:
    """Start what is to follow the runs that end in this transaction.

    A follower is named after its run and the number of that run's last event: one that is retried, and so ends once
    more, is followed once more.
    """
    followers = [
        NewRun(
            f"{head.run_id}.end{head.last_seq}",
            head.on_end,
            to_json({"run_id": head.run_id, "status": head.status}),
            at,
        )
        for head in ended
        if head.on_end is not None
    ]
    if followers:
        insert(tx, followers)
