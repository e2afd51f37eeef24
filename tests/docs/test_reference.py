"""The reference says what the code does: generated pages are fresh, and nothing is left unexplained."""

import re
from typing import Any

import pytest

from tests.support.paths import DOCS, ROOT
from tools import growing_docs, readme_speed, reference_docs
from windlass.contexts.records.api import Status as RecordStatus
from windlass.engine.types import Status as RunStatus
from windlass.http.errors import TABLE
from windlass.kernel.errors import Kind


@pytest.mark.parametrize("name", reference_docs.GENERATED)
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text() == reference_docs.GENERATED[name](), "run python -m tools.reference_docs"


def test_every_event_is_explained_and_none_is_invented() -> None:
    assert reference_docs.event_types() == reference_docs.EVENTS.keys()


def test_every_status_and_kind_is_explained() -> None:
    assert reference_docs.RUN_STATUSES.keys() == set(RunStatus)
    assert reference_docs.RECORD_STATUSES.keys() == set(RecordStatus)
    assert reference_docs.CODES.keys() == set(Kind) == TABLE.keys()


def test_the_statuses_page_knows_every_status() -> None:
    page = (DOCS / "concepts" / "statuses.md").read_text()

    assert [status for status in RunStatus if f"`{status.value}`" not in page] == []


def test_decisions_are_short_and_listed() -> None:
    folder = DOCS / "decisions"
    pages = sorted(path for path in folder.glob("*.md") if path.name != "README.md")

    assert pages
    assert [path.name for path in pages if len(path.read_text().splitlines()) > 50] == []
    assert re.findall(r"\[\d+\]\((.+?)\)", (folder / "README.md").read_text()) == [path.name for path in pages]


def test_the_readme_quotes_what_was_measured() -> None:
    text = readme_speed.README.read_text()

    assert readme_speed.BEGIN in text
    assert readme_speed.quoted(text, readme_speed.results()) == text, "run python -m tools.readme_speed"


def test_the_page_on_growing_quotes_what_was_measured() -> None:
    text = growing_docs.PAGE.read_text()

    assert readme_speed.BEGIN in text
    assert growing_docs.quoted(text, readme_speed.results()) == text, "run python -m tools.growing_docs"


def test_thresholds_follow_from_the_figures() -> None:
    def measured(store: str, benchmark: str, name: str, *values: float) -> None:
        side = {"side": f"windlass {name}, {store}", "values": values, "detail": [{"rate": one * 3} for one in values]}
        found["benchmarks"].setdefault(benchmark, {"sides": []})["sides"].append(side)

    found: dict[str, Any] = {"machine": {"cores": "2"}, "benchmarks": {}}
    assert "| events replayed" not in growing_docs.figures(found)
    measured("SQLite", "ten-steps", "ten-steps", 12_000)
    measured("PostgreSQL", "ten-steps", "ten-steps", 6000)
    measured("SQLite", "ten-steps", "http ten-steps", 7000, 9000, 8120)
    measured("SQLite", "one-step", "http one-step", 2000)
    measured("SQLite", "histories", "histories whole", 50_000)
    for name, rate in (("one", 6000), ("two", 9000), ("four", 12_600)):
        measured("PostgreSQL", "fleet", f"fleet {name}", rate)

    said = growing_docs.figures(found)

    assert "| steps of workflows of ten, in process | 12,000/s | 6,000/s | `ten-steps` |" in said
    assert "| events replayed | 150,000/s |  | `histories` |" in said
    assert "enough up to 4,100 steps, or 1,000 short runs, a second" in said
    assert "12,600/s, did more than that" in said
    assert "due from 3,000 steps a second for each there is. Here two did 1.50 times" in said
    assert "four 2.10 times" in said


def test_figures_are_quoted() -> None:
    side = {"side": "windlass, SQLite", "unit": "steps/s", "values": [10_000.0, 30_000.0, 20_000.0]}
    ratio = {"title": "over DBOS", "median": 41.26, "reach": 25}
    found = {
        "machine": {"cores": "2"},
        "benchmarks": {"ten-steps": {"title": "10 steps", "sides": [side], "ratios": [ratio]}},
    }
    readme = f"before\n{readme_speed.BEGIN}old\n{readme_speed.END}after\n"

    fresh = readme_speed.quoted(readme, found)

    assert fresh.startswith("before\n")
    assert fresh.endswith("after\n")
    assert "old" not in fresh
    assert "| windlass, SQLite | 20,000 steps/s |" in fresh
    assert "| 10 steps: over DBOS | 41.3 | 25 |" in fresh
    assert readme_speed.quoted(fresh, found) == fresh
