"""What others say to a run: control calls, signals, claims and takeovers. Promises 5, 9 and 12."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

from windlass.engine.births import RUN_STARTED
from windlass.engine.continuing import begun_with
from windlass.engine.ending import cancel
from windlass.engine.errors import Fenced, RunConflict, UnknownRun
from windlass.engine.heads import append, number, to_json, wake
from windlass.engine.history import History, missing, whole_from
from windlass.engine.ops import Operation
from windlass.engine.orders import obey, pause
from windlass.engine.ports import Ring, Transaction
from windlass.engine.registry import check_text
from windlass.engine.types import (
    POISON_DEATHS,
    RESUMED,
    TERMINAL,
    ClaimedRun,
    ClaimRequest,
    ClaimResult,
    ControlRequest,
    ControlResult,
    Event,
    InboxRow,
    LaneClaim,
    NewEvent,
    RunHead,
    SignalRequest,
    Status,
)
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import Invalid
from windlass.kernel.telling import storable
from windlass.kernel.versions import UNBOUND, first_version

TAKEOVER_CHUNK = 1000


ACTIONS = ("cancel", "pause", "resume", "retry")


def check_control(action: str, by: str, reason: str | None) -> None:
    """Check what somebody wants a run to do.

    Raises:
        Invalid: no such action, or the texts cannot be kept.
    """
    if action not in ACTIONS:
        raise Invalid(f"action is one of {', '.join(ACTIONS)}, not {action!r}", field="action")
    check_text("by", by)
    if reason is not None and not (1 <= len(reason) <= 2000 and storable(reason) == reason):
        raise Invalid("reason is 1 to 2000 characters, without NUL and half surrogate pairs", field="reason")


class Controls(Operation[ControlRequest, ControlResult]):
    """Cancel, pause, resume, retry. Done here when nobody holds the run, else left in the holder's inbox."""

    rank = 40

    def locks(self, unit: ControlRequest) -> Iterable[str]:
        """Lock the run."""
        return (unit.run_id,)

    def apply(self, tx: Transaction, units: Sequence[ControlRequest]) -> list[ControlResult | Exception]:
        """Apply each request in order."""
        answers: list[ControlResult | Exception] = []
        for unit in units:
            head = tx.heads.get(unit.run_id)
            if head is None:
                answers.append(UnknownRun(f"no run {unit.run_id}", run_id=unit.run_id))
                continue
            before = head.status
            try:
                answer = ControlResult(control(tx, head, unit), head.status)
            except RunConflict as error:
                answers.append(error)
                continue
            if unit.tell is not None:
                unit.tell(tx, before, answer)
            answers.append(answer)
        return answers


def control(tx: Transaction, head: RunHead, unit: ControlRequest) -> str:
    """Apply one request to a locked run and return ``applied``, ``already_applied`` or ``sent``.

    Raises:
        RunConflict: the run's state does not allow it.
    """
    if unit.action == "retry":
        return retry(tx, head, unit)
    if head.status in TERMINAL:
        if unit.action == "cancel" and head.status == Status.CANCELLED:
            return "already_applied"
        raise RunConflict(f"run is {head.status}", run_id=head.run_id, status=head.status)
    if unit.action == "resume":
        return resume(tx, head, unit)
    if unit.action == "pause" and head.status == Status.PAUSED:
        return "already_applied"
    if head.holder is not None:
        payload = to_json({"by": unit.by, "reason": unit.reason})
        row = InboxRow(unit.inbox_id, head.run_id, unit.action, "", None, payload, unit.at)
        tx.add_inbox([row])
        tx.rings.append(Ring("inbox", head.run_id, head.holder, row))
        return "sent"
    if unit.action == "cancel":
        cancel(tx, [head], unit.by, unit.reason, unit.at)
    else:
        pause(tx, head, unit.by, unit.reason, unit.at)
    return "applied"


def resume(tx: Transaction, head: RunHead, unit: ControlRequest) -> str:
    """Make a paused run ready again; its timers are looked at anew when it is claimed.

    Pauses still in its inbox are over with this one, or they would pause it again.
    """
    pauses = unread(tx, head, "pause")
    if head.holder is not None and pauses:
        raise RunConflict("run is being paused: resume it once it is", run_id=head.run_id, status=head.status)
    if pauses:
        tx.consume_inbox(pauses)
    if head.status != Status.PAUSED:
        if head.status in {Status.RUNNING, Status.QUEUED}:
            return "already_applied"
        raise RunConflict(f"run is {head.status}", run_id=head.run_id, status=head.status)
    head.status = Status.RUNNING if head.started_at is not None else Status.QUEUED
    head.status_reason, head.wait_reason, head.deaths = None, None, 0
    if head.started_at is None and head.wake_at is not None and head.wake_at > unit.at:
        head.wait_reason = "delayed"
    else:
        head.wake_at, head.ready_at, head.claim_rank = None, unit.at, RESUMED
        tx.rings.append(Ring("ready", head.run_id))
    append(tx, head, NewEvent("run_resumed", None, to_json({"by": unit.by}), unit.at))
    tx.write_heads([head])
    return "applied"


