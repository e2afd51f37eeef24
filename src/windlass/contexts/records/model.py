"""A record and its states: pending → processed or failed; failed → pending by ``retry`` alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import orjson

NAME_LENGTH = 128
"""Longest ``source`` and ``category``, in characters."""
CLASSIFICATION_LENGTH = 64
ERROR_LENGTH = 300


class Status(StrEnum):
    """Where a record stands."""

    PENDING = "pending"
    PROCESSED = "processed"
    FAILED = "failed"


class Draft(NamedTuple):
    """A checked record before it is stored; ``payload`` is compact JSON text."""

    source: str
    category: str
    payload: str


@dataclass(slots=True)
class Record:
    """A record as it is stored. Times are ISO 8601 text in UTC; ``payload`` and ``result`` are JSON text."""

    id: str
    created_at: str
    status: str
    source: str
    category: str
    payload: str
    classification: str | None
    score: float | None
    result: str | None
    error: str | None
    updated_at: str
    processed_at: str | None
    processing_ms: int | None
    attempts: int
    run_id: str | None

    def view(self) -> dict[str, object]:
        """Return the record as it is shown, ready for orjson; its JSON is passed on without being read."""
        return {
            "id": self.id,
            "created_at": self.created_at,
            "status": self.status,
            "source": self.source,
            "category": self.category,
            "payload": orjson.Fragment(self.payload),
            "classification": self.classification,
            "score": self.score,
            "result": None if self.result is None else orjson.Fragment(self.result),
            "error": self.error,
            "updated_at": self.updated_at,
            "processed_at": self.processed_at,
            "attempts": self.attempts,
            "run_id": self.run_id,
        }


def fresh(record_id: str, created_at: str, draft: Draft) -> Record:
    """Return a record as it is when it has just been stored."""
    return Record(
        record_id, created_at, Status.PENDING, *draft, None, None, None, None, created_at, None, None, 0, None
    )
