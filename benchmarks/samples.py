"""The records that the benchmarks send and store: small, all different, spread over categories and sources."""

from __future__ import annotations

import json
from collections.abc import Iterator

_CATEGORIES, _SOURCES = 20, 5


def record(number: int) -> dict[str, object]:
    """Return one record as a client sends it, some 200 bytes of JSON."""
    return {
        "source": f"source-{number % _SOURCES}",
        "category": f"category-{number % _CATEGORIES}",
        "payload": {
            "number": number,
            "title": f"Record {number} of the benchmark",
            "priority": number % 7,
            "impact": number % 5,
            "urgency": number % 3,
            "tags": ["bench", f"tag-{number % 100}"],
        },
    }


def bodies(count: int) -> Iterator[bytes]:
    """Yield the first ``count`` records as JSON."""
    for number in range(count):
        yield json.dumps(record(number), separators=(",", ":")).encode()
