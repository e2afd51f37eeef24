"""A journal read back: what each call of the code had come to, by its path. Promise 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from windlass.engine.errors import NonDeterminismError
from windlass.engine.types import ClaimedRun, Event
from windlass.kernel.collection import uncollected

OUTCOMES = frozenset({
    "step_completed", "timer_fired", "signal_received", "signal_timed_out", "child_completed", "value_recorded",
    "update_accepted", "update_timed_out",
})  # fmt: skip
"""Events that settle a call; ``step_failed`` does when it says so."""

CONTINUED = "run_continued"
"""The event with which a run begins anew: what is before it is replayed no more."""

FAILURES = frozenset({"step_failed", "child_completed", "signal_timed_out", "update_timed_out"})
"""Outcomes that a retry takes back when they failed the run."""

ASIDE = frozenset({"step_timeout", "step_retry_suppressed", "step_streamed", "step_published"})
"""Events for people, of which nothing follows."""


@dataclass(slots=True)
class Recorded:
    """What the journal knows of one call.

    ``kind`` is step, timer, signal, child, value, stream or update; ``begun`` and ``seq`` number its first event and
    the one that ended it. ``settled`` is the type of the latter (None while the call is open), ``data`` its payload,
    ``opened`` the payload of the event that began it; ``attempts`` counts failed ones, the next may start at
    ``retry_at`` (microseconds).
    """

    path: str
    begun: int
    seq: int
    kind: str
    digest: str | None = None
    settled: str | None = None
    data: dict[str, Any] | None = None
    opened: dict[str, Any] | None = None
    attempts: int = 0
    retry_at: int | None = None


class History:
    """Calls by path, and their order within each scope."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.calls: dict[str, Recorded] = {}
        self.orders: dict[str, list[str]] = {}
        self._openings: dict[str, dict[str, Any]] = {}
        with uncollected(len(events)):
            self._read_all(events)

    def _read_all(self, events: Sequence[Event]) -> None:
        failed: list[str] = []
        for event in events:
            if event.step_id is not None:
                self._read(event)
            elif event.type == "run_failed":
                failed = list(orjson.loads(event.payload).get("failed_steps") or ())
            elif event.type == "run_retried":
                self._reopen(failed)
            elif event.type == CONTINUED:
                self.calls, self.orders, failed = {}, {}, []

    def _read(self, event: Event) -> None:
        _, seq, kind, step_id, payload, _ = event
        path = step_id or ""
        data = self._openings.get(payload)
        if data is None:
            data = orjson.loads(payload)
            if kind == "step_started":
                self._openings[payload] = data  # those of a step's many calls are alike
        call = self.calls.get(path)
        if call is None:
            call = self.calls[path] = Recorded(path, seq, seq, kind_of(kind))
            if kind != "value_recorded" or not data.get("deprecated"):  # else the code may call it or not
                self.orders.setdefault(scope_of(path), []).append(path)
        if (mark := data.get("input")) is not None:
            call.digest = mark
        if kind in OUTCOMES:
            call.settled, call.data, call.seq = kind, data, seq
        elif kind == "step_failed":
            call.attempts = data["attempt"]
            call.retry_at = data.get("retry_at")
            if call.retry_at is None:
                call.settled, call.data, call.seq = kind, data, seq
        elif kind not in ASIDE:
            call.opened = data

    def _reopen(self, failed: Sequence[str]) -> None:
        """Forget how the calls that failed the run ended; what succeeded stays, and so do failures that were caught."""
        for path in failed:
            call = self.calls.get(path)
            if call is None or call.settled not in FAILURES or self._went_on_after(call):
                continue
            if call.kind != "child" or (call.data or {}).get("status") != "failed":
                call.opened = None
            call.settled = call.data = call.retry_at = None
            call.attempts = 0

    def _went_on_after(self, failed: Recorded) -> bool:
        """Whether the code called anything after a failure, but for the branches beside it: then it had caught it."""
        scopes = [failed.path[: at + 1] for at, letter in enumerate(failed.path) if letter == "/"]
        branches = [scope for scope in scopes if "#" not in scope[scope.rfind("/", 0, -1) + 1 :]]
        groups = [(branch[: branch.rindex(".") + 1], branch) for branch in branches]
        return any(
            call.begun > failed.seq
            and not any(call.path.startswith(group) and not call.path.startswith(branch) for group, branch in groups)
            for call in self.calls.values()
        )

    @property
    def has_children(self) -> bool:
        """Whether the run has started any."""
        return any(call.kind == "child" for call in self.calls.values())

    @property
    def undoable(self) -> list[Recorded]:
        """Return the calls that know how they are undone, the last to succeed first."""
        known = [
            call for call in self.calls.values() if call.settled == "step_completed" and "undo" in (call.data or {})
        ]
        return sorted(known, key=lambda call: -call.seq)

    def awaited_children(self) -> list[str]:
        """Return the ids of children that were started and not heard of since."""
        waits = [call for call in self.calls.values() if call.kind == "child" and call.settled is None]
        return [call.opened["run_id"] for call in waits if call.opened is not None]


@cache
def kind_of(event_type: str) -> str:
    """Return the kind of call that an event is of: its first word, but waiting for people is waiting for a signal."""
    kind = event_type.partition("_")[0]
    return "signal" if kind == "waiting" else kind


def lacking(claimed: ClaimedRun) -> NonDeterminismError | None:
    """Return why a run must not go on that somebody has taken events from, None for one that has them all."""
    if not claimed.missing:
        return None
    said = f"{claimed.missing} of its events are missing, and it would do again what they recorded"
    return NonDeterminismError(said, run_id=claimed.head.run_id)


def whole_from(events: Sequence[Event], last_seq: int) -> int:
    """Return the number from which on a journal is whole: 1 unless some of its events were deleted."""
    number = last_seq
    for event in reversed(events):
        if event.seq != number:
            break
        number -= 1
    return 1 if number + 1 == _first(events) else number + 1


def missing(events: Sequence[Event], last_seq: int) -> int:
    """Return how many events lack of those that a replay reads."""
    return last_seq - _first(events) + 1 - len(events)


def _first(events: Sequence[Event]) -> int:
    """Return the number of the event with which a replay begins."""
    return events[0].seq if events and events[0].type == CONTINUED else 1


def scope_of(path: str) -> str:
    """Return the scope of a path, with its slash: ``g1.0/charge#2`` → ``g1.0/``, ``charge#1`` → ``""``."""
    return path[: path.rfind("/") + 1]
