"""The example's own check finds what it is for."""

from copy import deepcopy
from typing import Any

import pytest

from examples.debian.run import faults

ENTRIES = [{"source": "debian", "category": "net", "payload": {"package": name}} for name in ("a", "b", "c")]
RECORDS: list[dict[str, Any]] = [
    {**entry, "id": str(number), "status": "failed" if number else "processed", "attempts": 1, "error": "bad"}
    for number, entry in enumerate(ENTRIES)
]
SUMMARY = {
    "totals": {"all": 3, "pending": 0, "processed": 1, "failed": 2},
    "failure_reasons": [{"reason": "bad", "count": 2}],
    "by_category": [{"category": "net", "count": 3}],
}


def test_what_fits_has_no_fault() -> None:
    assert faults(ENTRIES, RECORDS, SUMMARY) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["records"].pop(),
        lambda told: told["records"].append(told["records"][0]),
        lambda told: told["records"][0].update(category="mail"),
        lambda told: told["records"][0].update(id="1"),
        lambda told: told["records"][0].update(attempts=2),
        lambda told: told["records"][0].update(status="pending"),
        lambda told: told["records"][1].update(error="worse"),
        lambda told: told["summary"]["totals"].update(processed=2),
        lambda told: told["summary"]["by_category"][0].update(count=2),
        lambda told: told["summary"]["failure_reasons"].clear(),
    ],
)
def test_a_fault_is_found(change: Any) -> None:
    records, summary = deepcopy(RECORDS), deepcopy(SUMMARY)

    change({"records": records, "summary": summary})

    assert faults(ENTRIES, records, summary)
