"""What can be done with schedules. The door for others is ``api``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from windlass.contexts.schedules import backfill, cron, repair, runs, store
from windlass.contexts.schedules.firing import Firing, Instead
from windlass.contexts.schedules.intake import Changes, Draft, Trial, Window, one_target, read
from windlass.contexts.schedules.model import Kind, Outcome, Schedule, Target, UnknownSchedule, iso
from windlass.contexts.schedules.store import Fire
from windlass.contexts.schedules.tasks import define_backfill, define_firing, define_sweep
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.actors import WORKFLOWS_ADMIN, Actor, Forbidden
from windlass.kernel.clock import from_datetime
from windlass.kernel.errors import Issue, ValidationFailed
from windlass.kernel.ids import new_id
from windlass.kernel.rounds import Rounds

FOREIGN = "This schedule belongs to somebody else"
SHOWN = 20
"""How many of the next times a dry run shows."""
ID_LENGTH = 32
EVERYBODY = "*"
OFF = Instead(Outcome.MISSED, "the scheduler is off")
ALL_AT_ONCE = 100_000
_TIMING = ("cron", "timezone", "enabled")


@dataclass(frozen=True, slots=True)
class Options:
    """``enabled``: this process fires; ``zone``: of schedules that say none; ``rescan_sec``: between repairs."""

    enabled: bool = False
    zone: str = "UTC"
    rescan_sec: float = 600.0


class Rescanned(NamedTuple):
    """``jobs``: enabled schedules of the tenant; ``repaired``: of all tenants, those that waited for nothing."""

    jobs: int
    repaired: int
    firing: bool


class Schedules:
    """Schedules of one database.

    Args:
        engine: carries out their runs.
        target: runs what they are for.
        options: of this process.
    """

    def __init__(self, engine: Engine, target: Target, options: Options | None = None) -> None:
        self.options = options or Options()
        self._engine = engine
        self._clock = engine.clock
        self._target = target
        self._firing = Firing(engine.clock, target)
        self._keeping = Rounds("windlass-schedules", self._look, lambda: self.options.rescan_sec, self._not_looked)
        define_backfill(engine.registry, self._firing)
        define_sweep(engine.registry)
        if self.options.enabled:
            define_firing(engine.registry, self._firing)

    # making and changing
    async def create(self, actor: Actor, value: object) -> tuple[Schedule, bool]:
        """Store a schedule from its JSON; returns it and whether any live process fires.

        Raises:
            ValidationFailed: a field is wrong, or there is not exactly one target.
            UnknownTarget: the target is not there, or the inputs do not fit it.
            TooLarge: the inputs are.
        """
        draft = read(Draft, value)
        one_target(draft.workflow_id, draft.workflow)
        now = self._clock.now()
        zone = draft.timezone or self.options.zone
        cron.check(draft.cron, zone, now)
        schedule = Schedule(
            id=new_id().replace("-", ""), tenant_id=actor.tenant_id, user_id=actor.user_id,
            **draft.model_dump(exclude={"timezone"}), timezone=zone, revision=1, done_until=now, tick_run_id=None,
            drain_run_id=None, last_run_at=None, next_run_at=None, last_status=None, created_at=now, updated_at=now,
        )  # fmt: skip

        def add(tx: Transaction) -> None:
            self._target.check(tx.connection, schedule.aim)
            self._firing.arm(tx, schedule)
            store.insert(tx, schedule)

        await self._engine.transact(add)
        return schedule, await self._engine.read(self._is_firing)

    async def change(
        self,
        actor: Actor,
        schedule_id: str,
        value: object,
        expect: Callable[[dict[str, Any]], None] | None = None,
    ) -> Schedule:
        """Change a schedule; slots that came before are dealt with as it was.

        Args:
            actor: who asks.
            schedule_id: which.
            value: what is to be different.
            expect: looks at the schedule as it is shown before anything is done, and refuses by raising.

        Raises:
            ValidationFailed, UnknownTarget, TooLarge: see ``create``.
            UnknownSchedule: there is none.
            Forbidden: it is somebody else's.
        """
        changes = read(Changes, value)
        given = {name: getattr(changes, name) for name in changes.model_fields_set}
        if "timezone" in given:
            given["timezone"] = given["timezone"] or self.options.zone
        for one, other in (("workflow_id", "workflow"), ("workflow", "workflow_id")):
            if given.get(one) is not None:
                given.setdefault(other, None)

        def change(tx: Transaction) -> Schedule:
            schedule = self._own(tx, actor, schedule_id)
            if expect is not None:
                expect(schedule.view())
            self._apply(tx, schedule, given)
            store.write(tx, schedule)
            return schedule

        return await self._engine.transact(change)

    def _apply(self, tx: Transaction, schedule: Schedule, given: dict[str, Any]) -> None:
        now = self._clock.now()
        retimed = any(name in given and given[name] != getattr(schedule, name) for name in _TIMING)
        if retimed and schedule.enabled:
            instead = None if self.options.enabled else OFF
            self._firing.settle(tx, schedule, now, most=ALL_AT_ONCE, instead=instead)
        aim = schedule.aim
        for name, one in given.items():
            setattr(schedule, name, one)
        one_target(schedule.workflow_id, schedule.workflow)
        if schedule.aim != aim:
            self._target.check(tx.connection, schedule.aim)
        schedule.updated_at = now
        if retimed:
            cron.check(schedule.cron, schedule.timezone, now)
            schedule.done_until = now
            self._firing.rearm(tx, schedule, "the schedule was changed")
            if schedule.enabled and store.pending(tx, schedule.id, 1):
                self._firing.wait(tx, schedule, 0)

    async def delete(self, actor: Actor, schedule_id: str) -> bool:
        """Delete a schedule and its history; its runs stay. False: there is none.

        Raises:
            Forbidden: it is somebody else's.
        """

        def delete(tx: Transaction) -> bool:
            try:
                schedule = self._own(tx, actor, schedule_id)
            except UnknownSchedule:
                return False
            now = self._clock.now()
            store.delete(tx, schedule.id)
            for run_id in (schedule.tick_run_id, schedule.drain_run_id):
                runs.cancel(tx, run_id, "the schedule was deleted", now)
            inputs: dict[str, object] = {"schedule_id": schedule.id}
            runs.start_own(tx, runs.SWEEP, inputs, new_id(), now=now, tenant_id=schedule.tenant_id)
            return True

        return await self._engine.transact(delete)

    # looking
    async def get(self, actor: Actor, schedule_id: str) -> dict[str, Any]:
        """Return a schedule as it is shown.

        Raises:
            UnknownSchedule: there is none.
            Forbidden: it is somebody else's.
        """

        def look(connection: sa.Connection) -> dict[str, Any]:
            found = _allowed(actor, schedule_id, _find(connection, schedule_id))
            return found.view() | {"firing": self._is_firing(connection)}

        return await self._engine.read(look)

    async def page(self, actor: Actor, owner: str | None, limit: int, offset: int) -> list[dict[str, Any]]:
        """Return schedules as they are shown, newest first: the caller's own, an owner's, or everybody's (``*``).

        Raises:
            Forbidden: only administrators look at others'.
        """
        if owner is not None and not actor.administers_workflows:
            raise Forbidden("Admin-only owner filter")
        whose = None if owner == EVERYBODY else owner or actor.user_id

        def look(connection: sa.Connection) -> list[dict[str, Any]]:
            firing = self._is_firing(connection)
            found = store.page(connection, actor.tenant_id, whose, limit, offset)
            return [schedule.view() | {"firing": firing} for schedule in found]

        return await self._engine.read(look)

    async def fires(
        self, actor: Actor, schedule_id: str, limit: int, before: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return what became of slots, newest first, and the cursor of the page that follows.

        Raises:
            UnknownSchedule: there is none.
            Forbidden: it is somebody else's.
        """

        def look(connection: sa.Connection) -> list[dict[str, Any]]:
            _allowed(actor, schedule_id, _find(connection, schedule_id))
            return store.fires(connection, schedule_id, limit + 1, before)

        found = await self._engine.read(look)
        return found[:limit], found[limit - 1]["fire_id"] if len(found) > limit else None

    def preview(self, value: object) -> dict[str, Any]:
        """Say when a crontab line would fire next.

        Raises:
            ValidationFailed: a field is wrong.
        """
        trial = read(Trial, value)
        now = self._clock.now()
        zone = trial.timezone or self.options.zone
        found = [iso(slot) for slot in islice(cron.check(trial.cron, zone, now).after(now), SHOWN)]
        return {
            "valid": True,
            "timezone": zone,
            "next_run_at": found[0],
            "next_runs": found,
            "inputs_preview": trial.inputs,
        }

    # running
    async def run_now(self, actor: Actor, schedule_id: str, key: str | None = None) -> str:
        """Start the target at once, whatever else of the schedule is open; returns the run's id.

        Raises:
            UnknownSchedule: there is none.
            Forbidden: it is somebody else's.
            UnknownTarget: there is nothing to run any more.
        """
        run_id = runs.asked_run_id(schedule_id, key)

        def start(tx: Transaction) -> str:
            schedule = self._own(tx, actor, schedule_id)
            if store.has_run(tx, run_id):
                return run_id
            asked = Fire(Kind.RUN_NOW, None, None, 0, run_id, Outcome.PENDING)
            fire = self._firing.start(tx, schedule, asked, ask=True)
            now = self._clock.now()
            store.add_fire(tx, schedule.id, fire, now)
            schedule.last_run_at, schedule.last_status = now, fire.status.value
            store.write(tx, schedule)
            return run_id

        return await self._engine.transact(start)

    async def backfill(self, actor: Actor, schedule_id: str, value: object) -> tuple[str, int]:
        """Start a run over the slots of a past window; returns its id and how many slots there are.

        Raises:
            ValidationFailed: the window is wrong, not over yet, or too long.
            UnknownSchedule: there is none.
            Forbidden: it is somebody else's.
        """
        window = read(Window, value)
        start, end = _edge("start", window.start), _edge("end", window.end)
        if not start <= end <= self._clock.now():
            message = "The window ends before it begins" if start > end else "The window is not over yet"
            raise ValidationFailed([Issue(("body", "end"), message, "window")])
        run_id = new_id()

        def look(connection: sa.Connection) -> tuple[Schedule, int]:
            schedule = _allowed(actor, schedule_id, _find(connection, schedule_id))
            return schedule, backfill.count(schedule.cron, schedule.timezone, start, end)

        schedule, slots = await self._engine.read(look)
        if slots > backfill.MOST_SLOTS:
            message = f"The window has more than {backfill.MOST_SLOTS} slots"
            raise ValidationFailed([Issue(("body", "end"), message, "window")])
        about: dict[str, object] = {
            "schedule_id": schedule.id, "cron": schedule.cron, "timezone": schedule.timezone, "start": start,
            "end": end, "per_minute": window.per_minute, "at_once": window.at_once,
        }  # fmt: skip

        def begin(tx: Transaction) -> None:
            now = self._clock.now()
            runs.start_own(tx, runs.BACKFILL, {"window": about}, run_id, now=now, tenant_id=schedule.tenant_id)

        await self._engine.transact(begin)
        return run_id, slots

    # housekeeping
    async def rescan(self, actor: Actor) -> Rescanned:
        """Give every enabled schedule whose next slot nothing waits for a run that does.

        Raises:
            Forbidden: only administrators of workflows may.
        """
        actor.require(WORKFLOWS_ADMIN)
        repaired = await repair.repair(self._engine, self._firing, overdue=None)
        jobs = await self._engine.read(lambda connection: store.count_enabled(connection, actor.tenant_id))
        return Rescanned(jobs, repaired, await self._engine.read(self._is_firing))

    async def start(self) -> None:
        """Begin to look, now and then, for schedules whose next slot nothing waits for."""
        if self.options.enabled:
            self._keeping.start()

    async def stop(self) -> None:
        """Stop doing so."""
        await self._keeping.stop()

    async def _look(self) -> None:
        await repair.repair(self._engine, self._firing, overdue=self._clock.now() - repair.LATE)

    def _not_looked(self, error: Exception) -> None:
        self._engine.worker.telemetry.event("schedules.not_rescanned", error=str(error))

    def _is_firing(self, connection: sa.Connection) -> bool:
        here = self.options.enabled and self._engine.worker.claims
        return here or runs.carried_out(connection, runs.TICK)

    @staticmethod
    def _own(tx: Transaction, actor: Actor, schedule_id: str) -> Schedule:
        """Return a schedule that the caller may change, kept from others until the transaction ends."""
        return _allowed(actor, schedule_id, _find(tx.connection, schedule_id, lock=True))


def _find(connection: sa.Connection, schedule_id: str, *, lock: bool = False) -> Schedule | None:
    if len(schedule_id) != ID_LENGTH or not schedule_id.isalnum() or not schedule_id.isascii():
        return None
    return store.get(connection, schedule_id, lock=lock)


def _allowed(actor: Actor, schedule_id: str, found: Schedule | None) -> Schedule:
    if found is None:
        raise UnknownSchedule(schedule_id)
    if not actor.owns(found.tenant_id, found.user_id):
        raise Forbidden(FOREIGN)
    return found


def _edge(name: str, moment: Any) -> int:
    if moment.tzinfo is None:
        raise ValidationFailed([Issue(("body", name), "Input should have a time zone", "timezone_aware")])
    return from_datetime(moment)
