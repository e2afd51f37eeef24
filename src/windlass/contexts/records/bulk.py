"""Many records in one request, read as they come: lines of JSON, or one JSON array."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson

from windlass.contexts.records import requests
from windlass.contexts.records.intake import BOM, read_draft
from windlass.contexts.records.model import Draft
from windlass.contexts.records.requests import WHOLE
from windlass.contexts.records.service import Records
from windlass.kernel.errors import Conflict, Issue, TooLarge, ValidationFailed

CHUNK_RECORDS = 1000
CHUNK_BYTES = 2 * 1024 * 1024
TOGETHER_RECORDS = 10_000
"""How many records may be asked to be stored all or none: one transaction, for which other writers wait."""
TOGETHER_BYTES = 4 * 1024 * 1024
"""And how many bytes of JSON they may be: the transaction has to be short, and to fit into a small WAL."""
READ_AT_ONCE = 100
"""Records that are read before the event loop has a turn again."""
MOST_ISSUES = 100
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*("?)|[\[\]{},]', re.DOTALL)

UNCLOSED = b"an array without its end"
"""Stands for what is missing; known by its identity."""

Item = tuple[int, bytes]
Result = dict[str, Any]


class Splitter:
    """Cuts a stream into the JSON of its records and numbers them: lines, or places in an array, from 1.

    Args:
        limit: the largest record in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._array: bool | None = None
        self._number = 0
        self._depth = 0
        self._at = 0
        self._closed = False

    def feed(self, data: bytes) -> Iterator[Item]:
        """Yield what is complete.

        Raises:
            TooLarge: a record is larger than allowed.
        """
        self._buffer += data
        if self._array is None:
            self._buffer = self._buffer.lstrip()
            if len(self._buffer) < len(BOM) and BOM.startswith(self._buffer):
                return
            self._buffer = self._buffer.removeprefix(BOM).lstrip()
            if not self._buffer:
                return
            self._array = self._buffer.startswith(b"[")
        yield from self._elements() if self._array else self._lines()
        if len(self._buffer) > self._limit:
            raise TooLarge(f"record {self._number + 1} is larger than {self._limit} bytes", limit=self._limit)

    def end(self) -> Iterator[Item]:
        """Yield the last line; or the last whole record of an array that is not closed, and that it is not."""
        rest = self._buffer.strip()
        cut = self._array and not self._closed
        if rest and (not cut or (self._depth == 1 and rest.endswith(b"}"))):
            self._number += 1
            yield self._number, rest
        if cut:
            self._number += 1
            yield self._number, UNCLOSED

    def _lines(self) -> Iterator[Item]:
        lines = self._buffer.split(b"\n")
        self._buffer = lines.pop()
        for line in lines:
            self._number += 1
            if line and not line.isspace():
                yield self._number, line

    def _elements(self) -> Iterator[Item]:
        buffer, start = self._buffer, 0
        for token in _TOKEN.finditer(buffer, self._at):
            if self._closed or (token[0][0] == 0x22 and not token[1]):
                break
            self._at = token.end()
            mark = token[0]
            if mark in b"[{":
                self._depth += 1
                if self._depth == 1:
                    start = token.end()
            elif mark in b"]},":
                self._depth -= mark != b","
                if self._depth == 0 or (self._depth == 1 and mark == b","):
                    self._closed = self._depth == 0
                    element = buffer[start : token.start()].strip()
                    start = token.end()
                    if element or not (self._closed and self._number == 0):
                        self._number += 1
                        yield self._number, element
        self._at -= start
        self._buffer = buffer[start:]


