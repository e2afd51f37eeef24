"""A run in memory: its coroutine, what it waits for, and how it leaves again. Promises 4 and 6.

All of it happens on one event loop. ``busy`` counts the branches that can go on by themselves; when none can,
the run settles: it stays for a moment, then parks, and nothing of it is left in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import orjson

from windlass.engine.continuing import ContinueAsNew, begin_anew
from windlass.engine.ending import cancel_events
from windlass.engine.errors import Fenced, NonDeterminismError, Suspend
from windlass.engine.failures import cancelled_itself, describe, failed_steps, own_error
from windlass.engine.heads import to_json
from windlass.engine.history import History, lacking
from windlass.engine.host import Host
from windlass.engine.journal import ADVANCE
from windlass.engine.mailbox import Mailbox
from windlass.engine.ops import Operation, heard
from windlass.engine.registry import Definition
from windlass.engine.scope import CURRENT, HELD, Scope
from windlass.engine.types import Advance, ClaimedRun, Finish, InboxRow, NewEvent, NewRun, Park, Status
from windlass.kernel.clock import SECOND

LINGER = 0.5
"""Seconds a run that waits for something without a known time stays in memory before it parks."""

LIVE = 1 << 40
"""Where the numbers begin by which a run orders events whose own numbers it has not heard."""

QUIET_TURNS = 4
"""How many turns of the loop without a branch that gets on mean that a replay has caught up."""

LOOK_SECONDS = 1.0
"""How often a branch that waits for a time looks at the clock, which may have jumped."""

RETREAT_SECONDS = 5
"""How long a run is put aside when its events cannot be written."""


class Run:
    """One run held by this process."""

    def __init__(self, worker: Host, workflow: Definition, claimed: ClaimedRun) -> None:
        self.worker = worker
        self.workflow = workflow
        self.run_id = claimed.head.run_id
        self.holder = worker.holder
        self.claimed = claimed
        self.begun = worker.clock.now()
        self.history = History(claimed.events) if len(claimed.events) > 1 else None
        self.loop = asyncio.get_running_loop()
        self.pending: list[NewEvent] = []
        self.along: list[Any] = []
        self.live: Any = None
        self.mail = Mailbox()
        self.dues: dict[asyncio.Future[Any], int] = {}
        self._waits: dict[asyncio.Future[Any], Status] = {}
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in order: what is unwound first must not hang on addresses
        self.executing: dict[str, int] = {}
        self.busy = 1
        self.counted = True
        self.gone = False
        self.has_children = self.history is not None and self.history.has_children
        self.undoes: dict[str, Any] = {}
        self.pausing: InboxRow | None = None
        self.cancelling = self.held_back = False
        self.divergence: NonDeterminismError | None = lacking(claimed)
        self.progress = 0
        self.replaying = self.history is not None
        self._ticks = LIVE
        self._parking = self._aside = self._sailing = False
        self._air = 0
        self._ashore: list[asyncio.Future[None]] = []
        self._settling: asyncio.Handle | None = None
        self._blocked: dict[asyncio.Future[Any], None] = {}
        self._timers: dict[asyncio.Future[Any], asyncio.TimerHandle] = {}
        self._task: asyncio.Task[None] | None = None

    # life
    def start(self) -> None:
        """Begin (or replay) the workflow's code in a task of its own."""
        scope = Scope(self, "")
        context = copy_context()
        context.run(CURRENT.set, scope)
        context.run(HELD.set, self)
        for row in self.claimed.inbox:
            self.deliver(row)
        task = self.loop.create_task(self._main(scope), context=context)
        scope.task = self._task = task
        self.tasks[task] = None

    async def _main(self, scope: Scope[Run]) -> None:
        try:
            finish, events = await self._outcome(scope)
            finish.parent_run_id = self.claimed.head.parent_run_id
            finish.children = self.has_children
            await self.commit(events, finish=finish)
            self.worker.finished(self, finish)
        except ContinueAsNew as anew:
            await begin_anew(self, anew.inputs)
        except (Suspend, asyncio.CancelledError) as left:
            left.__traceback__ = None  # its frames hold the future that holds it
        finally:
            self.drop()
            self._untie(scope)

    def _untie(self, scope: Scope[Run]) -> None:
        """Cut the circle of run, task, context and scope: it frees itself now, without a search for garbage."""
        self.tasks.clear()
        self._blocked.clear()
        self._timers.clear()
        self._settling = self._task = scope.task = None

    async def _outcome(self, scope: Scope[Run]) -> tuple[Finish, list[NewEvent]]:
        name = self.workflow.name
        try:
            arguments = self.workflow.signature.unpack(self.claimed.inputs, f"input of {name}")
            value = await self.workflow.fn(**arguments)
            if self.divergence is not None:
                raise self.divergence
            scope.leave()
            _, outputs = self.workflow.signature.output(value, f"output of {name}")
        except BaseException as error:
            raised = self._raised(error)
            if self.workflow.compensate is not None:
                raised = await self.workflow.compensate(scope, raised)
            at = self.worker.clock.now()
            details = describe(raised) | {"failed_steps": failed_steps(raised)}
            if getattr(raised, "compensated", False):
                details["compensated"] = True
            finish = Finish(Status.FAILED, error=to_json(details), reason=type(raised).__name__)
            return finish, [NewEvent("run_failed", None, to_json({"error": details["message"], **details}), at)]
        at = self.worker.clock.now()
        return Finish(Status.SUCCEEDED, outputs=outputs), [NewEvent("run_completed", None, '{"success":true}', at)]

    def _raised(self, error: BaseException) -> Exception:
        """Return what the code failed with.

        Raises:
            Suspend, asyncio.CancelledError: it did not; the run leaves memory, or the process ends.
        """
        if self.divergence is not None and not isinstance(error, Suspend):
            return self.divergence
        if isinstance(error, asyncio.CancelledError) and not (self.gone or self.worker.ending):
            return cancelled_itself(error, "the code cancelled its own task")
        return own_error(error)

    def diverged(self, message: str) -> NonDeterminismError:
        """Remember a divergence and return the first: swallowing it does not help, the run fails with it."""
        if self.divergence is None:
            self.divergence = NonDeterminismError(f"workflow {self.workflow.name}: {message}", run_id=self.run_id)
        return self.divergence

    def tick(self) -> int:
        """Return a number above those of the journal that was read, and above all such numbers before."""
        self._ticks += 1
        return self._ticks

    async def catch_up(self) -> None:
        """Let every branch replay what the journal holds before the first effect of any.

        One that a failure stopped when this happened must be stopped by it again, not run on meanwhile.
        """
        quiet = 0
        while self.replaying and quiet < QUIET_TURNS:
            before = self.progress
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.progress == before else 0
        self.replaying = False
        if self.gone:
            raise Suspend

    def drop(self) -> None:
        """Forget the run: unwind whatever is left of it and tell the worker."""
        if self.gone:
            return
        self.gone = True
        if self._settling is not None:
            self._settling.cancel()
        for timer in self._timers.values():
            timer.cancel()
        for future in list(self._blocked):
            if not future.done():
                future.set_exception(Suspend())
        self.worker.left(self)

    def _end_task(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)

    def abandon(self) -> None:
        """Forget the run and stop its tasks: it was cancelled, or this process no longer holds it."""
        self.drop()
        for task in list(self.tasks):
            task.cancel()

    # journal
    def commit(
        self,
        events: list[NewEvent],
        *,
        finish: Finish | None = None,
        park: Park | None = None,
        starts: list[NewRun] | None = None,
    ) -> Awaitable[Any]:
        """Hand events to the committer, with whatever was waiting to ride along."""
        if self.pending:
            events = [*self.pending, *events]
            self.pending = []
        consumed, now = self.mail.take_consumed(), events[-1].at if events else self.worker.clock.now()
        unit = Advance(self.run_id, self.holder, now, events, finish, park, starts or [], consumed, self.along)
        self.along = []
        return self.submit(ADVANCE, unit)

    async def submit(self, op: Operation[Any, Any], unit: Any) -> Any:
        """Hand a unit to the committer; without an answer the run leaves memory: raises ``Suspend``."""
        if self.gone:
            raise Suspend
        self._air += 1
        try:
            return await heard(self.worker.commits.submit(op, unit))
        except Fenced:
            self.worker.fenced(self)
            raise Suspend from None
        except Exception as error:
            self._put_aside(error)
            raise Suspend from None
        finally:
            self._air -= 1
            while self._ashore:
                waiter = self._ashore.pop()
                if not waiter.done():
                    waiter.set_result(None)

    def record(self, events: list[NewEvent]) -> None:
        """Have events written by the end of this turn of the loop, together with what the code does next.

        Whoever acts on them waits at the ``barrier`` first; a run that ends at once does so in the same commit.
        """
        self.pending.extend(events)
        if not self._sailing:
            self._sailing = True
            self.worker.turn.do(self._sail)

    def _sail(self) -> None:
        self._sailing = False
        if self.pending and not self.gone and not self._parking:
            self.worker.keep(self.loop.create_task(self._set_off()))

    async def _set_off(self) -> None:
        with suppress(Suspend):
            await self.barrier()

    async def barrier(self) -> None:
        """Wait until all that the code has heard is on disk: nothing may act on what the journal could lose."""
        while True:
            if self.gone:
                raise Suspend
            if self.pending:
                await self.commit([])
                return
            if not self._air:
                return
            waiter = self.loop.create_future()
            self._ashore.append(waiter)
            await waiter

    @property
    def unsettled(self) -> bool:
        """Whether something that the code has heard is not known to be on disk."""
        return bool(self.pending or self._air)

    def _put_aside(self, error: Exception) -> None:
        """Leave a run for a while whose events could not be written (a full disk, say)."""
        self.worker.telemetry.event("run.put_aside", run_id=self.run_id, error=repr(error))
        if not self._aside:
            self._aside = self._parking = True
            self.worker.keep(self.loop.create_task(self._retreat()))

    async def _retreat(self) -> None:
        self.abandon()
        heard: frozenset[str] = frozenset()
        while not self.worker.stopping:
            now = self.worker.clock.now()
            park = Park("write_failed", now + RETREAT_SECONDS * SECOND, heard=heard)
            try:
                news = await self.worker.commits.submit(ADVANCE, Advance(self.run_id, self.holder, now, [], park=park))
            except Fenced:
                return
            except Exception as error:
                self.worker.telemetry.event("run.put_aside", run_id=self.run_id, error=repr(error))
                await asyncio.sleep(RETREAT_SECONDS)
            else:
                if news is None:
                    return
                heard |= {row.inbox_id for row in news}

    # waiting
    async def wait(
        self, due: int | None = None, listen: str | None = None, status: Status = Status.RUNNING
    ) -> InboxRow | None:
        """Block this branch until ``due`` (microseconds) or until the inbox brings what it listens for.

        ``status`` is one of ``WITH_PEOPLE`` when only a person sends that.

        Returns:
            the inbox row, or None when the time came first.
        """
        if listen is not None:
            row = self.mail.take(listen)
            if row is not None:
                return row
        if due is not None and due <= self.worker.clock.now():
            await asyncio.sleep(0)  # a loop that waits for nothing leaves room for others
            if self.gone:
                raise Suspend
            return None
        future: asyncio.Future[InboxRow | None] = self.loop.create_future()
        if listen is not None:
            self.mail.listen(listen, future)
        if due is not None:
            self._arm(future, due)
        self._waits[future] = status
        try:
            news: InboxRow | None = await self.block(future)
            return news
        except asyncio.CancelledError:
            self._return_mail(future)
            raise
        finally:
            del self._waits[future]
            if due is not None:
                self.dues.pop(future, None)
            if listen is not None:
                self.mail.hush(listen, future)

    def _return_mail(self, future: asyncio.Future[InboxRow | None]) -> None:
        """Keep for others what a branch was handed at the moment it was cancelled."""
        over = future.done() and not future.cancelled() and future.exception() is None
        if over and (row := future.result()) is not None:
            self.mail.put_back(row)
            self._hand_out(row)

    async def block(self, future: asyncio.Future[Any]) -> Any:
        """Wait for a future that ``release`` settles; the branch is not busy meanwhile."""
        if self.gone:
            raise Suspend
        self._blocked[future] = None
        self._less_busy()
        try:
            return await future
        finally:
            if future in self._blocked:
                del self._blocked[future]
                self._more_busy()

    def _less_busy(self) -> None:
        self.busy -= 1
        if self.busy == 0:
            self.worker.rests(self)
            self.settle_soon()

    def _more_busy(self) -> None:
        self.busy += 1
        if self.busy == 1:
            self.worker.stirs(self)

    def release(self, future: asyncio.Future[Any], value: object) -> None:
        """Let a blocked branch go on; from this moment it counts as busy."""
        if not future.done():
            if future in self._blocked:
                del self._blocked[future]
                self._more_busy()
            future.set_result(value)

    def _arm(self, future: asyncio.Future[Any], due: int) -> None:
        self.dues[future] = due
        self._look_again(future, due, 0)

    def _look_again(self, future: asyncio.Future[Any], due: int, least: float) -> None:
        pause = max(min((due - self.worker.clock.now()) / SECOND, LOOK_SECONDS), least)
        self._timers[future] = self.loop.call_later(pause, self._fire, future, due)

    def _fire(self, future: asyncio.Future[Any], due: int) -> None:
        self._timers.pop(future, None)
        if due <= self.worker.clock.now() and not (self._parking or self.gone):
            self.release(future, None)
        elif not (future.done() or self.gone):
            self._look_again(future, due, 0.001)

    def deliver(self, row: InboxRow) -> None:
        """Take in a row of this run's inbox; one that is known already is ignored."""
        if self.gone or row.inbox_id in self.mail:
            return
        if row.kind == "cancel":
            self._cancel(row)
        elif row.kind == "pause":
            self.mail.rows[row.inbox_id] = row
            self.pausing = row
            self.settle_soon()
        elif row.kind == "query" and self.worker.live is not None:
            self.worker.live.ask(self, row)
        else:
            self.mail.rows[row.inbox_id] = row
            if not self._parking:
                self._hand_out(row)

    def _hand_out(self, row: InboxRow) -> None:
        future = self.mail.hand_out(row)
        if future is not None:
            self.release(future, row)

    # leaving
    def settle_soon(self) -> None:
        """Look, once this turn of the loop is over, whether the run should leave memory."""
        if self._settling is None and not self.gone:
            self._settling = self.loop.call_soon(self._settle, False)

    def _settle(self, lingered: bool) -> None:
        self._settling = None
        away = self.gone or self._parking or self.cancelling or self.executing
        if away or (self.busy > 0 and self.pausing is None):
            return
        if self.pausing is None and not lingered:
            soonest = min(self.dues.values(), default=None)
            wait = LINGER if soonest is None else (soonest - self.worker.clock.now()) / SECOND
            known = soonest is not None and not self.mail.awaited
            lingers = self._standing() is Status.RUNNING and (self.worker.may_linger(self) or self._between)
            if wait <= LINGER and soonest is not None and lingers:
                return
            if not known and lingers:
                self._settling = self.loop.call_later(LINGER, self._settle, True)
                return
        if self.busy == 0 or self.pausing is not None:
            self._parking = True
            task = self.loop.create_task(self._park())
            self.tasks[task] = None
            task.add_done_callback(self._end_task)

    async def _park(self) -> None:
        try:
            news = await self._leave()
        except Suspend:
            self.drop()
            return
        self._parking = False
        if news is None:
            self.drop()
            return
        for row in [*self.mail.rows.values(), *news]:
            if row.kind in {"signal", "child", "update"} and row.inbox_id in self.mail.rows:
                self._hand_out(row)
            else:
                self.deliver(row)
        if self.busy == 0:
            self.settle_soon()

    async def _leave(self, ready: bool = False) -> list[InboxRow] | None:
        soonest = min(self.dues.values(), default=None)
        if self.pausing is not None:
            by = orjson.loads(self.pausing.payload)
            self.mail.consume(self.pausing)
            event = NewEvent("run_paused", None, to_json({"by": by["by"]}), self.worker.clock.now())
            reason = by["reason"] or "paused_by_user"
            park = Park("paused", soonest, Status.PAUSED, reason, heard=self.mail.unwanted)
            news: list[InboxRow] | None = await self.commit([event], park=park)
        elif self._between and not ready:
            news = []  # what it was to wait for has ended meanwhile: it goes on by itself
        else:
            waits = "timer" if soonest is not None and not self.mail.awaited else self._reason()
            ready = ready or self.held_back
            standing = Status.RUNNING if ready else self._standing()
            why = None if standing is Status.RUNNING else "awaiting_review"
            park = Park(waits, None if ready else soonest, standing, why, ready=ready, heard=self.mail.unwanted)
            news = await self.commit([], park=park)
        return news

    def _standing(self) -> Status:
        """Return the status of the run while it waits: that of its people when it waits for nobody else."""
        found = set(self._waits.values())
        if not found or Status.RUNNING in found:
            return Status.RUNNING
        return Status.WAITING_HUMAN if Status.WAITING_HUMAN in found else Status.WAITING_APPROVAL

    def _reason(self) -> str:
        names = self.mail.awaited
        return names[0] if len(names) == 1 else f"{len(names)} things" if names else "idle"

    @property
    def _between(self) -> bool:
        """Whether the run waits for nothing: branches have ended, and whoever gathers them has not gone on yet."""
        return not (self.dues or self.mail.awaited or self.held_back)

    async def write_long_steps(self, edge: int) -> None:
        """Write down the start of steps that began before ``edge``, once."""
        long = [(path, at) for path, at in self.executing.items() if 0 < at < edge]
        if long:
            self.executing.update((path, 0) for path, _ in long)
            await self.commit([late_opening(path, at) for path, at in long])

    async def give_back(self) -> None:
        """Return the run to its queue: this process shuts down."""
        with suppress(Suspend):
            if self._parking:  # that may be refused: what has come is heard first, or the run waited for it once more
                await self.barrier()
        if self.gone or self.cancelling:
            return
        self._parking, self.pausing = True, None
        try:
            with suppress(Suspend):
                if await self._leave(ready=self.busy > 0 or bool(self.executing) or self._between):
                    await self._leave(ready=True)
        finally:
            self.abandon()

    @property
    def held_up(self) -> bool:
        """Whether no step may start: the run is being paused or cancelled, or the process shuts down."""
        return self.pausing is not None or self.cancelling or self.worker.stopping

    async def hold(self) -> None:
        """Keep a branch from starting a step."""
        self.held_back = True
        await self.block(self.loop.create_future())

    def _cancel(self, row: InboxRow) -> None:
        if self.cancelling:
            return
        self.cancelling = True
        task = self.loop.create_task(self._end_cancelled(row))
        self.worker.keep(task)

    async def _end_cancelled(self, row: InboxRow) -> None:
        said = orjson.loads(row.payload)
        reason = said["reason"] or "cancelled_by_user"
        error = to_json({"type": "Cancelled", "message": reason})
        finish = Finish(Status.CANCELLED, error=error, reason=reason, children=True, by=said["by"])
        finish.parent_run_id = self.claimed.head.parent_run_id
        self.mail.consume(row)
        events = cancel_events(said["by"], reason, "holder", self.worker.clock.now())
        try:
            with suppress(Suspend):
                await self.commit(list(events), finish=finish)
                self.worker.finished(self, finish)
        finally:
            self.abandon()

    def withhold(self, reason: str) -> None:
        """Pause the run for a reason of the engine's own, as a letter would."""
        if self.pausing is None:
            said = to_json({"by": "engine", "reason": reason})
            self.pausing = InboxRow(f"withheld:{self.run_id}", self.run_id, "pause", "", None, said, 0)
        self.settle_soon()

    # branches
    def branch(
        self, scope: Scope[Run], work: Callable[[], Awaitable[Any]], done: Callable[[asyncio.Task[Any]], None]
    ) -> asyncio.Task[Any]:
        """Run ``work`` in a task of its own that the engine knows under ``scope``; ``done`` hears of its end."""
        context = copy_context()
        context.run(CURRENT.set, scope)
        self.progress += 1
        self._more_busy()

        async def go() -> Any:
            try:
                value = await work()
            except asyncio.CancelledError as error:
                raise own_error(error) from error
            scope.leave()
            return value

        def ended(task: asyncio.Task[Any]) -> None:
            self._end_task(task)
            scope.task = None
            self.progress += 1
            if not task.cancelled() and isinstance(error := task.exception(), Suspend):  # and so seen, whatever it is
                error.__traceback__ = None
            done(task)
            self._less_busy()

        task = self.loop.create_task(go(), context=context)
        scope.task = task
        self.tasks[task] = None
        task.add_done_callback(ended)
        return task


def late_opening(path: str, at: int) -> NewEvent:
    """Return the event of the start of a step that has begun already."""
    name = path.rpartition("/")[2].rpartition("#")[0]
    return NewEvent("step_started", path, f'{{"step_id":"{name}","type":"step"}}', at)