def unread(tx: Transaction, head: RunHead, *kinds: str) -> list[str]:
    """Return ids of inbox rows of these kinds that the run has not consumed."""
    return [row.inbox_id for row in tx.load_inbox([head.run_id]).get(head.run_id, ()) if row.kind in kinds]


def retry(tx: Transaction, head: RunHead, unit: ControlRequest) -> str:
    """Open a failed run again, and with it the failed children it waits for, and theirs.

    Raises:
        RunConflict: it has not failed, or what succeeded in it or in such a child is not known any more.
    """
    if head.status != Status.FAILED:
        raise RunConflict(f"run is {head.status}, only a failed run can be retried", run_id=head.run_id)
    again = NewEvent("run_retried", None, to_json({"by": unit.by}), unit.at)
    for member, children in failed_family(tx, head, again):
        reopen(tx, member, children, again)
    return "applied"


def failed_family(tx: Transaction, head: RunHead, again: NewEvent) -> list[tuple[RunHead, list[RunHead]]]:
    """Return a failed run and its failed descendants that retries wait for, each with its children among them.

    Raises:
        RunConflict: events of one of them were deleted.
    """
    family = []
    generation = [head]
    while generation:
        journals = tx.load_events([member.run_id for member in generation])
        following: list[RunHead] = []
        for member in generation:
            events = journals.get(member.run_id, [])
            check_whole(member, events)
            retried = History([*events, Event(member.run_id, member.last_seq + 1, *again)])
            children = tx.lock_runs(retried.awaited_children()).values()
            failed = [child for child in children if child.status == Status.FAILED]
            family.append((member, failed))
            following.extend(failed)
        generation = following
    return family


def check_whole(head: RunHead, events: Sequence[Event]) -> None:
    """Check that the journal of a failed run still says what had succeeded, and that none of it was undone.

    Raises:
        RunConflict: a retry would do again what had succeeded, or build on what is no longer there.
    """
    begins = whole_from(events, head.last_seq)
    if begins > 1:
        raise RunConflict(
            f"events of run {head.run_id} were deleted, its history begins at {begins} now:"
            " a retry would do again what had succeeded",
            run_id=head.run_id,
            history_from_seq=begins,
        )
    failures = [event for event in events if event.type == "run_failed"]
    if failures and orjson.loads(failures[-1].payload).get("compensated"):
        message = f"run {head.run_id} was undone when it failed and cannot be retried; start it anew"
        raise RunConflict(message, run_id=head.run_id)


def reopen(tx: Transaction, head: RunHead, children: Sequence[RunHead], again: NewEvent) -> None:
    """Open one failed run again; which calls run anew is read from ``run_failed`` on replay.

    A cancellation or pause that came too late for the failure is not meant for this attempt, and letters of failed
    children are over when those are opened too.
    """
    retried = {child.run_id for child in children}
    letters = tx.load_inbox([head.run_id]).get(head.run_id, ())
    tx.consume_inbox([
        row.inbox_id for row in letters
        if row.kind in {"cancel", "pause"} or (row.kind == "child" and row.name in retried)
    ])  # fmt: skip
    head.status, head.status_reason, head.deaths = Status.QUEUED, None, 0
    head.ready_at, head.claim_rank = again.at, RESUMED
    append(tx, head, again)
    tx.finish_runs([(head, None, None, None)])
    tx.rings.append(Ring("ready", head.run_id))


class Signals(Operation[SignalRequest, bool]):
    """Deliver signals; the answer is False for one the run had already seen."""

    rank = 40

    def locks(self, unit: SignalRequest) -> Iterable[str]:
        """Lock the run."""
        return (unit.run_id,)

    def weight(self, unit: SignalRequest) -> int:
        """Its payload's."""
        return len(unit.payload)

    def apply(self, tx: Transaction, units: Sequence[SignalRequest]) -> list[bool | Exception]:
        """Write every signal into its run's inbox and wake the parked ones."""
        answers: list[bool | Exception] = []
        rows: list[tuple[int, InboxRow]] = []
        for unit in units:
            head = tx.heads.get(unit.run_id)
            if head is None:
                answers.append(UnknownRun(f"no run {unit.run_id}", run_id=unit.run_id))
            elif head.status in TERMINAL:
                answers.append(RunConflict(f"run is {head.status}", run_id=unit.run_id, status=head.status))
            else:
                row = InboxRow(unit.inbox_id, unit.run_id, "signal", unit.name, unit.dedup_id, unit.payload, unit.at)
                rows.append((len(answers), row))
                answers.append(True)
        refused = tx.add_inbox([row for _, row in rows]) if rows else set()
        woken = {}
        for index, row in rows:
            if row.inbox_id in refused:
                answers[index] = False
                continue
            head = tx.heads[row.run_id]
            if head.holder is not None:
                tx.rings.append(Ring("inbox", row.run_id, head.holder, row))
            elif wake(tx, head, row.at):
                woken[row.run_id] = head
        if woken:
            tx.write_heads(list(woken.values()))
        return answers


