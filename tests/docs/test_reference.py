"""The reference says what the code does: generated pages are fresh, and nothing is left unexplained."""

import re

import pytest

from tests.support.paths import DOCS, ROOT
from tools import reference_docs
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
