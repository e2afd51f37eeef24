"""Which tenants and lanes have ready runs, found in the dicts: as the SQL databases are asked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from windlass.engine.types import NewRun
from windlass.kernel.lanes import LaneRules, default_of, limits_of, tenant_of
from windlass.kernel.versions import code_of
from windlass.storage.lanes.asking import Found, plan
from windlass.storage.lanes.choosing import LANES, TENANTS, Open, places
from windlass.storage.memory.store import MemoryStore, Turn


class Asking:
    """The two questions of a claim; see ``storage.lanes.asking``."""

    def __init__(self, store: MemoryStore, rules: LaneRules) -> None:
        self._store = store
        self._rules = rules
        self._lanes = store.runs.lanes()

    def plan(self, cursor: str, room: int, door: Open) -> Found:
        """Return what to take."""
        return plan(self._tenants, self._of_tenants, self._rules, cursor, room, door)

    def _after(self, lane: str) -> str | None:
        place = bisect_right(self._lanes, lane)
        return self._lanes[place] if place < len(self._lanes) else None

    def _tenants(self, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        newest = max((row.turn for _, row in self._store.turns.items() if row.turn is not None), default=None)
        rows: list[tuple[Any, ...]] = []
        lane = self._after(values[0])
        while lane is not None and len(rows) < TENANTS:
            name = tenant_of(lane)
            turn = self._store.turns.get(name) or Turn()
            rows.append((name, turn.weight, turn.turn, turn.lane, self._free(lane, name), newest))
            lane = self._after(f"{name}0")
        return rows

    def _of_tenants(self, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for name, cursor in orjson.loads(values[0]):
            rows.extend(self._side(name, 0, cursor or f"{name}/", f"{name}0"))
            if cursor:
                rows.extend(self._side(name, 1, f"{name}/", cursor))
        return rows

    def _side(self, tenant: str, side: int, lane: str, last: str) -> Iterator[tuple[Any, ...]]:
        for place in range(1, LANES + 1):
            found = self._after(lane)
            if found is None or found > last:
                return
            first = self._store.runs.ready_in(found, 1)[0].born
            names = limits_of(found)
            workflow = names[1] if found.split("/")[1] else ""
            free = self._free(found, workflow) if workflow else 1
            key = names[-1] if found[-1] != "/" else ""
            code = code_of(first.name, first.interface_version)
            yield (
                tenant, found, side, place, f"{first.queue} {code}", free, self._free(found, key) if key else 0,
            )  # fmt: skip
            lane = found if free > 0 else f"{workflow}0"

    def of_births(self, runs: Sequence[NewRun]) -> tuple[list[tuple[Any, ...]], list[tuple[str, int | None, int]]]:
        """Return what ``choosing.fitting`` wants to know of runs that are to be born claimed."""
        newest = max((row.turn for _, row in self._store.turns.items() if row.turn is not None), default=None)
        families: list[tuple[Any, ...]] = []
        for name in sorted({tenant_of(run.lane) for run in runs}):
            turn = self._store.turns.get(name) or Turn()
            waits = any(tenant_of(lane) == name for lane in self._lanes)
            families.append((name, turn.weight, turn.turn, newest, waits))
        names = sorted({name for name, _ in places(runs)})
        return families, [(name, self._store.limits.get(name), self._store.seats.taken(name)) for name in names]

    def _free(self, lane: str, name: str) -> int:
        most = self._store.limits.get(name)
        return (default_of(lane, name, self._rules) if most is None else most) - self._store.seats.taken(name)
