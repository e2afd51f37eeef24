"""A memory store as a backend: one per simulated (or real) process, any number on one store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import sqlalchemy as sa

from windlass.engine.ports import Ring
from windlass.kernel.clock import Clock
from windlass.storage.memory.leases import KeptLease
from windlass.storage.memory.reader import MemoryReader
from windlass.storage.memory.session import MemorySession
from windlass.storage.memory.store import MemoryStore
from windlass.storage.rings import HELLO, spoken

T = TypeVar("T")


class MemoryBackend:
    """One process's way to a store. Closing it leaves the store as it is."""

    name = "memory"
    own_transactions = False

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.reader = MemoryReader(store)
        self._holder: str | None = None

    def write_session(self) -> MemorySession:
        return MemorySession(self.store)

    def read(self, fn: Callable[[sa.Connection], T]) -> T:
        with self.store.turn():
            self.store.raw.execute("BEGIN")
            self.store.raw.execute("PRAGMA query_only = ON")
            try:
                return fn(self.store.sql)
            finally:
                self.store.raw.execute("PRAGMA query_only = OFF")
                self.store.raw.execute("ROLLBACK")

    def agree(self) -> Clock:
        return self.store.clock

    def keep_lease(self, holder: str, ttl: float, lost: Callable[[], None]) -> AbstractContextManager[KeptLease]:
        return self.store.life.keep(holder, ttl, lost)

    @contextmanager
    def listen(self, holder: str, ring: Callable[[str], None]) -> Iterator[None]:
        self._holder = holder
        for bell in list(self.store.doorbells.values()):
            bell(HELLO)
        self.store.doorbells[holder] = ring
        try:
            yield
        finally:
            self._holder = None
            del self.store.doorbells[holder]

    def ring(self, rings: Sequence[Ring]) -> None:
        kinds = {spoken(ring) for ring in rings if ring.kind != "inbox"}
        spoken_to = {ring.holder for ring in rings if ring.kind == "inbox"}
        for holder, bell in list(self.store.doorbells.items()):
            if holder != self._holder:
                for kind in sorted(kinds | {"inbox"} if holder in spoken_to else kinds):
                    bell(kind)

    def sweep(self, holder: str) -> None:
        """Nothing is kept beside the store."""

    def close(self) -> None:
        self._holder = None
