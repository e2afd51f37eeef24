"""Taking records in: all that wait are inserted with one statement, whoever sent them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from windlass.contexts.records import requests, rollups
from windlass.contexts.records.model import Draft, Status
from windlass.contexts.records.requests import RequestKey
from windlass.contexts.records.rollups import Delta
from windlass.contexts.records.tables import records
from windlass.engine.ops import Operation
from windlass.engine.ports import Transaction
from windlass.kernel.errors import WindlassError

COLUMNS = ("id", "created_at", "status", "source", "category", "payload", "updated_at")
QUICK_BYTES = 64 * 1024


@dataclass(slots=True)
class Intake:
    """New records of one caller: ``(id, created_at, draft)`` each.

    With a ``key`` they are taken in once, and ``answer`` (JSON text) is kept for who repeats the request.
    """

    items: Sequence[tuple[str, str, Draft]]
    key: RequestKey | None = None
    answer: str = "null"


class Intakes(Operation[Intake, str | None]):
    """Inserts the records of many callers; answers None, or what a repeated request was answered before."""

    rank = 25

    def quick(self, unit: Intake) -> bool:
        """Only a few small records are."""
        return unit.key is None and self.weight(unit) <= QUICK_BYTES

    def weight(self, unit: Intake) -> int:
        """That of the payloads."""
        return sum(len(item[2].payload) for item in unit.items)

    def apply(self, tx: Transaction, units: Sequence[Intake]) -> list[str | Exception | None]:
        """Insert what is new."""
        pending = Status.PENDING.value
        answers: list[str | Exception | None] = []
        rows: list[tuple[str, ...]] = []
        counts: dict[tuple[str, str, str], int] = {}
        for unit in units:
            if unit.key is not None:
                answer = self._known(tx, unit.key, unit.answer)
                if answer is not None:
                    answers.append(answer)
                    continue
            for record_id, created_at, draft in unit.items:
                source, category, payload = draft
                rows.append((record_id, created_at, pending, source, category, payload, created_at))
                described = created_at[:10], category, source
                counts[described] = counts.get(described, 0) + 1
            answers.append(None)
        tx.insert_rows(records, COLUMNS, rows)
        rollups.write(tx, [
            Delta(day, pending, category, source, None, None, None, count)
            for (day, category, source), count in counts.items()
        ])  # fmt: skip
        return answers

    @staticmethod
    def _known(tx: Transaction, key: RequestKey, answer: str) -> str | Exception | None:
        try:
            return requests.claim(tx, key, answer)
        except WindlassError as error:
            return error


INTAKE = Intakes()
