"""The default rules, and the small values around records."""

import math
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.contexts.records.bulk import Splitter
from windlass.contexts.records.intake import read_draft
from windlass.contexts.records.moments import read_moment
from windlass.contexts.records.outcome import Rejected, from_return
from windlass.contexts.records.rules import RULES, classify
from windlass.contexts.records.stamps import Stamps
from windlass.kernel.clock import from_iso, to_iso
from windlass.kernel.errors import Invalid, TooLarge, ValidationFailed


@pytest.mark.parametrize(
    "payload,score,classification",
    [
        ({}, 0, "low"),
        ({"other": "thing"}, 0, "low"),
        ({"priority": 5}, 5, "low"),
        ({"priority": 6}, 6, "medium"),
        ({"priority": 4, "impact": 4, "urgency": 3.9}, 11.9, "medium"),
        ({"priority": 4, "impact": 4, "urgency": 4}, 12, "high"),
        ({"priority": "4", "impact": " 4.0 ", "urgency": "4e0"}, 12, "high"),
        ({"priority": -3, "impact": "+1.5"}, -1.5, "low"),
        ({"metrics": {"severity": 8, "impact": 8, "urgency": 8}}, 8.0, "high"),
        ({"metrics": {"severity": 4, "impact": 4, "urgency": 4}}, 4.0, "medium"),
        ({"metrics": {"severity": 3.333, "impact": "3.333", "urgency": 3.333}}, 3.33, "low"),
        ({"metrics": {}, "priority": 50}, 0.0, "low"),
        ({"metrics": {"severity": 10}}, 5.0, "medium"),
    ],
)
def test_payloads_are_scored_and_classified(payload: dict[str, Any], score: float, classification: str) -> None:
    found = classify(payload)

    assert (found.score, found.classification) == (score, classification)
    assert found.result == {"score": score, "classification": classification, "rules": RULES}


@pytest.mark.parametrize("name", ["priority", "impact", "urgency"])
@pytest.mark.parametrize("value", [True, None, "high", "", "nan", "inf", "1_0", "0x1", [], {}, "1e999", "٣"])
def test_a_value_that_is_no_number_fails_by_its_name(name: str, value: object) -> None:
    with pytest.raises(Rejected, match=f"^invalid {name}$"):
        classify({"priority": 1, "impact": 1, "urgency": 1, name: value})


@pytest.mark.parametrize(
    "payload,reason",
    [
        ({"metrics": {"severity": "x"}}, "invalid severity"),
        ({"metrics": {"impact": False}}, "invalid impact"),
        ({"metrics": [1]}, "invalid metrics"),
        ({"metrics": None}, "invalid metrics"),
        ({"priority": 1.7e308, "impact": 1.7e308}, "invalid score"),
    ],
)
def test_what_cannot_be_scored_fails_by_its_name(payload: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected, match=f"^{reason}$"):
        classify(payload)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_whatever_the_rules_meet_they_decide(value: Any) -> None:
    for payload in ({"priority": value}, {"metrics": value}, {"metrics": {"severity": value}}):
        try:
            found = classify(payload)
        except Rejected:
            continue
        assert found.score is not None
        assert math.isfinite(found.score)
        assert from_return(found) == found


@given(st.binary(max_size=60))
def test_whatever_comes_in_is_a_record_or_refused(raw: bytes) -> None:
    for body in (raw, b'{"source":"s","category":"c","payload":{"x":' + raw + b"}}"):
        try:
            draft = read_draft(body, 1000)
        except (ValidationFailed, TooLarge):
            continue
        assert draft.payload.startswith("{")


@given(st.lists(JSON, max_size=6), st.integers(1, 9), st.booleans())
def test_a_stream_is_cut_into_its_records_wherever_it_breaks(values: list[Any], size: int, array: bool) -> None:

    wrapped = [{"v": value} for value in values]
    body = orjson.dumps(wrapped) if array else b"\n".join(orjson.dumps(value) for value in wrapped)
    splitter = Splitter(10_000)

    items = []
    for at in range(0, len(body), size):
        items += list(splitter.feed(body[at : at + size]))
    items += list(splitter.end())

    assert [orjson.loads(raw) for _, raw in items] == wrapped
    assert [number for number, _ in items] == list(range(1, len(values) + 1))


class StandingClock:
    """A clock that stands still, or goes back."""

    def __init__(self, now: int) -> None:
        self.time = now

    def now(self) -> int:
        """Return the time."""
        return self.time

    def monotonic(self) -> float:
        """Return nothing of use."""
        return 0.0


def test_ids_and_times_are_one_order() -> None:
    clock = StandingClock(1_800_000_000_123_456)
    stamps = Stamps(clock)

    made = [stamps.new() for _ in range(2000)]
    clock.time -= 10_000_000
    made += [stamps.new() for _ in range(2000)]

    assert [at for at, _ in made] == list(range(1_800_000_000_123_456, 1_800_000_000_123_456 + 4000))
    assert [record_id for _, record_id in made] == sorted(record_id for _, record_id in made)
    first = uuid.UUID(made[0][1])
    assert (first.version, first.variant) == (7, uuid.RFC_4122)
    assert first.int >> 80 == 1_800_000_000_123


@pytest.mark.parametrize(
    "text,end,moment",
    [
        ("2024-01-01", False, "2024-01-01T00:00:00.000000Z"),
        ("2024-01-01", True, "2024-01-01T23:59:59.999999Z"),
        ("2024-01-01T10:00Z", False, "2024-01-01T10:00:00.000000Z"),
        ("2024-01-01t10:00:00z", True, "2024-01-01T10:00:00.000000Z"),
        ("2024-01-01T10:00:00.5+02:00", False, "2024-01-01T08:00:00.500000Z"),
        ("2024-01-01 10:00:00-0130", False, "2024-01-01T11:30:00.000000Z"),
        ("2024-01-01T10:00:00 02:00", False, "2024-01-01T08:00:00.000000Z"),
        ("0999-12-31T23:59:59Z", False, "0999-12-31T23:59:59.000000Z"),
    ],
)
def test_moments_are_read(text: str, end: bool, moment: str) -> None:
    assert read_moment(text, "x", end=end) == moment


@pytest.mark.parametrize(
    "text",
    ["", "today", "2024", "2024-1-1", "20240101", "2024-01-01T10", "2024-01-01T10:00:00", "2024-01-01T25:00:00Z",
     "2024-02-30", "2024-01-01Z", "٢٠٢٤-01-01", "9999-12-31T23:59:59-14:00", "2024-W01-1", "2024-01-01T10:00:00+99:00"],
)  # fmt: skip
def test_other_moments_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"^invalid datetime: "):
        read_moment(text, "x")


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_are_kept_to_the_microsecond(us: int) -> None:
    assert from_iso(to_iso(us)) == us
    assert read_moment(to_iso(us), "x") == to_iso(us)
