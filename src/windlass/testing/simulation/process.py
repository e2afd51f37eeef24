"""One simulated process: the real engine and the real committer, on a clock, dice and a store that are not real."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import Any, Protocol, TypeVar

from windlass.engine.engine import Engine
from windlass.engine.ops import Operation
from windlass.engine.ports import WriteSession
from windlass.engine.registry import Registry
from windlass.kernel.clock import SECOND
from windlass.kernel.telemetry import Silent
from windlass.live.api import Live
from windlass.storage.batches import RECONNECT_PAUSES, BatchWriter
from windlass.storage.committer import Committer
from windlass.testing.simulation.loop import PROCESS, WORLD, SimLoop

A = TypeVar("A")
R = TypeVar("R")

EPOCH = 1_700_000_000 * SECOND
LEASE_SECONDS = 5.0


class ProcessGone(Exception):
    """The process died with the call; nobody knows how far it had come."""


class SimClock:
    """Wall time of one machine, which may be set forward and back, and virtual monotonic time."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.offset = 0

    def now(self) -> int:
        return EPOCH + self._loop.us + self.offset

    def monotonic(self) -> float:
        return self._loop.time()

    def later(self, seconds: float, call: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """Have something happen in the world, whichever process asks for it."""
        context = copy_context()
        context.run(PROCESS.set, WORLD)
        return self._loop.call_at(self._loop.time() + seconds, call, *args, context=context)


class SimCommitter(Committer):
    """The real committer, whose thread is a callback now and then, and whose event loop may be late."""

    def __init__(
        self, session: WriteSession, loop: SimLoop, dice: random.Random, limit: int, max_batch: int = 1000
    ) -> None:
        super().__init__(session, limit=limit, patience=math.inf, max_batch=max_batch, monotonic=loop.time)
        self._sim = loop
        self._dice = dice
        self._writer = BatchWriter(session, self._pass_time)
        self._due = False

    def start(self) -> None:
        """There is no thread."""

    def soon(self, loop: asyncio.AbstractEventLoop, flush: Callable[[], None]) -> None:
        if self._dice.random() < 0.7:
            loop.call_soon(flush)
        else:
            loop.call_later(self._sim.pause() / SECOND, flush)

    def _wake_thread(self) -> None:
        if not self._due and self._queue:
            self._due = True
            self._sim.in_thread(self._sim.pause(), self._take_turn)

    def _take_turn(self) -> None:
        """Do what the thread does between two looks at its queue."""
        if not self._writing.acquire(blocking=False):
            self._sim.in_thread(self._sim.pause(), self._take_turn)
            return
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
        self._in_hand = len(batch)
        self._work(batch, 0)

    def _work(self, batch: list[Any], tries: int) -> None:
        kept = self._write(batch)
        if kept:
            pause = RECONNECT_PAUSES[min(tries, len(RECONNECT_PAUSES) - 1)]
            self._sim.in_thread(int(pause * SECOND), lambda: self._work(kept, tries + 1))
            return
        self._in_hand = 0
        self._due = False
        self._writing.release()
        self._wake_thread()

    def _pass_time(self, seconds: float) -> bool:
        self._sim.us += int(seconds * SECOND)
        return self._closing


class Own:
    """Transactional steps on connections of their own."""

    def __init__(self, committers: Sequence[SimCommitter]) -> None:
        self._committers = committers

    def submit(self, op: Operation[A, R], unit: A, *, bounded: bool = False) -> asyncio.Future[R]:
        """Hand a unit to the least busy connection."""
        return min(self._committers, key=lambda committer: committer.waiting).submit(op, unit, bounded=bounded)


class Told(Silent):
    """Telemetry for the trace."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def event(self, name: str, **fields: object) -> None:
        self._process.world.trace(f"{self._process.name} {name} {fields}")


class Room(Protocol):
    """What a process finds around it; see ``World``."""

    loop: SimLoop
    dice: random.Random
    store: Any
    faults: Any
    registry: Registry

    def trace(self, line: str) -> None:
        """Remember what happened."""
        ...

    def committed(self, process: str) -> None:
        """Hear that a commit of a process has reached the disk."""
        ...


class Process:
    """An operating system process with one engine.

    Args:
        name: never used twice.
        options: go to the engine.
    """

    def __init__(self, world: Room, name: str, **options: Any) -> None:
        self.world = world
        self.name = name
        self.options = options
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, name)
        self.dead = False
        self.frozen = self.stopped_once = False
        self.ready = False
        self.calls: dict[asyncio.Future[Any], None] = {}
        self.holders: set[str] = set()
        self.clock = SimClock(world.loop)
        self.context.run(self._build)

    def _build(self) -> None:
        world = self.world
        dice = random.Random(world.dice.getrandbits(64))
        self.site = world.store.site(self.name, world.faults, lambda: world.committed(self.name))
        session = self.site.session()
        self.committer = SimCommitter(session, world.loop, dice, limit=200)
        self.own: list[SimCommitter] = []
        if self.site.backend.own_transactions:
            self.own = [SimCommitter(self.site.session(), world.loop, dice, limit=200, max_batch=1) for _ in range(2)]
        self.engine = Engine(
            self.site.backend,
            self.committer,
            transactions=Own(self.own) if self.own else None,
            registry=world.registry,
            clock=self.clock,
            lease_seconds=world.store.lease_seconds,
            telemetry=Told(self),
            live=Live,
            **self.options,
        )
        self.engine.worker.random = dice.random
        for committer in (self.committer, *self.own):
            committer.on_rings = self.engine.worker.on_rings

    @property
    def up(self) -> bool:
        """Whether it can be called."""
        return self.ready and not self.dead

    @property
    def works(self) -> bool:
        """Whether it carries out runs."""
        return bool(self.options.get("worker", True))
