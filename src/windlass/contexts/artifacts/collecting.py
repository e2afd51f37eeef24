"""Removing what is no longer needed: artifacts past their time, objects without an artifact, files without an object.

The database decides and the file follows: a row goes first, in a transaction that holds its runs and its object, so
a crash at any instant leaves at most a file that the next round removes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from windlass.contexts.artifacts import rows
from windlass.contexts.artifacts.examining import ON_THE_WAY_SECONDS
from windlass.contexts.artifacts.folder import INCOMING, OBJECTS
from windlass.contexts.artifacts.model import OBJECT, Artifact, FileMissing, NotAFile, OutsideRoot
from windlass.contexts.artifacts.objects import ObjectStore, checksum_of
from windlass.engine.engine import Engine
from windlass.engine.ops import Operation
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL
from windlass.kernel.clock import SECOND, to_iso

BATCH = 200
PAGE = 1000


@dataclass(slots=True)
class Collected:
    """What a round has removed; ``kept`` artifacts are past their time and belong to a run that an open run needs."""

    artifacts: int = 0
    kept: int = 0
    objects: int = 0
    orphans: int = 0
    uploads: int = 0

    @property
    def removed(self) -> int:
        """How many things there were to remove."""
        return self.artifacts + self.objects + self.orphans + self.uploads

    def view(self) -> dict[str, int]:
        """Return it as JSON."""
        return asdict(self)


class Drop(NamedTuple):
    """Artifacts to be removed unless a run of their run's line is open: ``lines`` has those by run."""

    some: Sequence[Artifact]
    lines: dict[str, list[str]]


class Drops(Operation[Drop, tuple[list[str], list[str]]]):
    """Removes artifacts of ended runs, which are locked: none of them is opened again meanwhile."""

    rank = 60

    def locks(self, unit: Drop) -> Iterable[str]:
        """Every run of every line."""
        return {run_id for line in unit.lines.values() for run_id in line if run_id}

    def quick(self, unit: Drop) -> bool:  # noqa: ARG002  whatever it is
        """It is not."""
        return False

    def apply(self, tx: Transaction, units: Sequence[Drop]) -> list[tuple[list[str], list[str]] | Exception]:
        """Remove them; returns the ids and the keys of objects for each unit."""
        answers: list[tuple[list[str], list[str]] | Exception] = []
        for unit in units:
            heads = tx.lock_runs(self.locks(unit))
            busy = {run_id for run_id, head in heads.items() if head.status not in TERMINAL}
            free = [one for one in unit.some if not busy.intersection(unit.lines[one.run_id])]
            answers.append(rows.remove(tx, free))
        return answers


DROP = Drops()


