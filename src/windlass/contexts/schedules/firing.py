"""What happens when slots come: everything of it in the transaction that says so, so that it happens once.

A slot is dealt with by whoever holds the lock on the schedule's row; ``done_until`` moves over it in the same
transaction. Its run has an id made of schedule and slot, so that even a slot that is looked at again starts nothing.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from windlass.contexts.schedules import runs, store
from windlass.contexts.schedules.cron import Cron, cron
from windlass.contexts.schedules.model import Kind, Order, Outcome, Schedule, Target, iso
from windlass.contexts.schedules.store import Fire
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND, Clock
from windlass.kernel.errors import Kind as ErrorKind
from windlass.kernel.errors import WindlassError
from windlass.kernel.ids import new_id

TOLERANCE_SEC = 5
"""How late a slot may always be: a worker looks once a second, and a restart takes a moment."""
COUNTED = 1000
"""Missed slots are counted no further than this: a minute's schedule misses half a million in a year."""
AT_ONCE = 50
"""How many slots one transaction deals with; what is left is dealt with by the next."""
WAITING = 100
"""How many slots of a schedule may wait for a place; what comes beyond is skipped."""
DRAIN_SEC = (2, 5, 10, 20, 30)
"""Pauses between looks for a free place; the last one goes on."""
PATIENCE_SEC = 120
"""A slot over a limit that lets it through so soon waits; one for which it takes longer has had its time."""
_PASSING = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.INTERNAL})


class Due(NamedTuple):
    """The slots that have come: those that are too late (first, last, how many) and those to deal with."""

    missed: tuple[int, int, int] | None
    slots: list[int]


def due(times: Cron, done_until: int, upto: int, grace: int) -> Due:
    """Return the slots after ``done_until`` that have come at ``upto``; ``grace`` is in seconds."""
    cutoff = upto - max(grace, TOLERANCE_SEC) * SECOND
    first = last = None
    count = 0
    for slot in islice(times.after(done_until), COUNTED):
        if slot >= cutoff or slot > upto:
            break
        first, last, count = first or slot, slot, count + 1
    if first is None or last is None:
        return Due(None, _until(times, done_until, upto))
    if count == COUNTED:
        last = max(last, times.last(cutoff) or last)
    return Due((first, last, count), _until(times, last, upto))


def _until(times: Cron, after: int, upto: int) -> list[int]:
    slots = []
    for slot in times.after(after):
        if slot > upto:
            break
        slots.append(slot)
    return slots


class Instead(NamedTuple):
    """What becomes of slots whose runs cannot be started."""

    status: Outcome
    reason: str