def take(tx: Transaction, unit: ClaimRequest) -> tuple[list[ClaimedRun], LaneClaim]:
    """Take runs of lanes and others, half and half where both wait; returns all, and what was found in lanes."""

    def from_lanes(room: int) -> LaneClaim:
        return tx.claim_lanes(unit.holder, unit.codes, unit.queues, room, unit.rules, unit.cursor)

    share = (unit.limit + unit.lanes_first) // 2
    lanes = from_lanes(share) if share else LaneClaim([], False, unit.cursor)
    runs = tx.claim_ready(unit.holder, unit.codes, unit.queues, unit.limit - len(lanes.runs))
    rest = unit.limit - len(lanes.runs) - len(runs)
    if rest and len(lanes.runs) == share:
        further = from_lanes(rest)
        lanes = further._replace(runs=[*lanes.runs, *further.runs], more=lanes.more or further.more)
    return [*lanes.runs, *runs], lanes


class Claims(Operation[ClaimRequest, ClaimResult]):
    """Take ready runs for a worker, with their journals and inboxes."""

    rank, patient = 60, True

    def apply(self, tx: Transaction, units: Sequence[ClaimRequest]) -> list[ClaimResult | Exception]:
        """Claim for each request in turn."""
        return [self._claim(tx, unit) for unit in units]

    @staticmethod
    def _claim(tx: Transaction, unit: ClaimRequest) -> ClaimResult | Exception:
        if not tx.lease_is_live(unit.holder):
            return Fenced(unit.holder)
        tx.promote_due(unit.now, TAKEOVER_CHUNK)
        runs, lanes = take(tx, unit)
        unbound = [run for run in runs if run.interface_version == UNBOUND]
        for run in unbound:
            run.interface_version = first_version(run.head.name, unit.codes)
        tx.bind_runs([(run.head.run_id, run.interface_version) for run in unbound])
        known = [run.head.run_id for run in runs if run.head.last_seq > 0]
        journals = tx.load_events(known) if known else {}
        inboxes = tx.load_inbox([run.head.run_id for run in runs]) if runs else {}
        started = []
        for run in runs:
            head = run.head
            head.status = Status.RUNNING
            head.status_reason = head.wait_reason = None
            run.events = journals.get(head.run_id, ())
            run.inputs = begun_with(run.events, run.inputs)
            run.missing = missing(run.events, head.last_seq)
            if head.started_at is None:
                head.started_at = to_iso(unit.now)
                started.append(number(head, [NewEvent("run_started", None, RUN_STARTED, unit.now)])[0])
            run.inbox = inboxes.get(head.run_id, ())
        answer = ClaimResult(runs, len(runs) >= unit.limit or lanes.more, tx.next_wake(), lanes.cursor)
        if runs:
            tx.append_events(started)
            tx.write_heads([run.head for run in runs])
        return answer


class TakeoverRequest(NamedTuple):
    """Take the runs of one dead holder; ``force`` when its file lock was found free."""

    holder: str
    force: bool
    at: int


class Takeovers(Operation[TakeoverRequest, int]):
    """Fence a dead holder, then give its runs back, a bounded number at a time."""

    rank = 70

    def apply(self, tx: Transaction, units: Sequence[TakeoverRequest]) -> list[int | Exception]:
        """Answer with the number of runs moved; call again until it is 0."""
        return [self._take(tx, unit) for unit in units]

    @staticmethod
    def _take(tx: Transaction, unit: TakeoverRequest) -> int:
        if not tx.end_lease(unit.holder, force=unit.force):
            return 0
        heads = tx.lock_runs(tx.held_runs(unit.holder, TAKEOVER_CHUNK))
        letters = tx.load_inbox(list(heads)) if heads else {}
        moved = []
        ordered = 0
        events: list[Event] = []
        for head in heads.values():
            if head.holder != unit.holder:
                continue
            head.holder = None
            head.deaths += 1
            if obey(tx, head, letters.get(head.run_id, ()), unit.at):
                tx.free_slots([head.run_id])
                ordered += 1
                continue
            if head.deaths >= POISON_DEATHS:
                head.status, head.status_reason = Status.PAUSED, "poisoned"
                head.wait_reason, head.ready_at = "poisoned", None
                news = NewEvent("run_paused", None, '{"by":"engine","reason":"poisoned"}', unit.at)
            else:
                head.ready_at, head.claim_rank, head.wait_reason = unit.at, RESUMED, None
                news = NewEvent("run_requeued", None, to_json({"reason": "holder_died"}), unit.at)
            events.extend(number(head, [news]))
            moved.append(head)
        if moved:
            tx.append_events(events)
            tx.write_heads(moved)
            tx.free_slots([head.run_id for head in moved])
            tx.rings.append(Ring("ready", moved[0].run_id))
        return len(moved) + ordered


def retire(tx: Transaction, holder: str) -> None:
    """End a lease in order; it is forgotten by who takes over what it may still hold."""
    tx.end_lease(holder, force=True)
    tx.forget_lease(holder)


CONTROL = Controls()
SIGNAL = Signals()
CLAIM = Claims()
TAKEOVER = Takeovers()
