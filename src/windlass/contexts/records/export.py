"""Records as they leave: lines of JSON, or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import orjson

from windlass.contexts.records.model import Record

COLUMNS = (
    "id", "created_at", "status", "source", "category", "payload", "classification", "score", "result", "error",
    "updated_at", "processed_at", "attempts", "run_id",
)  # fmt: skip


async def written(pages: AsyncIterator[list[Record]], form: str) -> AsyncIterator[bytes]:
    """Yield pages of records as bytes.

    Args:
        pages: the records.
        form: a key of ``FORMS``.
    """
    head, write = FORMS[form]
    if head:
        yield head
    async for page in pages:
        if page:
            yield write(page)


def _ndjson(page: Sequence[Record]) -> bytes:
    return b"".join(orjson.dumps(record.view(), option=orjson.OPT_APPEND_NEWLINE) for record in page)


def _csv(page: Sequence[Record]) -> bytes:
    return _rows([getattr(record, name) for name in COLUMNS] for record in page)


def _rows(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


FORMS: dict[str, tuple[bytes, Callable[[Sequence[Record]], bytes]]] = {
    "ndjson": (b"", _ndjson),
    "csv": (_rows([COLUMNS]), _csv),
}
"""What an export can be written in: what stands at its beginning, and how a page is written."""
