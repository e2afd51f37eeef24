"""Where simulated processes keep their data: one store they share, and each one's own way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

from windlass.engine.ports import Backend, Keeper, Reader
from windlass.engine.types import Event, InboxRow, RunHead
from windlass.storage.memory.backend import MemoryBackend
from windlass.storage.memory.store import MemoryStore
from windlass.testing.simulation.faults import Faults, FaultySession
from windlass.testing.simulation.loop import SimLoop
from windlass.testing.simulation.process import LEASE_SECONDS

T = TypeVar("T")


class Site(Protocol):
    """One process's way to the store. It is left behind by a crash, without a word."""

    backend: Backend

    def session(self) -> FaultySession:
        """Open the connection that writes."""
        ...

    def crash(self) -> None:
        """Let go of all that an operating system takes from a dead process."""
        ...

    def freeze(self) -> None:
        """Stop renewing leases."""
        ...

    def thaw(self) -> None:
        """Renew leases again, or tell the process that they are lost."""
        ...


class Store(Protocol):
    """The database, seen by nobody but the checks: never through a fault."""

    name: str
    lease_seconds: float
    """How long a lease lasts by the database's own clock."""

    def site(self, process: str, faults: Faults, committed: Callable[[], None]) -> Site:
        """Return a new process's way in."""
        ...

    def heads(self) -> dict[str, RunHead]:
        """Return every run."""
        ...

    def journal(self, run_id: str) -> list[Event]:
        """Return a run's events in order."""
        ...

    def unread(self) -> dict[str, list[InboxRow]]:
        """Return what is in the inboxes, by run."""
        ...

    def live(self, holder: str) -> bool:
        """Say whether a lease holds."""
        ...

    def slots(self) -> list[tuple[str, str]]:
        """Return which queue has given a place to which run, and which limit of lanes, as ``lane NAME``."""
        ...

    def ended(self, run_id: str) -> tuple[str | None, str | None]:
        """Return outputs and error of a run as JSON text."""
        ...

    def inputs(self, run_id: str) -> str:
        """Return the inputs of a run as JSON text."""
        ...

    def close(self) -> None:
        """Remove the store."""
        ...


class FaultyReader:
    """A reader that sometimes gets no answer."""

    def __init__(self, inner: Reader, process: str, faults: Faults) -> None:
        self._inner = inner
        self._process = process
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def ask(*args: Any, **kwargs: Any) -> Any:
            self._faults.read(self._process)
            return method(*args, **kwargs)

        return ask


def in_own_context(call: Callable[..., object]) -> Callable[..., None]:
    """Return ``call`` as others make it: on a thread of the process that gave it to them, a little later."""
    context = copy_context()
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimLoop):
        raise TypeError("works inside a simulation only")

    def made(*args: object) -> None:
        context.copy().run(loop.in_thread, loop.pause(), lambda: _call(call, *args))

    return made


def _call(call: Callable[..., object], *args: object) -> None:
    call(*args)


class MemorySite(MemoryBackend):
    """A process on a memory store."""

    def __init__(self, store: MemoryStore, process: str, faults: Faults, committed: Callable[[], None]) -> None:
        super().__init__(store)
        self.backend: Backend = self
        self.reader: Any = FaultyReader(self.reader, process, faults)
        self._process = process
        self._faults = faults
        self._committed = committed
        self._leases: list[str] = []
        self._frozen: list[str] = []
        self._sessions: list[FaultySession] = []

    def session(self) -> FaultySession:
        session = FaultySession(self.write_session(), self._process, self._faults, self._committed, primitives=True)
        self._sessions.append(session)
        return session

    @contextmanager
    def keep_lease(self, holder: str, ttl: float, lost: Callable[[], None]) -> Iterator[Keeper]:  # type: ignore[override]
        with super().keep_lease(holder, ttl, in_own_context(lost)) as keeper:
            self._leases.append(holder)
            try:
                yield keeper
            finally:
                self._leases.remove(holder)

    @contextmanager
    def listen(self, holder: str, ring: Callable[[str], None]) -> Iterator[None]:
        with super().listen(holder, in_own_context(ring)):
            yield

    def crash(self) -> None:
        for session in self._sessions:
            session.kill()
        self.freeze()

    def freeze(self) -> None:
        self._frozen = list(self._leases)
        for holder in self._frozen:
            self.store.life.freeze(holder)

    def thaw(self) -> None:
        for holder in self._frozen:
            if holder in self._leases:
                self.store.thaw(holder)


class SimMemory:
    """The store in RAM."""

    name = "memory"
    lease_seconds = LEASE_SECONDS

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def site(self, process: str, faults: Faults, committed: Callable[[], None]) -> Site:
        return MemorySite(self._store, process, faults, committed)

    def heads(self) -> dict[str, RunHead]:
        return {run_id: row.head for run_id, row in self._store.runs.items()}

    def journal(self, run_id: str) -> list[Event]:
        return self._store.events.of(run_id)

    def unread(self) -> dict[str, list[InboxRow]]:
        return {run_id: self._store.inbox.unread_of(run_id) for run_id in self._store.inbox.unread}

    def live(self, holder: str) -> bool:
        return self._store.is_live(holder)

    def slots(self) -> list[tuple[str, str]]:
        seats = [(f"lane {name}", run_id) for (name, run_id), _ in self._store.seats.items()]
        return [key for key, _ in self._store.slots.items()] + seats

    def ended(self, run_id: str) -> tuple[str | None, str | None]:
        row = self._store.runs[run_id]
        return row.outputs, row.error

    def inputs(self, run_id: str) -> str:
        return self._store.runs[run_id].born.inputs

    def close(self) -> None:
        self._store.close()