class Collector:
    """Collects garbage of one database and store.

    Args:
        engine: reads and writes.
        store: the objects.
        retention: seconds for which an artifact is kept.
        tell: hears of each artifact that was removed, with its fields.
    """

    def __init__(
        self, engine: Engine, store: ObjectStore, retention: float, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self._engine = engine
        self._store = store
        self._retention = retention
        self._tell = tell

    async def round(self) -> Collected:
        """Go once through everything, a bounded batch at a time."""
        found = Collected()
        await self._expired(found)
        await self._uploads(found)
        await self._unnamed(found)
        await self._orphans(found)
        return found

    async def _expired(self, found: Collected) -> None:
        before = to_iso(self._engine.clock.now() - int(self._retention * SECOND))
        after: tuple[str, str] | None = None
        while True:
            some = await self._engine.read(_reading(rows.old, before, after, BATCH))
            if not some:
                return
            after = (some[-1].created_at, some[-1].artifact_id)
            lines = await self._engine.read(_reading(rows.lineage, {one.run_id for one in some}))
            relatives = {run_id for line in lines.values() for run_id in line if run_id}
            ended = await self._engine.read(_reading(rows.ended, relatives))
            free = [one for one in some if _is_free(lines[one.run_id], ended)]
            found.kept += len(some) - len(free)
            if free:
                await self._drop(free, {one.run_id: lines[one.run_id] for one in free}, found)

    async def _drop(self, free: list[Artifact], lines: dict[str, list[str]], found: Collected) -> None:
        gone, keys = await self._engine.submit(DROP, Drop(free, lines))
        deleted = {key for key in keys if await self._delete(key)}
        found.objects += len(deleted)
        removed = set(gone)
        found.artifacts += len(removed)
        found.kept += len(free) - len(removed)
        for one in free:
            if one.artifact_id in removed:
                file = one.uri.removeprefix(OBJECT) in deleted or await self._foreign(one, found)
                self._tell({
                    "artifact_id": one.artifact_id, "run_id": one.run_id, "uri": one.uri, "status": "deleted",
                    "file_deleted": file, "row_deleted": True, "artifact_type": one.type,
                    "retention_days": self._retention / 86400,
                })  # fmt: skip

    async def _foreign(self, one: Artifact, found: Collected) -> bool:
        """Delete a file that is no object of ours and that no row names any more, where it is below the root."""
        if one.uri.startswith(OBJECT):
            return False
        try:
            key = self._store.locate(one.uri)
            ours = key.partition("/")[0] in {OBJECTS, INCOMING}
            if ours or await self._engine.read(_reading(rows.named, one.uri)):
                return False
            deleted = await self._store.delete(key)
        except (NotAFile, OutsideRoot):
            return False
        found.objects += deleted
        return deleted

    async def _uploads(self, found: Collected) -> None:
        before = to_iso(self._orphaned())
        while True:
            keys = await self._engine.transact(lambda tx: rows.forget_uploads(tx, before, BATCH))
            if not keys:
                return
            for key in keys:
                found.uploads += 1
                await self._delete(key)

    async def _unnamed(self, found: Collected) -> None:
        """Remove objects whose artifacts went with their run."""
        after = ""
        while True:
            keys = await self._engine.read(_reading(rows.object_page, after, PAGE))
            if not keys:
                return
            after = checksum_of(keys[-1])
            free = await self._engine.read(_reading(rows.unused, keys))
            for start in range(0, len(free), BATCH):
                part = free[start : start + BATCH]
                for key in await self._engine.transact(lambda tx, part=part: rows.release(tx, part)):  # type: ignore[misc]
                    found.objects += await self._delete(key)

    async def _orphans(self, found: Collected) -> None:
        before = self._orphaned()
        async for keys in self._store.keys(before):
            for key in await self._engine.read(_reading(rows.nobodys, keys)):
                found.orphans += await self._delete(key)
        found.uploads += await self._store.sweep(before)

    def _orphaned(self) -> int:
        return self._engine.clock.now() - ON_THE_WAY_SECONDS * SECOND

    async def _delete(self, key: str) -> bool:
        try:
            return await self._store.delete(key)
        except (OutsideRoot, FileMissing):
            return False


def _is_free(line: Sequence[str], ended: set[str]) -> bool:
    """Whether a run and all above it have ended; a line that is too long to be seen whole has not."""
    return not line[-1] and all(run_id in ended for run_id in line if run_id)


def _reading(fn: Callable[..., Any], *args: Any) -> Callable[[Any], Any]:
    return lambda connection: fn(connection, *args)


class Rounds:
    """Collects from time to time. Several processes may: what one has removed the others do not find.

    Args:
        collect: goes once through everything.
        tell: hears when that did not work.
    """

    def __init__(self, collect: Callable[[], Awaitable[Collected]], tell: Callable[..., None]) -> None:
        self._collect = collect
        self._tell = tell
        self._task: asyncio.Task[None] | None = None

    def start(self, interval: float) -> None:
        """Begin; a round starts ``interval`` seconds after the one before has ended."""
        self._task = asyncio.create_task(self._go_round(interval), name="windlass-artifacts")

    async def stop(self) -> None:
        """Stop doing so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_round(self, interval: float) -> None:
        while True:
            try:
                await self._collect()
            except Exception as error:  # noqa: BLE001  the next round tries again, and operators hear of it
                self._tell("artifacts.not_collected", error=str(error))
            await asyncio.sleep(interval)
