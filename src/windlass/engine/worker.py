"""The part of a process that holds runs: it claims them, keeps them, and takes over those of the dead (5, 6, 7, 12)."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from windlass.engine.claiming import Turns
from windlass.engine.control import CLAIM, TAKEOVER, TakeoverRequest, retire
from windlass.engine.errors import Fenced, Suspend, WriteFailed
from windlass.engine.host import Held, Live
from windlass.engine.ops import CALL, Commits
from windlass.engine.orphans import Guardian
from windlass.engine.outcomes import MILLISECOND
from windlass.engine.ports import Backend, Keeper, Ring
from windlass.engine.registry import Registry
from windlass.engine.run import Run
from windlass.engine.turn import EndOfTurn
from windlass.engine.types import (
    ClaimedRun,
    ClaimRequest,
    Ended,
    Event,
    Finish,
    Lease,
    NewRun,
    Poll,
    RunHead,
    Status,
)
from windlass.engine.watching import Audience
from windlass.kernel.clock import SECOND, Clock
from windlass.kernel.errors import Unavailable
from windlass.kernel.feed import PAGE
from windlass.kernel.ids import new_id
from windlass.kernel.lanes import LaneRules
from windlass.kernel.pace import Pace
from windlass.kernel.telemetry import Telemetry
from windlass.kernel.threads import DaemonThreads

T = TypeVar("T")

POLL_SECONDS = 1.0
STOP_SECONDS = 5.0
"""How long a process that shuts down waits for its database."""
READ_SECONDS = 30.0
"""How long a read waits for its answer; a frozen server gives none."""
RENEW_ROUNDS = 20
"""After how many polls a process tells the others once more which runs are followed in it."""
ORPHAN_ROUNDS = 30
"""After how many polls a process looks for children of ended runs that another may have left open."""
LONG_STEP = 1 * SECOND
"""A step that runs longer than this has its start written down while it runs."""


class Worker:
    """Holds runs under one lease.

    Args:
        backend: the database.
        commits: its committer.
        transactions: where transactional steps run (the committer itself on SQLite).
        registry: the workflows this process knows.
        clock: the one clock.
        concurrency: how many runs may be busy before no more are taken; those that wait do not count.
        threads: how many plain-function steps may run at once.
        lease_seconds: how long a silent process is believed to live.
        queues: take runs of these queues only.
        claims: False makes a process that starts and watches runs but never holds one.
        lanes: the limits of lanes where nobody has set one.
    """

    def __init__(  # noqa: PLR0913  the settings of a process
        self,
        backend: Backend,
        commits: Commits,
        transactions: Commits,
        registry: Registry,
        clock: Clock,
        *,
        concurrency: int,
        threads: int,
        lease_seconds: float,
        queues: Sequence[str] | None,
        claims: bool,
        telemetry: Telemetry,
        lanes: LaneRules,
    ) -> None:
        self.backend = backend
        self.commits = commits
        self.transactions = transactions
        self.registry = registry
        self.clock = clock
        self.concurrency = concurrency
        self.lease_seconds = lease_seconds
        self.queues = None if queues is None else tuple(queues)
        self.claims = claims
        self.telemetry = telemetry
        self.lanes = lanes
        self.live: Live | None = None
        self.holder = ""
        self.runs: dict[str, Run] = {}
        self.active = 0
        self.births = 0
        self.backlog = True
        self.restricted: frozenset[str] = frozenset()
        self.results: dict[str, list[asyncio.Future[Ended | None]]] = {}
        self.audience = Audience(
            lambda ids: backend.ring([Ring("follow", run_id) for run_id in ids]),
            lambda since: self.read(lambda: backend.reader.news(since, PAGE)),
            self._spawn,
        )
        self.random = random.Random().random  # noqa: S311  jitter, not secrets
        self._pool = DaemonThreads(threads, "windlass-step")
        self._readers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="windlass-read")
        self._lease = ExitStack()
        self._keeper: Keeper | None = None
        self._guardian = Guardian(commits, clock)
        self._rounds = 0
        self._turns = Turns(lanes_first=True)
        self._bell = asyncio.Event()
        self._drained = asyncio.Event()
        self.pace, self.turn = Pace(lease_seconds), EndOfTurn()
        self._alarm: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self.stopping = False
        self._ended = self._withdrawn = False
        self._patience_ends = 0.0
        self._reliving = False
        self._loop: asyncio.AbstractEventLoop | None = None

    # life
    async def start(self) -> None:
        """Take a lease and begin to claim."""
        self._loop, self.turn = asyncio.get_running_loop(), EndOfTurn()
        self.stopping = self._withdrawn = False
        await self._take_lease()
        self._loops = [self._loop.create_task(self._poll_loop(), name="windlass-poll")]
        if self.claims:
            self._bell.set()
            self._loops.append(self._loop.create_task(self._claim_loop(), name="windlass-claim"))

    async def stop(self, grace: float) -> None:
        """Give every run back and end the lease; running steps get ``grace`` seconds to finish.

        A database that is away is not waited for: others take the runs over once the lease has run out.
        """
        if not self._withdrawn:
            await self._withdraw(grace)
        self._ended = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.audience.dismiss()
        await asyncio.to_thread(self._readers.shutdown)

    async def withdraw(self) -> None:
        """Give every run back once its running steps have ended, and end the lease; ``start`` comes back from this."""
        await self._withdraw(None)
        self._withdrawn = True

    async def _withdraw(self, grace: float | None) -> None:
        self.stopping = True
        for loop in self._loops:
            loop.cancel()
        self._patience_ends = self.clock.monotonic() + STOP_SECONDS + (grace or 0)
        await self._patiently(self._loops)
        if grace is None or grace > 0:
            await self._drain(grace)
        if grace is None:
            self._patience_ends = self.clock.monotonic() + STOP_SECONDS
        for run in list(self.runs.values()):
            self.keep(asyncio.get_running_loop().create_task(run.give_back()))
        await self._patiently(self._tasks)
        await self._end_lease()
        self._set_alarm(None)
        self._lease.close()
        ended = "this process has been stopped" if grace is not None else "this process has given its runs back"
        for future in [future for waiting in self.results.values() for future in waiting]:
            if not future.done():
                future.set_exception(Unavailable(ended))

    @property
    def ending(self) -> bool:
        """Whether this process shuts down, or its event loop does: that cancels whatever it finds."""
        return self.stopping or any(loop.cancelling() for loop in self._loops)

    async def _patiently(self, work: Collection[asyncio.Future[Any]]) -> None:
        """Wait for the rest of our work, but for a database that is away only so long."""
        if work:
            await asyncio.wait(work, timeout=max(self._patience_ends - self.clock.monotonic(), 0))

    async def _end_lease(self) -> None:
        holder = self.holder
        try:
            ending = self.commits.submit(CALL, lambda tx: retire(tx, holder))
            ending.add_done_callback(_see)
            await self._patiently([ending])
            ended = ending.done() and ending.exception() is None
        except Unavailable:
            ended = False
        if not ended:
            self.telemetry.event("lease.not_ended", holder=holder)

    async def _drain(self, grace: float | None) -> None:
        """Wait until no step is running any more."""
        self._drained.clear()
        if any(run.executing for run in self.runs.values()):
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._drained.wait()

    def step_ended(self) -> None:
        """Hear that a step ended while this process shuts down."""
        if not any(run.executing for run in self.runs.values()):
            self._drained.set()

    async def _take_lease(self) -> None:
        self.holder = holder = new_id()
        loop = asyncio.get_running_loop()

        def lost() -> None:
            loop.call_soon_threadsafe(self._lose, holder)

        def ring(kind: str) -> None:
            loop.call_soon_threadsafe(self.heard, kind)

        names = ",".join(one.code for one in self.registry.definitions) if self.claims else ""
        lease = Lease(holder, socket.gethostname(), os.getpid(), names)
        self._keeper = self._lease.enter_context(self.backend.keep_lease(holder, self.lease_seconds, lost))
        await self.commits.submit(CALL, lambda tx: tx.add_lease(lease, self.lease_seconds))
        self._lease.enter_context(self.backend.listen(holder, ring))

    def _lose(self, holder: str) -> None:
        """Drop everything: the lease is gone, others may hold our runs by now."""
        if holder != self.holder or self._reliving or self.stopping:
            return
        self._reliving = True
        self.telemetry.event("lease.lost", holder=holder, runs=len(self.runs))
        for run in list(self.runs.values()):
            run.abandon()
        self.keep(asyncio.get_running_loop().create_task(self._relive()))

    async def _relive(self) -> None:
        """Take another lease, as soon as the database gives one."""
        while not self.stopping:
            self._lease.close()
            self._lease = ExitStack()
            try:
                await self._take_lease()
            except Exception as error:
                self.telemetry.event("lease.failed", error=repr(error))
                await asyncio.sleep(POLL_SECONDS)
            else:
                break
        self._reliving = False
        self._bell.set()

    def check_lease(self) -> None:
        """Refuse to start a step once the lease may have run out by our own clock.

        Raises:
            Suspend: it may have; the run unwinds.
        """
        keeper = self._keeper
        if keeper is not None and self.clock.monotonic() > keeper.valid_until:
            self._lose(self.holder)
            raise Suspend

    def lease_holds(self) -> bool:
        """Say whether our lease holds for certain, by our own clock; any thread may ask."""
        keeper = self._keeper
        return keeper is None or self.clock.monotonic() <= keeper.valid_until

    # claiming
    async def _claim_loop(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                while (room := self.concurrency - self.active - self.births) > 0 and not self._reliving:
                    if not await self._claim(room):
                        break
                else:
                    self.backlog = True
            except Fenced:
                self._lose(self.holder)
            except Exception as error:
                self.telemetry.event("claim.failed", error=repr(error))

    async def _claim(self, room: int) -> bool:
        self._turns.next()
        request = ClaimRequest(
            self.holder, self.registry.codes, self.queues, min(room, 1000), self.clock.now(),
            self.lanes, self._turns.cursor, self._turns.lanes_first,
        )  # fmt: skip
        holder = self.holder
        claim = self.commits.submit(CLAIM, request)
        try:
            answer = await claim
        finally:
            # What was claimed is ours, also when this loop has been told to end meanwhile.
            if claim.done() and claim.exception() is None and holder == self.holder and not self._reliving:
                for claimed in claim.result().runs:
                    self.adopt(claimed)
        self.backlog = self._turns.more(request, answer)
        self._set_alarm(answer.next_wake)
        return self.backlog

    def _set_alarm(self, next_wake: int | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if next_wake is not None and self._loop is not None:
            delay = (next_wake - self.clock.now()) / SECOND
            if delay < POLL_SECONDS * self.pace.stretch * 2:
                self._alarm = self._loop.call_later(max(delay, 0.001), self._take_turn)

    def _take_turn(self) -> None:
        self.pace.take_turn(self._bell.set, lambda: self._spawn(self._look), self.random)

    def adopt(self, claimed: ClaimedRun) -> None:
        """Run what has been claimed for this holder."""
        run = Run(self, self.registry.get(claimed.head.name, claimed.interface_version), claimed)
        self.runs[run.run_id] = run
        self.active += 1
        if run.history is None:
            self.telemetry.run_started(run.workflow.name, run.run_id, claimed.tenant_id, claimed.attributes)
        run.start()

    def birth(self, queue: str, code: str) -> str | None:
        """Return our holder id when a new run may start here at once: nothing waits before it and there is room."""
        if (
            self.backlog
            or not self.claims
            or self.stopping
            or self._reliving
            or self.active + self.births >= self.concurrency
            or self.limits(queue)
            or (self.queues is not None and queue not in self.queues)
            or not self.registry.knows(code)
        ):
            return None
        self.births += 1
        return self.holder

    def born(self, run: NewRun, held: bool, landed: bool) -> None:
        """Take in a run that was born here, once it is on disk (``landed``), or hear that it never will be.

        ``held`` says whether it was to be ours.
        """
        if held:
            self.births -= 1
        if landed and run.holder is not None and run.holder == self.holder and not (self.stopping or self._reliving):
            head = RunHead(
                run.run_id, run.name, run.status, None, None, run.holder, run.last_seq, run.queue, run.priority,
                0, None, None, 0, run.parent_run_id, run.on_end, "", run.lane,
            )  # fmt: skip
            self.adopt(
                ClaimedRun(head, run.inputs, run.tenant_id, run.owner, run.key, run.attributes, run.interface_version)
            )

    # what runs tell
    def rests(self, run: Held) -> None:
        """Give a run's place away while all of it waits."""
        if run.counted:
            run.counted = False
            self.active -= 1
            if self.backlog:
                self._bell.set()

    def stirs(self, run: Held) -> None:
        """Count a run again that goes on without having left."""
        if not run.counted and not run.gone:
            run.counted = True
            self.active += 1

    def left(self, run: Held) -> None:
        """Forget a run that left memory."""
        if self.runs.get(run.run_id) is run:
            del self.runs[run.run_id]
        self.rests(run)
        if self.bound(run):
            self._bell.set()
            self.backend.ring([Ring("ready", run.run_id)])

    def limits(self, queue: str) -> bool:
        """Whether a queue is paused or limited, as far as this process has heard."""
        return queue in self.restricted or "*" in self.restricted

    def bound(self, run: Held) -> bool:
        """Whether others may wait for the place of a run."""
        return run.claimed.head.lane != "" or self.limits(run.claimed.head.queue)

    def finished(self, run: Held, finish: Finish) -> None:
        """Answer those who wait for a run that ended here."""
        claimed, now = run.claimed, self.clock.now()
        took = (now - (claimed.events[0].at if claimed.events else run.begun)) / MILLISECOND
        tenant = claimed.tenant_id
        self.telemetry.run_finished(run.workflow.name, run.run_id, finish.status.value, tenant, max(0.0, took))
        if run.run_id in self.results:
            result = finish.outputs if finish.status is Status.SUCCEEDED else finish.error
            self.answer(run.run_id, Ended(run.run_id, finish.status, result))

    def answer(self, run_id: str, ended: Ended | None) -> None:
        """Wake the callers that wait for the end of a run; None sends them to look for themselves."""
        for future in self.results.pop(run_id, ()):
            if not future.done():
                future.set_result(ended)

    def fenced(self, run: Held) -> None:
        """A write of a run was refused: it is not ours any more."""
        run.drop()
        self._spawn(self._check_own_lease)

    async def _check_own_lease(self) -> None:
        holder = self.holder
        if not await self.read(lambda: self.backend.reader.lease_is_live(holder)):
            self._lose(holder)

    def may_linger(self, run: Held) -> bool:
        """Whether a waiting run may stay in memory for a moment: not when it would keep a place that is limited."""
        return not (self.stopping or self.bound(run))

    # helpers
    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a reference to a task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run a plain function in a step thread."""
        return asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def read(self, call: Callable[[], T]) -> T:
        """Run a read in a thread.

        Raises:
            Unavailable: the database does not answer, or this process has been stopped.
        """
        if self._ended:
            raise Unavailable("this process has been stopped")
        deadline = asyncio.timeout(READ_SECONDS)
        try:
            async with deadline:
                return await asyncio.get_running_loop().run_in_executor(self._readers, call)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise Unavailable("the database does not answer") from None

    # hearing
    def on_rings(self, rings: Sequence[Ring], written: Sequence[Event] = ()) -> None:
        """Take the doorbells and events of a commit, on the thread that wrote it: ours at once, others' as rings."""
        if news := self.audience.hear(written):
            rings = [*rings, *(Ring("news", run_id) for run_id in news)]
        if not rings:
            return
        loop = self._loop
        ours = [ring for ring in rings if self._concerns_us(ring)]
        if ours and loop is not None:
            try:
                loop.call_soon_threadsafe(self._hear_rings, ours)
            except RuntimeError:
                self.telemetry.event("doorbell.late", rings=len(ours))
            if any(ring.kind == "orphans" for ring in ours):
                rings = [ring for ring in rings if ring.kind != "orphans"]
        self.backend.ring(rings)

    def _concerns_us(self, ring: Ring) -> bool:
        if ring.kind == "inbox":
            return ring.holder == self.holder
        return ring.kind in {"ready", "orphans"} or ring.run_id in self.results

    def _hear_rings(self, rings: Sequence[Ring]) -> None:
        self._care([ring.run_id for ring in rings if ring.kind == "orphans"])
        for ring in rings:
            if ring.kind == "ready":
                self._bell.set()
            elif ring.kind == "ended":
                if ring.run_id not in self.runs:
                    self.answer(ring.run_id, None)
            elif ring.inbox is not None and (run := self.runs.get(ring.run_id)) is not None:
                run.deliver(ring.inbox)

    def _care(self, ended: list[str]) -> None:
        if ended:
            self.keep(asyncio.get_running_loop().create_task(self._try(lambda: self._guardian.care(ended))))

    def ring_claims(self) -> None:
        """Look for runs to claim."""
        self._bell.set()

    def heard(self, kind: str) -> None:
        """Take a doorbell that another process rang."""
        kind, _, run_id = kind.partition(":")
        if kind == "ready":
            self._take_turn()
        elif kind == "inbox":
            self._spawn(self._look)
        elif kind == "news":
            self.audience.look([run_id])
        elif kind == "follow":
            if self.audience.ask(run_id):
                self.backend.ring([Ring("news", run_id)])
        elif kind == "hello":
            self.audience.announce()
        elif self.results:
            self._spawn(self._look_for_results)

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        if not self.stopping:
            self.keep(asyncio.get_running_loop().create_task(self._try(work)))

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do at once what the next poll will do anyway if this fails."""
        try:
            await work()
        except Exception as error:
            self.telemetry.event("poll.failed", error=repr(error))

    async def _poll_loop(self) -> None:
        while True:
            self.pace.idle = not (self.runs or self.results or self.audience.here)
            await asyncio.sleep(POLL_SECONDS * self.pace.stretch * (0.9 + 0.2 * self.random()))
            try:
                await self._look()
                if self.results:
                    await self._look_for_results()
                self.audience.look_elsewhere(self.runs)
                await self._write_long_steps()
                if self._rounds % RENEW_ROUNDS == 0:
                    self.audience.renew()
                if self._rounds % ORPHAN_ROUNDS == 0:
                    self._care(await self.read(lambda: self.backend.reader.orphaned(1000)))
                self._rounds += 1
            except WriteFailed as error:
                self.telemetry.event("poll.failed", error=str(error))
            except Exception as error:
                self.telemetry.event("poll.failed", error=repr(error))

    def _ask(self, holder: str, codes: tuple[str, ...]) -> Poll:
        return self.backend.reader.poll(holder, codes, self.clock.now(), self.lanes)

    async def _look(self) -> None:
        codes, holder = self.registry.codes if self.claims else (), self.holder
        held, began = dict(self.runs), self.clock.monotonic()
        poll: Poll = await self.read(lambda: self._ask(holder, codes))
        self.restricted, self.pace.fleet = poll.restricted, poll.fleet
        self.pace.took = self.clock.monotonic() - began
        for row in poll.inbox:
            # A run claimed meanwhile has its inbox already, and may have consumed what was read before.
            run = held.get(row.run_id)
            if run is not None:
                run.deliver(row)
        if poll.ready:
            self._bell.set()
        else:
            self._set_alarm(poll.next_wake)
        for dead in poll.dead:
            moved = await self.take_over(dead)
            self.telemetry.event("lease.taken_over", holder=dead, runs=moved)

    async def take_over(self, dead: str) -> int:
        """Give the runs of a dead process back and remove what it left; returns how many runs it held."""
        moved = 0
        while count := await self.commits.submit(TAKEOVER, TakeoverRequest(dead, False, self.clock.now())):
            moved += count
            self._bell.set()
        await self.read(lambda: self.backend.sweep(dead))
        await self.commits.submit(CALL, lambda tx: tx.forget_lease(dead))
        self._rounds = 0
        return moved

    async def _look_for_results(self) -> None:
        # Whoever asks later, after a retry say, must not hear what was read before.
        asked = {run_id: list(futures) for run_id, futures in self.results.items()}
        for request in [key for key in asked if "/" in key]:
            self.answer(request, None)
        for ended in await self.read(lambda: self.backend.reader.ended(list(asked))):
            for future in asked[ended.run_id]:
                if not future.done():
                    future.set_result(ended)

    async def _write_long_steps(self) -> None:
        edge = self.clock.now() - LONG_STEP
        for run in list(self.runs.values()):
            with suppress(Suspend):
                await run.write_long_steps(edge)


def _see(future: asyncio.Future[Any]) -> None:
    """Take note of an answer that may come when nobody waits for it any more."""
    if not future.cancelled():
        future.exception()