class Import:
    """One bulk request.

    Args:
        records: where they go.
        key: an Idempotency-Key: chunks that were stored before are not stored again, so that a broken request can
            be repeated.
        together: store all of them or, when one is wrong, none; limited by ``TOGETHER_RECORDS`` and ``TOGETHER_BYTES``.
        failures_only: leave the records that were stored out of the results.
    """

    def __init__(
        self, records: Records, *, key: str | None, together: bool, failures_only: bool, max_record: int
    ) -> None:
        self._records = records
        self._key = key
        self._together = together
        self._failures_only = failures_only
        self._splitter = Splitter(max_record)
        self._chunk: list[Item] = []
        self._bytes = 0
        self._part = 0
        self._parts: int | None = None
        self._sums: list[str] = []
        self.created = 0
        self.repeated = 0
        self.failed = 0
        self.results: list[Result] = []

    async def run(self, body: AsyncIterator[bytes]) -> Result:
        """Read and store everything; returns ``created``, ``failed`` and the ``results`` by line.

        ``repeated`` of the created had been so by an earlier request under the same key.

        Raises:
            ValidationFailed: ``together``, and a record is wrong; names the first hundred.
            TooLarge: a record is, or they are too many or too large to store them together.
            Conflict: the key was used with another request.
        """
        if self._key is not None:
            self._parts = await self._records.known_parts("bulk", self._key)
        async for data in body:
            for item in self._splitter.feed(data):
                await self._add(item)
        for item in self._splitter.end():
            await self._add(item)
        await self._store()
        await self._finish()
        return {
            "created": self.created,
            "repeated": self.repeated,
            "failed": self.failed,
            "results": self.results,
        }

    async def _add(self, item: Item) -> None:
        self._chunk.append(item)
        self._bytes += len(item[1])
        if self._together:
            self._check_together()
        elif len(self._chunk) >= CHUNK_RECORDS or self._bytes >= CHUNK_BYTES:
            await self._store()

    def _check_together(self) -> None:
        for size, limit, unit in (
            (len(self._chunk), TOGETHER_RECORDS, "records"),
            (self._bytes, TOGETHER_BYTES, "bytes"),
        ):
            if size > limit:
                raise TooLarge(
                    f"mode=together takes at most {limit} {unit} in one request: send several,"
                    " or mode=each with an Idempotency-Key, which can be repeated until all are stored",
                    limit=limit,
                    unit=unit,
                )

    async def _store(self) -> None:
        chunk, self._chunk, self._bytes = self._chunk, [], 0
        if not chunk:
            return
        items: list[tuple[str, str, Draft]] = []
        results: list[Result] = []
        issues: list[Issue] = []
        for place, (number, raw) in enumerate(chunk, start=1):
            if place % READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                draft = read_draft(raw, self._records.limits.max_payload, ("body", number))
            except (ValidationFailed, TooLarge) as refused:
                error = _unclosed(number) if raw is UNCLOSED else refused
                results.append({"line": number, "error": fault(error)})
                issues += _issues(error, number)
                continue
            record_id, created_at = self._records.stamp()
            items.append((record_id, created_at, draft))
            results.append({"line": number, "id": record_id})
        if self._together and issues:
            raise ValidationFailed(issues[:MOST_ISSUES])
        key = None
        if self._key is not None:
            if self._parts is not None and self._part >= self._parts:
                raise Conflict("Idempotency-Key was used with another request", idempotency_key=self._key)
            digest = requests.digest(*(raw for _, raw in chunk))
            self._sums.append(digest)
            key = self._records.key("bulk", self._key, digest, self._part)
        self._part += 1
        known = await self._records.store(items, key, orjson.dumps(results).decode() if key else "null")
        self._take(results if known is None else orjson.loads(known), again=known is not None)

    def _take(self, results: list[Result], *, again: bool) -> None:
        failed = [result for result in results if "error" in result]
        created = len(results) - len(failed)
        self.failed += len(failed)
        self.created += created
        self.repeated += created if again else 0
        self.results += failed if self._failures_only else results

    async def _finish(self) -> None:
        """Note the end of a keyed request, or find that it was another one under the same key."""
        if self._key is not None:
            digest = requests.digest(str(self._together), *self._sums)
            await self._records.store([], self._records.key("bulk", self._key, digest, WHOLE), str(self._part))


def _unclosed(number: int) -> ValidationFailed:
    message = "The array is not closed: what follows the record before this place is missing"
    return ValidationFailed([Issue(("body", number), message, "array_unclosed")])


def fault(error: ValidationFailed | TooLarge) -> Result:
    """Return what is wrong with a record as it is shown."""
    details: object = error.data or None
    if isinstance(error, ValidationFailed):
        details = [{"loc": issue.loc, "msg": issue.msg, "type": issue.type} for issue in error.issues]
    return {"code": error.code, "message": error.message, "details": details}


def _issues(error: ValidationFailed | TooLarge, number: int) -> list[Issue]:
    if isinstance(error, ValidationFailed):
        return [*error.issues]
    return [Issue(("body", number, "payload"), error.message, "too_large")]
