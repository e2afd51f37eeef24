"""A zip archive made while it is sent: nothing of it is kept but its table of contents."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC
from typing import IO, NamedTuple, cast

from windlass.contexts.artifacts.objects import Opened
from windlass.kernel.clock import from_iso, to_datetime

_EARLIEST = 1980


class Entry(NamedTuple):
    """A file of an archive: its name there, when it was made (ISO 8601), and how it is opened."""

    name: str
    created_at: str
    open: Callable[[], Awaitable[Opened]]


class _Sink:
    """Takes what the archive writes and hands it on; it cannot go back, so the archive does not try."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: there is nothing behind."""

    def take(self) -> bytes:
        """Return what has been written since."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def archive(entries: Sequence[Entry]) -> AsyncIterator[bytes]:
    """Yield a zip archive, uncompressed, of any size."""
    sink = _Sink()
    writer = zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_STORED)
    for entry in entries:
        made = to_datetime(from_iso(entry.created_at)).astimezone(UTC)
        moment = (max(made.year, _EARLIEST), made.month, made.day, made.hour, made.minute, made.second)
        opened = await entry.open()
        try:
            with writer.open(zipfile.ZipInfo(entry.name, moment), "w", force_zip64=True) as target:
                async for block in opened.chunks(0, opened.size):
                    target.write(block)
                    yield sink.take()
        finally:
            opened.close()
    writer.close()
    yield sink.take()
