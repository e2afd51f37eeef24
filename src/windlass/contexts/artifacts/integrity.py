"""Whether files are still what was stored: each is hashed once, and again only when it looks different."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import Any

from windlass.contexts.artifacts.model import OBJECT, Artifact, FileMissing, NotAFile, OutsideRoot
from windlass.contexts.artifacts.objects import ObjectStore, Opened
from windlass.kernel.errors import Unavailable

REMEMBERED = 10_000


class Integrity:
    """Hashes of files, remembered by what marks a file as unchanged (its inode, size and time).

    Args:
        store: where the files are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self.hashed = 0
        """How many files have been read for their hash."""

    async def checksum(self, key: str, opened: Opened) -> str:
        """Return the SHA-256 of an open file; it is read when it has not been since it was changed."""
        known = self._known.get(key)
        if known is None or known[0] != opened.mark:
            self.hashed += 1
            found = await fresh_checksum(opened)
            self._known[key] = known = (opened.mark, found)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known[1]

    async def holds(self, key: str, checksum: str) -> bool:
        """Say whether a file is there and is what was stored; it is read when it has not been since it was changed."""
        try:
            opened = await self._store.open(key)
        except FileMissing:
            return False
        try:
            return await self.checksum(key, opened) == checksum
        finally:
            opened.close()

    async def calculate(self, key: str) -> str:
        """Return the SHA-256 of a file as it is now, always read."""
        opened = await self._store.open(key)
        try:
            self.hashed += 1
            found = await fresh_checksum(opened)
            self._known[key] = (opened.mark, found)
            return found
        finally:
            opened.close()

    async def examine(self, artifact: Artifact) -> tuple[str | None, str | None]:
        """Return the hash of an artifact's file, or None and what keeps it from being read."""
        try:
            return await self.calculate(key_of(self._store, artifact)), None
        except NotAFile:
            return None, "unsupported_uri"
        except OutsideRoot:
            return None, "path_outside_allowed_dir"
        except FileMissing:
            return None, "file_missing"
        except Unavailable:
            return None, "hash_error"

    async def verdict(self, artifact: Artifact) -> dict[str, Any] | None:
        """Return the ``integrity`` of a manifest's entry; None where nothing can be said."""
        if artifact.checksum_sha256 is None:
            return None
        calculated, error = await self.examine(artifact)
        if error == "unsupported_uri":
            return None
        if calculated == artifact.checksum_sha256:
            return {"ok": True}
        if calculated is not None:
            return {"ok": False, "calculated": calculated}
        return {"ok": False, "error": "hash_error" if error == "file_missing" else error}


def key_of(store: ObjectStore, artifact: Artifact) -> str:
    """Return the key of an artifact's file.

    Raises:
        NotAFile: it is kept elsewhere.
        OutsideRoot: its address leads out of the store.
    """
    if artifact.uri.startswith(OBJECT):
        return artifact.uri.removeprefix(OBJECT)
    return store.locate(artifact.uri)


async def fresh_checksum(opened: Opened) -> str:
    """Return the SHA-256 of an open file."""
    summed = hashlib.sha256()
    async for block in opened.chunks(0, opened.size):
        await asyncio.to_thread(summed.update, block)
    return summed.hexdigest()
