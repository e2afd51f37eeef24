"""Records in portions that a server takes in one request, each known by what is in it and where it stood."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from windlass.cli.importing.items import Item, Refused

BATCH_RECORDS = 2000
BATCH_BYTES = 2 * 1024 * 1024
ALONE_BYTES = 512 * 1024
"""A record longer than that is sent alone, so that a server that finds it too large refuses nothing else."""


@dataclass(slots=True)
class Batch:
    """Records that are sent together, and the lines refused among them.

    ``lines`` holds the line number of each record of ``body``, which is NDJSON.
    """

    lines: list[int] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    size: int = 0

    @property
    def body(self) -> bytes:
        """The records as NDJSON."""
        return b"\n".join(self.parts) + b"\n"

    def key(self, name: str) -> str:
        """Return the idempotency key: the same for the same records at the same lines of an import of this name."""
        digest = hashlib.sha256(f"{name}\0{self.lines[0]}\0".encode())
        digest.update(self.body)
        return f"import-{digest.hexdigest()[:40]}"


def batches(found: Iterable[Item | Refused], records: int = BATCH_RECORDS, size: int = BATCH_BYTES) -> Iterator[Batch]:
    """Gather records until there are enough of them or of their bytes.

    Where a batch ends depends on nothing but the records, so a repeated import makes the same ones. When reading
    fails, what was gathered is dropped: once the input is mended it will be part of a full batch.
    """
    batch = Batch()
    for one in found:
        alone = isinstance(one, Item) and len(one.body) > ALONE_BYTES
        if alone and batch.lines:
            yield batch
            batch = Batch()
        if isinstance(one, Refused):
            batch.refused.append(one)
        else:
            batch.lines.append(one.line)
            batch.parts.append(one.body)
            batch.size += len(one.body)
        if alone or len(batch.lines) >= records or batch.size >= size or len(batch.refused) >= records:
            yield batch
            batch = Batch()
    if batch.lines or batch.refused:
        yield batch
