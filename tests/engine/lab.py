"""Processes on one database, each an engine as a server sets it up, that end in order or crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import orjson
import pytest

from tests.storage.databases import NOTES, Database, memory_database
from tests.support.waiting import wait_until_async
from windlass import Engine, Handle
from windlass.engine.ops import CALL, Commits, Operation
from windlass.engine.ports import Backend, Transaction
from windlass.engine.types import TERMINAL, Event, RunView
from windlass.engine.worker import Worker
from windlass.kernel.clock import SystemClock
from windlass.live.api import Live
from windlass.storage.batches import BatchWriter, Pending
from windlass.storage.committer import Committer
from windlass.storage.invariant import adrift
from windlass.storage.own import OwnTransactions

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

IN_MEMORY = pytest.mark.parametrize("database", ["memory"], indirect=True)
"""For what the engine decides before it comes to a database."""


class MovableClock(SystemClock):
    """The machine's clock, which a test moves on by days."""

    def __init__(self) -> None:
        self._ahead = 0

    def now(self) -> int:
        """Return wall time in microseconds."""
        return super().now() + self._ahead

    def move(self, **span: float) -> None:
        """Let time pass; takes what ``timedelta`` takes."""
        self._ahead += timedelta(**span) // timedelta(microseconds=1)


class Mortal:
    """A committer that hears nothing more from its process once that has crashed."""

    def __init__(self, commits: Committer | OwnTransactions) -> None:
        self.inner = commits
        self.dead = False

    def submit(self, op: Operation[A, R], unit: A, *, bounded: bool = False) -> asyncio.Future[R]:
        """Queue a unit; see ``engine.ops.Commits``."""
        if self.dead:
            return asyncio.get_running_loop().create_future()
        return self.inner.submit(op, unit, bounded=bounded)


@dataclass(eq=False)
class Process:
    """What one process has: its way to the database, its writers, its engine."""

    backend: Backend
    writers: list[Mortal]
    engine: Engine


