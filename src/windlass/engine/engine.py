"""The engine: one per process and database. Starts runs, speaks to them, and (with a worker) carries them out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

from windlass.engine.control import CONTROL, SIGNAL, check_control
from windlass.engine.errors import UnknownRun
from windlass.engine.handle import Handle, outcome
from windlass.engine.journal import START, StartRuns
from windlass.engine.ops import CALL, Commits, Operation
from windlass.engine.ports import Backend, Transaction
from windlass.engine.registry import Definition, Registry, check_name, check_text, default_registry
from windlass.engine.starting import KEY_SECONDS, Start, request
from windlass.engine.types import (
    ControlRequest,
    ControlResult,
    Ended,
    Event,
    RunFilter,
    RunView,
    SignalRequest,
    Started,
    StartRequest,
    TellControl,
)
from windlass.engine.worker import Worker
from windlass.kernel.checks import check_limit
from windlass.kernel.clock import Clock, SystemClock
from windlass.kernel.feed import News
from windlass.kernel.ids import new_id
from windlass.kernel.lanes import LaneRules
from windlass.kernel.telemetry import Silent, Telemetry
from windlass.kernel.versions import code_of
from windlass.values.codec import encode

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")


class Engine:
    """Durable execution over a backend. Use it as an async context manager, or ``start`` and ``stop`` it.

    Args:
        backend: the database.
        commits: its committer.
        transactions: where transactional steps run; the committer itself by default.
        registry: the workflows this process knows.
        clock: the one clock.
        worker: whether this process carries runs out; without, it only starts and watches them.
        concurrency: how many runs may be busy before no more are taken.
        threads: how many plain-function steps may run at once.
        lease_seconds: how long a silent process is believed to live.
        queues: carry out runs of these queues only.
        telemetry: who hears what happens.
        lanes: the limits of lanes where nobody has set one.
        live: makes what answers for runs that are open, ``windlass.live.api.Live``.
    """

    def __init__(  # noqa: PLR0913  the settings of a process
        self,
        backend: Backend,
        commits: Commits,
        *,
        transactions: Commits | None = None,
        registry: Registry | None = None,
        clock: Clock | None = None,
        worker: bool = True,
        concurrency: int = 1000,
        threads: int = 32,
        lease_seconds: float = 15.0,
        queues: Sequence[str] | None = None,
        telemetry: Telemetry | None = None,
        lanes: LaneRules | None = None,
        live: Callable[[Engine], Any] | None = None,
    ) -> None:
        self.backend = backend
        self.commits = commits
        self.registry = default_registry if registry is None else registry
        self.clock = clock or SystemClock()
        self.worker = Worker(
            backend,
            commits,
            transactions or commits,
            self.registry,
            self.clock,
            concurrency=concurrency,
            threads=threads,
            lease_seconds=lease_seconds,
            queues=queues,
            claims=worker,
            telemetry=telemetry or Silent(),
            lanes=lanes or LaneRules(),
        )
        self.live: Any = None if live is None else live(self)
        self.worker.live = self.live

    async def start(self) -> None:
        """Take a lease and begin to carry out runs."""
        await self.worker.start()

    async def stop(self, grace: float = 5.0) -> None:
        """Give runs back to their queues and end the lease; running steps get ``grace`` seconds to finish."""
        await self.worker.stop(grace)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # starting
    async def start_run(  # noqa: PLR0913  the options of a start
        self,
        workflow: Definition | str,
        *args: Any,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        key_seconds: float = KEY_SECONDS,
        delay: float | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        key: str | None = None,
        tenant_id: str = "default",
        owner: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        bounded: bool = True,
        **kwargs: Any,
    ) -> Handle:
        """Start a run; when this returns it is on disk.

        Args:
            workflow: the workflow, or its name.
            args: its input; keyword arguments that are not named below are input too.
            run_id: an id of the caller's own; nothing is started when it is taken.
            idempotency_key: starts once per tenant, workflow and key; a repetition gets the first run's handle.
            key_seconds: how long the key is remembered.
            delay: seconds to wait first.
            at: when to start.
            queue: another queue than the workflow's own.
            priority: smaller goes first.
            key: a concurrency key, kept with the run.
            tenant_id: whose run it is.
            owner: who started it.
            attributes: JSON data to find it by.
            bounded: refuse when too many writes are waiting.
            kwargs: input by name.

        Raises:
            UnknownWorkflow: nothing has this name here.
            NotSerializable, Invalid: the input or an option does not fit; names it.
            RunConflict: the idempotency key was used with another input, or ``run_id`` is taken.
            Overloaded: too many writes are waiting; nothing was started.
        """
        wanted = Start(
            workflow, args, kwargs, run_id, idempotency_key, key_seconds, delay, at, queue, priority, key, tenant_id,
            owner, attributes,
        )  # fmt: skip
        started = await self.begin(self.request(wanted), bounded=bounded)
        return Handle(self, started.run_id, started.created)

    def request(self, start: Start) -> StartRequest:
        """Return the checked request for a run; see ``starting.request``."""
        return request(start, self.registry, self.clock.now(), self.lanes)

    @property
    def lanes(self) -> LaneRules:
        """Return the limits of lanes where nobody has set one."""
        return self.worker.lanes

    async def begin(self, request: StartRequest, *, bounded: bool = True, op: StartRuns = START) -> Started:
        """Start the run of a request by a kind of start; when this returns it is on disk. See ``start_run``."""
        run = request.run
        code = code_of(run.name, run.interface_version)
        holder = None if run.wake_at is not None else self.worker.birth(run.queue, code)
        run.holder = holder
        landed = False
        try:
            starting = self.commits.submit(op, request, bounded=bounded)
            try:
                return await starting
            finally:
                landed = starting.done() and starting.exception() is None and starting.result().created
        finally:
            self.worker.born(run, holder is not None, landed)

    @staticmethod
    def begin_in(tx: Transaction, request: StartRequest, op: StartRuns = START) -> Started:
        """Start the run of a request inside an open transaction: both happen, or neither."""
        tx.lock_runs(op.locks(request))
        answer = op.apply(tx, [request])[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def start_run_in(  # noqa: PLR0913  the options of a start
        self,
        tx: Transaction,
        workflow: Definition | str,
        *args: Any,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        key_seconds: float = KEY_SECONDS,
        delay: float | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        key: str | None = None,
        tenant_id: str = "default",
        owner: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """Start a run inside an open transaction and return its id: both happen, or neither. See ``start_run``."""
        wanted = Start(
            workflow, args, kwargs, run_id, idempotency_key, key_seconds, delay, at, queue, priority, key, tenant_id,
            owner, attributes,
        )  # fmt: skip
        return self.begin_in(tx, self.request(wanted)).run_id

    # speaking to runs
    async def signal(self, run_id: str, name: str, payload: object = None, *, dedup_id: str | None = None) -> bool:
        """Send a signal. It waits for the run to ask for it; False means the run had this ``dedup_id`` already.

        Raises:
            UnknownRun: there is no such run.
            RunConflict: it has ended.
        """
        return await self.commits.submit(SIGNAL, self._signal(run_id, name, payload, dedup_id), bounded=True)

    def signal_in(
        self, tx: Transaction, run_id: str, name: str, payload: object = None, *, dedup_id: str | None = None
    ) -> bool:
        """Send a signal inside an open transaction; see ``signal``."""
        tx.lock_runs([run_id])
        answer = SIGNAL.apply(tx, [self._signal(run_id, name, payload, dedup_id)])[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _signal(self, run_id: str, name: str, payload: object, dedup_id: str | None) -> SignalRequest:
        text = encode(payload, f"payload of signal {name}")
        check_text("dedup_id", dedup_id)
        return SignalRequest(run_id, check_name(name), text, dedup_id, new_id(), self.clock.now())

    async def control(
        self,
        run_id: str,
        action: str,
        *,
        by: str = "user",
        reason: str | None = None,
        tell: TellControl | None = None,
    ) -> ControlResult:
        """Cancel, pause, resume or retry a run.

        Args:
            run_id: which.
            action: cancel, pause, resume or retry.
            by: who asks for it.
            reason: why; kept with the run.
            tell: hears of it in the transaction that does it.

        Returns:
            ``applied``, ``already_applied``, or ``sent``: the run's holder does it within a second.

        Raises:
            Invalid: no such action.
            UnknownRun: there is no such run.
            RunConflict: the run's state does not allow it; its outcome is unchanged.
        """
        check_control(action, by, reason)
        request = ControlRequest(run_id, action, by, reason, new_id(), self.clock.now(), tell)
        return await self.commits.submit(CONTROL, request, bounded=True)

    async def set_queue(self, queue: str, *, limit: int | None = None, paused: bool = False) -> None:
        """Limit how many runs of a queue may be held at once, over all processes; ``*`` limits all together.

        Raises:
            Invalid: the limit is below 1 or too high.
        """
        check_limit(limit)
        name = queue if queue == "*" else check_name(queue)
        await self.commits.submit(CALL, lambda tx: tx.set_queue(name, limit, paused), bounded=True)
        if limit is not None or paused:
            self.worker.restricted |= {name}
        self.worker.ring_claims()

    # reading
    def handle(self, run_id: str) -> Handle:
        """Return a handle for a run of any process."""
        return Handle(self, run_id)

    async def get_run(self, run_id: str) -> RunView:
        """Return a run.

        Raises:
            UnknownRun: there is none.
        """
        view = await self.worker.read(lambda: self.backend.reader.get_run(run_id))
        if view is None:
            raise UnknownRun(f"no run {run_id}", run_id=run_id)
        return view

    async def list_runs(self, query: RunFilter | None = None) -> list[RunView]:
        """Return runs, newest first."""
        wanted = query or RunFilter()
        return await self.worker.read(lambda: self.backend.reader.list_runs(wanted))

    async def events(self, run_id: str, *, since: int = 0, limit: int = 500) -> list[Event]:
        """Return a run's events after number ``since``, in order."""
        return await self.worker.read(lambda: self.backend.reader.events(run_id, since, limit))

    def follow(self, run_id: str, since: int = 0) -> AsyncIterator[News[Event]]:
        """Yield a run's events after number ``since`` as they are written; an empty list about once a second."""
        return self.worker.audience.follow(run_id, since)

    async def result(self, run_id: str, timeout: float | None = None, *, fresh: bool = False) -> Any:
        """Wait for a run to end and return its output; see ``Handle.result``.

        ``fresh``: it has just been started here, so it is not looked whether it is there and has ended already.
        """
        async with asyncio.timeout(timeout):
            while True:
                future = self._expect(run_id)
                try:
                    known = fresh or run_id in self.worker.runs
                    ended = await future if known else await self._ended(run_id, future)
                finally:
                    self._forget(run_id, future)
                fresh = False
                if ended is not None:
                    return outcome(ended)

    async def _ended(self, run_id: str, future: asyncio.Future[Ended | None]) -> Ended | None:
        """Look whether a run of another process has ended; if not, wait until it is said to have."""
        reader = self.backend.reader

        def look() -> tuple[list[Ended], bool]:
            known = reader.ended([run_id])
            return known, bool(known) or reader.get_run(run_id) is not None

        known, there = await self.worker.read(look)
        if not there:
            raise UnknownRun(f"no run {run_id}", run_id=run_id)
        return known[0] if known else await future

    def _expect(self, run_id: str) -> asyncio.Future[Ended | None]:
        future: asyncio.Future[Ended | None] = asyncio.get_running_loop().create_future()
        self.worker.results.setdefault(run_id, []).append(future)
        return future

    def _forget(self, run_id: str, future: asyncio.Future[Ended | None]) -> None:
        waiting = self.worker.results.get(run_id)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self.worker.results[run_id]
        if future.done() and not future.cancelled():
            future.exception()  # a process that stopped has told the caller in another way, too

    # for contexts
    async def submit(self, op: Operation[A, R], unit: A, *, bounded: bool = True) -> R:
        """Hand a unit to the committer; it answers once it is on disk."""
        return await self.commits.submit(op, unit, bounded=bounded)

    async def transact(self, fn: Callable[[Transaction], T], *, bounded: bool = True) -> T:
        """Run ``fn`` in the committer's next transaction, in a savepoint; answers once it is on disk.

        ``fn`` runs on the thread that writes for the whole process: keep it to a few statements.
        """
        value: T = await self.commits.submit(CALL, fn, bounded=bounded)
        return value

    def read(self, fn: Callable[[Any], T]) -> Awaitable[T]:
        """Run ``fn`` with a read-only SQLAlchemy connection on a thread."""
        return self.worker.read(lambda: self.backend.read(fn))
