"""The world of our own simulation: it remembers what steps did, and watches over every promise at every instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Self

from tests.simulation.checks import Checks
from tests.simulation.ledger import LEDGER, Ledger
from tests.simulation.sites import Store
from windlass.engine.registry import Registry
from windlass.testing.simulation import world
from windlass.testing.simulation.process import SimClock


class World(world.World):
    """Everything of one simulation; see the kit's ``World``."""

    store: Store
    trouble = (*world.World.trouble, sqlite3.OperationalError)

    def __init__(
        self, seed: int | str, store: Callable[[SimClock], Store], registry: Registry, *, keep_trace: bool = False
    ) -> None:
        super().__init__(seed, store, registry, keep_trace=keep_trace)
        self.ledger = Ledger(self)
        self.checks = Checks(self)
        self.loop.between = self.checks.between
        self.limits: dict[str, int] = {}

    def complain(self, what: str, cause: BaseException | None = None) -> None:
        self.checks.complain(what, cause)

    def committed(self, process: str) -> None:
        self.checks.committed(process)

    def run(self, main: Callable[[Self], Awaitable[None]]) -> None:
        token = LEDGER.set(self.ledger)
        try:
            super().run(main)
        finally:
            LEDGER.reset(token)
