"""Where the simulation's processes keep their data: what a store of ours has beyond that of users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import sqlalchemy as sa

from windlass.engine.ports import Ring
from windlass.storage.memory.store import MemoryStore
from windlass.storage.rings import spoken
from windlass.testing.simulation import sites
from windlass.testing.simulation.sites import in_own_context

EFFECTS = sa.Table(
    "effects",
    sa.MetaData(),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("token", sa.Text, nullable=False),
)
"""A user's table: what transactional steps write. Nothing in it is unique, so that doubles show."""


SLOTS = """SELECT queue, run_id FROM workflow_queue_slots WHERE run_id IS NOT NULL
 UNION ALL SELECT 'lane ' || name, run_id FROM workflow_seats"""


class Store(sites.Store, Protocol):
    """A database with the table of effects."""

    def effects(self) -> list[tuple[str, str, str]]:
        """Return what transactional steps wrote: run, path, token."""
        ...


class Bells:
    """Doorbells between simulated processes; the loop delivers them late, a crash loses them."""

    def __init__(self) -> None:
        self._bells: dict[str, Callable[[str], None]] = {}

    @contextmanager
    def listen(self, holder: str, ring: Callable[[str], None]) -> Iterator[None]:
        """Let the others ring."""
        self._bells[holder] = in_own_context(ring)
        try:
            yield
        finally:
            self._bells.pop(holder, None)

    def ring(self, rings: list[Ring], own: str | None) -> None:
        """Ring the others."""
        kinds = {spoken(ring) for ring in rings if ring.kind != "inbox"}
        spoken_to = {ring.holder for ring in rings if ring.kind == "inbox"}
        for holder, bell in list(self._bells.items()):
            if holder != own:
                for kind in sorted(kinds | {"inbox"} if holder in spoken_to else kinds):
                    bell(kind)


class SimMemory(sites.SimMemory):
    """The store in RAM."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        store.create_tables(EFFECTS.metadata)

    def effects(self) -> list[tuple[str, str, str]]:
        rows = self._store.raw.execute("SELECT run_id, path, token FROM effects ORDER BY rowid").fetchall()
        return [(row[0], row[1], row[2]) for row in rows]
