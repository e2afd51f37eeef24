"""Whether rows and files agree: an object whose file is gone, a file that no row names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from windlass.contexts.artifacts import rows
from windlass.contexts.artifacts.model import OBJECT, Artifact, OutsideRoot
from windlass.contexts.artifacts.objects import ObjectStore, checksum_of
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND

PAGE = 1000
MOST = 1000
"""How many objects and files a look at everything names; the next look finds the others."""
ON_THE_WAY_SECONDS = 3600
"""For how long a file that nobody names may still be on its way to a name."""


@dataclass(slots=True)
class Disagreement:
    """What a look at ``objects`` rows and all files has found: keys of both kinds."""

    objects: int = 0
    without_file: list[str] = field(default_factory=list)
    without_row: list[str] = field(default_factory=list)

    @property
    def in_doubt(self) -> bool:
        """Whether so much is missing that the store is more likely not the right one, or not there."""
        return len(self.without_file) * 2 > self.objects


@dataclass(slots=True)
class Mended:
    """What was removed: files, and artifacts; ``kept`` are those of open runs."""

    files: int = 0
    artifacts: list[Artifact] = field(default_factory=list)
    kept: int = 0


class Examiner:
    """Compares the rows of one database with the files of one store.

    Args:
        engine: reads and writes.
        store: the files.
        tell: hears of each artifact that is removed, with its fields.
    """

    def __init__(self, engine: Engine, store: ObjectStore, tell: Callable[..., None]) -> None:
        self._engine = engine
        self._store = store
        self._tell = tell

    async def look(self) -> Disagreement:
        """Look at every object and every file, some at a time."""
        found = Disagreement()
        after = ""
        while keys := await self._engine.read(_reading(rows.object_page, after, PAGE)):
            after = checksum_of(keys[-1])
            found.objects += len(keys)
            for key in keys:
                if len(found.without_file) < MOST and not await self._exists(key):
                    found.without_file.append(key)
        before = self._engine.clock.now() - ON_THE_WAY_SECONDS * SECOND
        async for keys in self._store.keys(before):
            room = MOST - len(found.without_row)
            found.without_row += (await self._engine.read(_reading(rows.nobodys, keys)))[:room]
        return found

    async def mend(self, found: Disagreement) -> Mended:
        """Remove files that no row names and, unless the store is in doubt, artifacts whose file is gone.

        Artifacts of open runs stay: their file may come back from a backup. What was ``found`` is looked at again.
        """
        mended = Mended()
        for key in await self._engine.read(_reading(rows.nobodys, found.without_row)):
            mended.files += await self._store.delete(key)
        for key in [] if found.in_doubt else found.without_file:
            if not await self._exists(key):
                removed, kept = await self._engine.transact(lambda tx, key=key: _remove(tx, key))  # type: ignore[misc]
                mended.artifacts += removed
                mended.kept += kept
        for one in mended.artifacts:
            self._tell("artifact.lost", artifact_id=one.artifact_id, run_id=one.run_id, uri=one.uri)
        return mended

    async def _exists(self, key: str) -> bool:
        try:
            return await self._store.exists(key)
        except OutsideRoot:
            return False


def _remove(tx: Transaction, key: str) -> tuple[list[Artifact], int]:
    """Remove the artifacts of ended runs that have an object, and it with the last; returns them, and how many stay."""
    some = rows.of_uri(tx.connection, OBJECT + key)
    ended = rows.ended(tx.connection, {one.run_id for one in some})
    free = [one for one in some if one.run_id in ended]
    rows.remove(tx, free)
    rows.release(tx, [key])
    return free, len(some) - len(free)


def _reading(fn: Callable[..., Any], *args: Any) -> Callable[[Any], Any]:
    return lambda connection: fn(connection, *args)