class Firing:
    """Deals with slots.

    Args:
        clock: tells how late they are.
        target: runs what they are for.
    """

    def __init__(self, clock: Clock, target: Target) -> None:
        self.clock = clock
        self._target = target

    # slots
    def settle(
        self, tx: Transaction, schedule: Schedule, upto: int, *, most: int, instead: Instead | None = None
    ) -> int:
        """Deal with the slots that have come at ``upto``, and change the schedule accordingly; returns how many.

        Args:
            tx: the transaction, which holds the schedule's row.
            schedule: which one; the caller writes it back.
            upto: the moment.
            most: how many slots to start at most.
            instead: nothing may be started, and this is what becomes of the slots.
        """
        now = self.clock.now()
        times = cron(schedule.cron, schedule.timezone)
        found = due(times, schedule.done_until, upto, schedule.misfire_grace_sec)
        if found.missed is not None:
            first, last, count = found.missed
            self._note(tx, schedule, Fire(Kind.SLOT, last, first, count, None, Outcome.MISSED, _missed(count)), now)
            schedule.done_until = last
        slots = found.slots
        folded = [(slots[-1], slots[0], len(slots))] if schedule.coalesce and slots else [(s, s, 1) for s in slots]
        for slot, first, count in folded[:most]:
            self._come(tx, schedule, Fire(Kind.SLOT, slot, first, count, None, Outcome.QUEUED), instead, now)
            schedule.done_until = slot
        return len(folded[:most])

    def _come(self, tx: Transaction, schedule: Schedule, fire: Fire, instead: Instead | None, now: int) -> None:
        """Deal with one slot, unless a backfill was there before its time was looked at."""
        run_id = runs.slot_run_id(schedule.id, fire.slot or 0)
        if store.has_run(tx, run_id):
            return
        if instead is not None:
            fire = fire._replace(status=instead.status, reason=instead.reason)
        else:
            fire = self._judged(tx, schedule, fire, run_id)
        if fire.status is Outcome.QUEUED:
            fire = self.start(tx, schedule, fire._replace(run_id=run_id))
        self._note(tx, schedule, fire, now)
        if fire.status is Outcome.PENDING:
            self.wait(tx, schedule, 0)

    def _judged(self, tx: Transaction, schedule: Schedule, fire: Fire, run_id: str) -> Fire:
        """Say what a slot may do: start, wait or pass."""
        if schedule.require_online and not self._target.online(tx.connection, schedule.aim):
            return fire._replace(status=Outcome.SKIPPED_OFFLINE, reason="no live process carries this workflow out")
        live = store.live(tx, schedule.id, (Kind.SLOT, Kind.RUN_NOW), schedule.limit)
        if schedule.concurrency_mode == "skip":
            if live < schedule.limit and not store.pending(tx, schedule.id, 1):
                return fire._replace(status=Outcome.QUEUED)
            return fire._replace(status=Outcome.SKIPPED_OVERLAP, reason="the run before has not ended")
        waiting = len(store.pending(tx, schedule.id, WAITING))
        if waiting >= WAITING:
            return fire._replace(status=Outcome.SKIPPED_OVERLAP, reason=f"{WAITING} slots are waiting for a place")
        if waiting or live >= schedule.limit:
            return fire._replace(
                status=Outcome.PENDING, run_id=run_id, reason=f"waits for one of {schedule.limit} places"
            )
        return fire._replace(status=Outcome.QUEUED)

    def start(self, tx: Transaction, schedule: Schedule, fire: Fire, *, ask: bool = False) -> Fire:
        """Start a fire's run, in a savepoint; a target that refuses makes it an error, which is its own outcome.

        Raises:
            WindlassError: the trouble will pass: try again. With ``ask`` somebody waits for the answer, and hears
                every refusal.
        """
        order = Order(schedule.id, schedule.aim, fire.run_id or "", fire.slot, fire.kind.value)
        try:
            with tx.savepoint():
                started = self._target.start_in(tx, order)
        except WindlassError as error:
            if ask or error.kind in _PASSING:
                raise
            if error.kind is ErrorKind.RATE_LIMITED:
                return self._limited(tx, schedule, fire, error)
            return fire._replace(status=Outcome.ERROR, run_id=None, reason=f"{type(error).__name__}: {error}")
        return fire._replace(status=Outcome.QUEUED, run_id=started)

    @staticmethod
    def _limited(tx: Transaction, schedule: Schedule, fire: Fire, error: WindlassError) -> Fire:
        """Return what becomes of a slot whose owner has used up a limit."""
        soon = getattr(error, "retry_after", PATIENCE_SEC + 1) <= PATIENCE_SEC
        if soon and (fire.status is Outcome.PENDING or len(store.pending(tx, schedule.id, WAITING)) < WAITING):
            return fire._replace(status=Outcome.PENDING, reason=f"waits: {error}")
        return fire._replace(status=Outcome.SKIPPED_QUOTA, run_id=None, reason=str(error))

    @staticmethod
    def _note(tx: Transaction, schedule: Schedule, fire: Fire, now: int) -> None:
        store.add_fire(tx, schedule.id, fire, now)
        schedule.last_status = fire.status.value
        if fire.status is Outcome.QUEUED:
            schedule.last_run_at = now

    # the chain of ticks
    def arm(self, tx: Transaction, schedule: Schedule) -> None:
        """Have a run wait for the next slot, and note which; a schedule that is not enabled waits for none."""
        following = None
        if schedule.enabled:
            following = cron(schedule.cron, schedule.timezone).next(schedule.done_until)
        schedule.next_run_at = following
        schedule.tick_run_id = None
        if following is None:
            return
        schedule.tick_run_id = runs.tick_run_id(schedule.id, schedule.revision, following)
        inputs: dict[str, object] = {
            "schedule_id": schedule.id, "revision": schedule.revision, "slot": iso(following),
        }  # fmt: skip
        runs.start_own(
            tx, runs.TICK, inputs, schedule.tick_run_id, now=self.clock.now(), tenant_id=schedule.tenant_id,
            at=following,
        )  # fmt: skip

    def rearm(self, tx: Transaction, schedule: Schedule, reason: str) -> None:
        """Put another chain of ticks in the place of the one there was."""
        runs.cancel(tx, schedule.tick_run_id, reason, self.clock.now())
        schedule.revision += 1
        self.arm(tx, schedule)

    def tick(self, tx: Transaction, schedule_id: str, revision: int, slot: int, broken: str | None = None) -> str:
        """Deal with a slot whose time has come, and have a run wait for the next one.

        Returns:
            what became of it: the schedule's last status, ``superseded`` or ``nothing``.
        """
        schedule = store.get(tx.connection, schedule_id, lock=True)
        if schedule is None or not schedule.enabled or schedule.revision != revision:
            return "superseded"
        instead = None if broken is None else Instead(Outcome.ERROR, broken)
        settled = self.settle(tx, schedule, max(self.clock.now(), slot), most=AT_ONCE, instead=instead)
        self.arm(tx, schedule)
        store.write(tx, schedule)
        return str(schedule.last_status) if settled else "nothing"

    # slots that wait for a place
    def wait(self, tx: Transaction, schedule: Schedule, looks: int) -> None:
        """Have a run look for a place a little later, unless one is about to."""
        if looks == 0 and schedule.drain_run_id is not None:
            return
        now = self.clock.now()
        schedule.drain_run_id = f"drain.{schedule.id}.{new_id()}"
        inputs: dict[str, object] = {"schedule_id": schedule.id, "looks": looks}
        pause = DRAIN_SEC[min(looks, len(DRAIN_SEC) - 1)]
        runs.start_own(
            tx, runs.DRAIN, inputs, schedule.drain_run_id, now=now, tenant_id=schedule.tenant_id,
            at=now + pause * SECOND,
        )  # fmt: skip

    def drain(self, tx: Transaction, schedule_id: str, looks: int, run_id: str) -> int:
        """Start what waits while there are places; returns how many slots still wait."""
        schedule = store.get(tx.connection, schedule_id, lock=True)
        if schedule is None or schedule.drain_run_id != run_id:
            return 0
        schedule.drain_run_id = None
        left = 0
        if schedule.enabled:
            now = self.clock.now()
            free = schedule.limit - store.live(tx, schedule.id, (Kind.SLOT, Kind.RUN_NOW), schedule.limit)
            waiting = store.pending(tx, schedule.id, WAITING)
            left = len(waiting)
            for fire_id, waiting_run, slot in waiting[: max(free, 0)]:
                if not self._admit(tx, schedule, fire_id, waiting_run, slot, now):
                    break
                left -= 1
            if left:
                self.wait(tx, schedule, 1 if left < len(waiting) else looks + 1)
        store.write(tx, schedule)
        return left

    def _admit(self, tx: Transaction, schedule: Schedule, fire_id: str, run_id: str, slot: int, now: int) -> bool:
        """Start a slot that waited; False: it still waits, over a limit."""
        fire = self.start(tx, schedule, Fire(Kind.SLOT, slot, slot, 1, run_id, Outcome.PENDING))
        schedule.last_status = fire.status.value
        if fire.status is Outcome.QUEUED:
            store.started(tx, fire_id)
            schedule.last_run_at = now
        elif fire.status is not Outcome.PENDING:
            store.refused(tx, fire_id, fire.status, str(fire.reason))
        return fire.status is not Outcome.PENDING


def _missed(count: int) -> str:
    if count == COUNTED:
        return f"{COUNTED} slots or more came while nothing fired, longer ago than misfire_grace_sec"
    return "it came while nothing fired, longer ago than misfire_grace_sec"
