"""One life of a workflow in which something goes wrong at one commit, and everything that can be seen of it."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from windlass.engine.continuing import latest
from windlass.engine.errors import Suspend
from windlass.engine.registry import Definition, Registry
from windlass.engine.run import Run
from windlass.engine.scope import CURRENT
from windlass.engine.step import Step
from windlass.engine.types import TERMINAL, Event, RunHead
from windlass.kernel.clock import SECOND
from windlass.kernel.ids import process_ids
from windlass.storage.memory.store import MemoryStore
from windlass.testing.driver import Driver
from windlass.testing.heavy import threaded
from windlass.testing.simulation.faults import Fate
from windlass.testing.simulation.loop import PROCESS, WORLD, SimLoop
from windlass.testing.simulation.process import EPOCH
from windlass.testing.simulation.sites import SimMemory
from windlass.testing.simulation.world import World
from windlass.testing.watch import Watch
from windlass.values.codec import digest

RUN_ID = "crash-everywhere"
STOPPED = "stopped in order after it"
"""What else than a ``Fate`` can follow a commit: the process gives its runs back, and another goes on."""

TOLD = {
    "stream": "SELECT stream, item_json FROM workflow_stream_items WHERE run_id = ? AND step_id IS NULL"
    " ORDER BY stream, item_offset",
    "published": "SELECT key, value_json FROM workflow_published WHERE run_id = ?",
}
"""What a run has told by its own code: the same in every life. What an attempt of a step wrote stays when it failed."""
MOST_TURNS = 300_000
"""Callbacks after which something is going round in circles."""
QUIET = 1800 * SECOND
"""How long a run may be held without any commit, in microseconds of virtual time."""


AT_WORK = SECOND // 2
"""What is due so soon, in microseconds, is part of something that goes on: only the rounds of the idle come later."""


class Stuck(Exception):
    """The run will not end."""


@dataclass
class Case:
    """What is lived through again and again."""

    workflow: Definition
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    registry: Registry
    drive: Callable[[Driver], Awaitable[None]] | None = None
    signals: Sequence[tuple[str, object]] = ()
    effects: Callable[[], Sequence[object]] | None = None
    tables: sa.MetaData | None = None
    fresh: Callable[[], object] | None = None
    reboot: Callable[[], object] | None = None


@dataclass
class Life:
    """What came of it. ``met`` says whether there was a commit of the appointed number."""

    commits: int = 0
    met: bool = True
    stuck: str | None = None
    status: str | None = None
    outputs: str | None = None
    error: str | None = None
    heads: dict[str, RunHead] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    ends: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    journals: dict[str, list[Event]] = field(default_factory=dict)
    calls: int = 0
    repeated: list[str] = field(default_factory=list)
    asked: dict[tuple[str, str], str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    swallowed: list[str] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    @property
    def journal(self) -> list[Event]:
        """Return that of the run itself."""
        return self.journals.get(RUN_ID, [])


class CrashLoop(SimLoop):
    """Jumps over the rounds of idle processes to the next moment at which a run or a test goes on."""

    horizon: Callable[[], int | None] = staticmethod(lambda: None)

    def _jump(self) -> None:
        at_work = bool(self._timers) and self._timers[0][0] < self.us + AT_WORK
        until = None if at_work else self.horizon()
        if until is not None and until > self.us:
            self.us = until
        else:
            super()._jump()

    def outside(self) -> list[int]:
        """Return the times of timers that belong to no process."""
        return [at for at, _, handle in self._timers if not handle.cancelled() and owner(handle) == WORLD]


def owner(handle: asyncio.Handle) -> str:
    """Return which process a callback belongs to."""
    return handle._context.get(PROCESS, WORLD)  # type: ignore[attr-defined, no-any-return]


class LifeWorld(World):
    """Processes one after the other: whenever one is gone, the next is started."""

    loop: CrashLoop
    store: SimMemory

    def __init__(self, case: Case, seed: str, stop_at: int | None) -> None:
        self.memory: MemoryStore | None = None
        self.life = Life()
        registry = Registry()
        for definition in case.registry.definitions:
            registry.add(self._guarded(definition))
        if not registry.knows(case.workflow.code):
            registry.add(self._guarded(case.workflow))
        super().__init__(seed, self._make, registry, loop=CrashLoop)
        if case.tables is not None:
            self._tables().create_tables(case.tables)
        self.case = case
        self.ended = asyncio.Event()
        self._stop_at = stop_at
        self._over = False
        self._last = self.loop.us
        self.loop.horizon = self._horizon
        self.loop.between = self._between

    def _make(self, clock: Any) -> SimMemory:
        self.memory = MemoryStore(clock)
        return SimMemory(self.memory)

    def _tables(self) -> MemoryStore:
        if self.memory is None:
            raise RuntimeError("the store is made with the world")
        return self.memory

    def _guarded(self, definition: Definition) -> Definition:
        """Return a workflow that tells when its code goes on although its run is gone."""
        made = copy.copy(definition)

        async def code(**arguments: Any) -> Any:
            run = current_run()
            try:
                value = await definition.fn(**arguments)
            except (Suspend, asyncio.CancelledError, GeneratorExit):
                raise
            except BaseException:
                self._told(run, definition)
                raise
            self._told(run, definition)
            return value

        made.fn = code
        return made

    def _told(self, run: Run, definition: Definition) -> None:
        if run.gone and not self._over:
            self.life.swallowed.append(definition.name)

    # processes
    def kill(self, name: str) -> None:
        """Kill a process, and start the next."""
        super().kill(name)
        self._replace()

    def _replace(self) -> None:
        if not self._over:
            context = copy_context()
            context.run(PROCESS.set, WORLD)
            self.loop.call_soon(self._rise, context=context)

    def _rise(self) -> None:
        if not self._over:
            if self.case.reboot is not None:
                self.case.reboot()
            process = self.boot(worker=True, concurrency=100, threads=4)
            process.engine.worker.random = placed_dice(process.engine.worker.random)

    def committed(self, process: str) -> None:
        """See how far the run is, after each commit."""
        self._last = self.loop.us
        heads = self.store.heads()
        if heads and RUN_ID in heads and all(head.status in TERMINAL for head in heads.values()):
            self.ended.set()
        if self._stop_at is not None and self.faults.commits >= self._stop_at and process in self.processes:
            self._stop_at = None
            context = copy_context()
            context.run(PROCESS.set, WORLD)
            self.loop.call_soon(self._retire, process, context=context)

    def _retire(self, name: str) -> None:
        process = self.processes.get(name)
        if process is not None and process.up:
            self.loop.create_task(self.stop(process, 0.0))
            self._replace()

    # time
    def _horizon(self) -> int | None:
        """Return when a run or the test goes on, while all of them wait; None: processes have things to do."""
        heads = self.store.heads()
        if not self.up or not heads or RUN_ID not in heads:
            return None
        times = self.loop.outside()
        if any(head.holder is not None or head.ready_at is not None for head in heads.values()):
            return None
        wake = self._tables().runs.next_wake()
        if wake is not None:
            times.append(wake[0] - EPOCH)
        if not times and not self.ended.is_set():
            waiting = ", ".join(
                head.wait_reason or head.status for head in heads.values() if head.status not in TERMINAL
            )
            self._give_up(f"it does not end: it waits for {waiting}; send it with signals= or drive=")
        until = min(times, default=None)
        self._last = max(self._last, until or 0)
        return until

    def _between(self) -> None:
        if self.loop.turns > MOST_TURNS:
            self._give_up("it does not end: its code goes round in circles")
        if self.loop.us - self._last > QUIET and not self._over:
            self._give_up(
                "it does not end: for half an hour its code has waited for something that the engine does not know"
            )

    def _give_up(self, why: str) -> None:
        self.life.stuck = why
        self.collect()
        raise Stuck(why)

    # looking
    def called(self, run: Run, path: str, mark: str) -> None:
        """Hear that the body of a step begins, and with which input."""
        self.life.calls += 1
        journal, _ = latest(self.store.journal(run.run_id), "")
        part = f"{run.run_id} from {journal[0].seq if journal else 1}"
        if self.life.asked.setdefault((part, path), mark) != mark:
            self.life.changed.append(path)
        for place, event in enumerate(journal):
            if (
                event.type == "step_completed"
                and event.step_id == path
                and "run_retried" not in {later.type for later in journal[place:]}
            ):
                self.life.repeated.append(path)

    def collect(self) -> None:
        """Keep what the store holds."""
        life = self.life
        life.commits = self.faults.commits
        life.heads = self.store.heads()
        life.versions = {run_id: self._tables().runs[run_id].born.interface_version for run_id in life.heads}
        life.journals = {run_id: self.store.journal(run_id) for run_id in life.heads}
        life.inputs = {run_id: self.store.inputs(run_id) for run_id in life.heads}
        life.ends = {run_id: self.store.ended(run_id) for run_id in life.heads}
        if RUN_ID in life.heads:
            life.status = life.heads[RUN_ID].status
            life.outputs, life.error = life.ends[RUN_ID]
        raw = self._tables().raw
        for what, query in TOLD.items():
            life.rows.extend(f"{what} {row!r}" for row in raw.execute(query, (RUN_ID,)))
        if self.case.tables is not None:
            for table in self.case.tables.sorted_tables:
                rows = raw.execute(f'SELECT * FROM "{table.name}"').fetchall()  # noqa: S608  a name of the test's own
                life.rows.extend(f"{table.name} {row!r}" for row in rows)


def live(case: Case, *, seed: str = "0", fate: str | None = None, commit: int = 0, watch: Watch | None = None) -> Life:
    """Live through a workflow once; commit number ``commit`` meets ``fate``."""
    if case.fresh is not None:
        case.fresh()
    world = LifeWorld(case, seed, commit if fate == STOPPED else None)
    if fate is not None and fate != STOPPED:
        world.faults.appointed[commit] = Fate(fate)
    try:
        with _steps(world), nullcontext() if watch is None else watch(world.loop), suppress(Stuck):
            world.run(_history)
    finally:
        world._over = True
        process_ids.follow()
    life = world.life
    life.met = world._stop_at is None and commit not in world.faults.appointed
    if case.effects is not None:
        life.effects = [repr(effect) for effect in case.effects()]
    return life


async def _history(world: LifeWorld) -> None:
    case = world.case
    world._rise()
    driver = Driver(world, RUN_ID)
    await driver.start(case.workflow, case.args, case.kwargs)
    for name, payload in case.signals:
        await driver.signal(name, payload)
    driving = None if case.drive is None else world.loop.create_task(_whole(case.drive(driver)))
    ended = world.loop.create_task(_whole(world.ended.wait()))
    both = {ended} if driving is None else {ended, driving}
    while not ended.done():
        done, both = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    if driving is not None:
        driving.cancel()
    world._over = True
    world.collect()


async def _whole(work: Awaitable[Any]) -> None:
    await work


def current_run() -> Run:
    """Return the run whose code calls this."""
    scope = CURRENT.get()
    if scope is None:
        raise RuntimeError("works inside a workflow only")
    return scope.run  # type: ignore[no-any-return]


@contextmanager
def _steps(world: LifeWorld) -> Iterator[None]:
    """Count the calls of steps' bodies, and let random values hang on their place in the run alone."""
    attempt, transact = Step._attempt, Step._transact

    async def counted(self: Any, run: Run, path: str, number: int, args: Any, kwargs: Any) -> Any:
        world.called(run, path, digest(args, kwargs, path))
        return await attempt(threaded(self), run, path, number, args, kwargs)

    async def counted_too(self: Any, run: Run, path: str, mark: str, *rest: Any) -> Any:
        world.called(run, path, mark)
        return await transact(self, run, path, mark, *rest)

    Step._attempt, Step._transact = counted, counted_too  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Step._attempt, Step._transact = attempt, transact  # type: ignore[method-assign]


def placed_dice(fallback: Callable[[], float]) -> Callable[[], float]:
    """Return dice that fall the same at the same place of a run, in whatever process."""
    thrown: dict[str, int] = {}

    def throw() -> float:
        scope = CURRENT.get()
        if scope is None:
            return fallback()
        place = f"{scope.run.run_id} {scope.prefix} {sorted(scope.counts.items())}"
        number = thrown[place] = thrown.get(place, 0) + 1
        return random.Random(f"{place} {number}").random()  # noqa: S311  a test's

    return throw