@dataclass
class Lab:
    """One database, one clock, and any number of processes."""

    database: Database
    clock: MovableClock = field(default_factory=MovableClock)
    processes: dict[Engine, Process] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    # processes
    async def engine(self, *, limit: int = 10_000, **settings: Any) -> Engine:
        """Start a process and return its engine; ``settings`` go to it, ``limit`` to its committer."""
        backend = self.database.open()
        main = Committer(backend.write_session(), limit=limit)
        writers: list[Committer | OwnTransactions] = [main]
        if backend.own_transactions:
            sessions = [backend.write_session() for _ in range(2)]
            writers.append(OwnTransactions(sessions, on_rings=lambda *news: hear(*news)))  # noqa: PLW0108  not made yet
        mortals = [Mortal(writer) for writer in writers]
        commits: list[Commits] = [*mortals]
        engine = Engine(backend, commits[0], transactions=commits[-1], live=Live, **{"clock": self.clock, **settings})
        main.on_rings = hear = engine.worker.on_rings
        for writer in writers:
            writer.start()
        self.processes[engine] = Process(backend, mortals, engine)
        await engine.start()
        return engine

    async def stop(self, engine: Engine, grace: float = 5.0) -> None:
        """End a process in order."""
        process = self.processes.pop(engine)
        await engine.stop(grace)
        self._close(process)

    async def crash(self, engine: Engine) -> None:
        """Abandon a process as ``kill -9`` does: no word to the database, every task gone; all others see it dead."""
        process = self.processes[engine]
        worker = engine.worker
        self.freeze(engine)
        del self.processes[engine]
        worker.stopping = True
        tasks = _gone(worker, {*worker._loops, *worker._tasks})
        if worker._alarm is not None:
            worker._alarm.cancel()
        worker._lease.close()
        worker._pool.shutdown(wait=False, cancel_futures=True)
        worker._readers.shutdown()
        self._close(process)
        self.write(lambda tx: self.database.after_death(tx, worker.holder))
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*_gone(worker, set()), return_exceptions=True)  # claimed in the very last moment

    def freeze(self, engine: Engine) -> None:
        """Let nothing that a process writes reach the database any more."""
        for writer in self.processes[engine].writers:
            writer.dead = True

    @staticmethod
    def _close(process: Process) -> None:
        for writer in process.writers:
            writer.inner.close()
        process.backend.close()

    async def close(self) -> None:
        """Stop what still runs; nothing of the processes may be left, and every open run must have a wake-up."""
        lost = self._adrift()
        for engine in list(self.processes):
            await self.stop(engine, grace=0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:  # on a busy machine the last of them are about to end
            _, left = await asyncio.wait(left, timeout=30)
        assert not left, left
        assert not self.complaints, self.complaints
        assert not lost, lost

    def _adrift(self) -> list[str]:
        if self.database.kind == "memory" or not self.processes:
            return []
        backend = next(iter(self.processes.values())).backend
        return [run.finding for run in backend.read(lambda connection: adrift(connection, ()))]

    # beside the engine
    def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run ``fn`` in a transaction that no engine knows of."""
        backend = self.database.open()
        session = backend.write_session()
        answers, _, _ = BatchWriter(session).write([Pending(CALL, fn, ThreadFuture(), None, False)])
        session.close()
        backend.close()
        value, error = answers[0]
        if error is not None:
            raise error
        answer: T = value
        return answer

    def notes(self) -> list[str]:
        """Return what user code wrote into a table of its own."""
        backend = self.database.open()
        query = NOTES.select().order_by(NOTES.c.note_id)
        rows = backend.read(lambda connection: connection.execute(query).all())
        backend.close()
        return [row[1] for row in rows]

    def pass_time(self, **span: float) -> None:
        """Move the clock on and have every process look what is due."""
        self.clock.move(**span)
        for engine in self.processes:
            engine.worker.ring_claims()


_note_ids = count(1)


def add_note(tx: Transaction, text: str) -> None:
    """Write a row into a table that is not the engine's."""
    tx.execute("INSERT INTO notes (note_id, text) VALUES (:id, :text)", {"id": next(_note_ids), "text": text})


@pytest.fixture(name="lab")
async def lab_in_memory() -> AsyncIterator[Lab]:
    """A database in memory to start processes on; for the conftest of tests that need no other."""
    database, store = memory_database()
    made = Lab(database)
    yield made
    await made.close()
    store.close()


async def parked(handle: Handle) -> RunView:
    """Wait until a run has left memory and return it."""

    async def gone() -> RunView | None:
        view = await handle.status()
        asleep = view.holder is None and view.wait_reason is not None and view.status not in TERMINAL
        return view if asleep else None

    view = await wait_until_async(gone, what=f"{handle} asleep")
    assert view is not None
    return view


async def status_of(handle: Handle, *wanted: str) -> RunView:
    """Wait until a run has one of these statuses and return it."""

    async def reached() -> RunView | None:
        view = await handle.status()
        return view if view.status in wanted else None

    view = await wait_until_async(reached, what=f"{handle} {' or '.join(wanted)}")
    assert view is not None
    return view


async def journal(engine: Engine, handle: Handle) -> list[Event]:
    """Return a run's events, after a check that they count 1, 2, 3 …"""
    events = await engine.events(handle.run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return events


async def event_types(engine: Engine, handle: Handle) -> list[str]:
    """Return the types of a run's events in order."""
    return [event.type for event in await journal(engine, handle)]


async def payloads(engine: Engine, handle: Handle, kind: str) -> list[dict[str, Any]]:
    """Return the payloads of a run's events of one type."""
    return [orjson.loads(event.payload) for event in await journal(engine, handle) if event.type == kind]


def _gone(worker: Worker, tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Cancel tasks of a process and of all its runs; returns them."""
    for run in list(worker.runs.values()):
        tasks.update(run.tasks)
        run.abandon()
    for task in tasks:
        task.cancel()
    return tasks
