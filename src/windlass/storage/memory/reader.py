"""Questions about runs, answered from the dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import orjson

from windlass.engine.history import whole_from
from windlass.engine.types import TERMINAL, Ended, Event, Poll, RunFilter, RunView, Sight
from windlass.kernel.clock import to_iso
from windlass.kernel.lanes import LaneRules
from windlass.storage.lanes.choosing import Open
from windlass.storage.memory.lanes import Asking
from windlass.storage.memory.runs import RunRow
from windlass.storage.memory.store import MemoryStore
from windlass.storage.waits import waiting_for


class MemoryReader:
    """``engine.ports.Reader`` over a store; each answer is of one moment between transactions."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def get_run(self, run_id: str) -> RunView | None:
        """Return a run, or None."""
        with self._store.turn():
            row = self._store.runs.get(run_id)
            return None if row is None else self._view(row)

    def list_runs(self, query: RunFilter) -> list[RunView]:
        """Return runs, newest first."""
        with self._store.turn():
            rows = [row for _, row in self._store.runs.items() if _matches(row, query)]
            rows.sort(key=lambda row: (row.born.created_at, row.born.run_id), reverse=True)
            return [self._view(row) for row in rows[: query.limit]]

    def _view(self, row: RunRow) -> RunView:
        return view(row, whole_from(self._store.events.of(row.born.run_id), row.head.last_seq))

    def ended(self, run_ids: Sequence[str]) -> list[Ended]:
        """Return those of the runs that have ended."""
        with self._store.turn():
            rows = [row for run_id in run_ids if (row := self._store.runs.get(run_id)) is not None]
        return [
            Ended(row.born.run_id, row.head.status, row.error if row.outputs is None else row.outputs)
            for row in rows
            if row.head.status in TERMINAL
        ]

    def events(self, run_id: str, since: int, limit: int) -> list[Event]:
        """Return events after ``since``, in order."""
        with self._store.turn():
            journal = self._store.events.of(run_id)
        return [event for event in journal if event.seq > since][:limit]

    def news(self, since: Mapping[str, int], limit: int) -> list[Event]:
        """Return events of several runs, each after a number of its own."""
        return [event for run_id, seq in since.items() for event in self.events(run_id, seq, limit)]

    def poll(self, holder: str, codes: Sequence[str], now: int, rules: LaneRules = LaneRules()) -> Poll:  # noqa: B008
        """Answer the once-a-second question of a process."""
        store = self._store
        known = frozenset(codes)
        with store.turn():
            wake = store.runs.next_wake()
            soonest = None if wake is None else wake[0]
            due = soonest is not None and soonest <= now
            ready = bool(known) and (due or self._claimable(known) or self._in_lanes(known, rules))
            inbox = [row for run_id in store.runs.held_by(holder) for row in store.inbox.unread_of(run_id)]
            return Poll(ready, soonest, inbox, store.dead_holders(), store.restricted_queues())

    def _claimable(self, known: frozenset[str]) -> bool:
        room = self._store.room
        return room("*") > 0 and self._store.runs.has_ready(lambda shelf: shelf[1] in known and room(shelf[0]) > 0)

    def _in_lanes(self, known: frozenset[str], rules: LaneRules) -> bool:
        found = Asking(self._store, rules).plan("", 1, Open(known, None, self._store.closed_queues()))
        return bool(found.plan.lanes or found.plan.skipped or found.cursor)

    def orphaned(self, limit: int) -> list[str]:
        """Return ids of ended runs with open children that have not been told to cancel."""
        store = self._store
        with store.turn():
            ended = [row.head.run_id for _, row in store.runs.items() if row.head.status in TERMINAL]
            found = (run_id for run_id in ended if any(map(store.is_forsaken, store.runs.children_of(run_id))))
            return list(islice(found, limit))

    def lease_is_live(self, holder: str) -> bool:
        """Say whether a lease is live."""
        with self._store.turn():
            return self._store.is_live(holder)


def _matches(row: RunRow, query: RunFilter) -> bool:
    born = row.born
    created = to_iso(born.created_at)
    return (
        (not query.status or row.head.status in query.status)
        and query.name in {None, born.name}
        and query.queue in {None, born.queue}
        and query.parent_run_id in {None, born.parent_run_id}
        and (query.created_after is None or created >= query.created_after)
        and (query.created_before is None or created <= query.created_before)
        and (query.before is None or (created, born.run_id) < query.before)
        and (not query.failing or (row.failed_attempts is not None and row.head.status not in TERMINAL))
        and (query.attempt_gte is None or (row.failed_attempts or 0) >= query.attempt_gte)
        and (query.waiting_on is None or waiting_for(query.waiting_on).fits(row.head))
        and (query.error_class is None or _begins(row.error, query.error_class))
        and (query.sight is None or _seen(row, query.sight))
    )


def _seen(row: RunRow, sight: Sight) -> bool:
    born = row.born
    if born.tenant_id not in sight.tenants:
        return False
    return born.name not in sight.closed or (born.tenant_id == sight.tenant and sight.owner in {None, born.owner})


def _begins(error: str | None, code: str) -> bool:
    return error is not None and str(orjson.loads(error).get("message")).startswith(code)


def view(row: RunRow, history_from_seq: int) -> RunView:
    """Return a run as readers see it."""
    born, head = row.born, row.head
    return RunView(
        run_id=born.run_id, name=born.name, status=str(head.status), status_reason=head.status_reason,
        wait_reason=head.wait_reason, queue=born.queue, priority=born.priority, tenant_id=born.tenant_id,
        owner=born.owner, key=born.key, interface_version=born.interface_version,
        parent_run_id=born.parent_run_id, workflow_id=born.workflow_id, holder=head.holder,
        deaths=head.deaths, last_seq=head.last_seq,
        history_from_seq=history_from_seq, attributes=orjson.loads(born.attributes),
        inputs=orjson.loads(born.inputs), outputs=_loads(row.outputs), error=_loads(row.error),
        created_at=to_iso(born.created_at), started_at=head.started_at, ended_at=_iso(row.ended_at),
        wake_at=_iso(head.wake_at),
    )  # fmt: skip


def _loads(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _iso(at: int | None) -> str | None:
    return None if at is None else to_iso(at)
