"""Filters of lists: what cannot be read is refused by name, in the same way by every route."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from tests.support.apps import Served, serving

HOST_PAGES = ("/auth/",)
"""What browsers are sent to: these are no lists."""
BULK = "/api/v1/workflows/runs/bulk"


@pytest.fixture
async def served(migrated_sqlite_url: str) -> AsyncIterator[Served]:
    """The started application; what is refused here never gets as far as a database."""
    async with serving(migrated_sqlite_url, worker=False) as running:
        yield running


def malformed(parameter: dict[str, Any], path: str) -> Iterator[tuple[str, int]]:
    """What a parameter cannot be, with the status that says so."""
    schema = parameter["schema"]
    if "anyOf" in schema:  # the contract of records: unreadable dates are a 400
        yield from [("yesterday", 400), ("2024-02-30", 400), ("2024-01-01T00:00:00", 400), ("", 400)]
    elif schema.get("type") == "integer":
        yield from [("ten", 422), ("1e3", 422), ("%201", 422), ("", 422), ("9" * 20, 422)]
    else:
        if "enum" in schema:
            yield "nonsense", 400 if path.startswith("/reports/") and parameter["name"] == "status" else 422
        yield from [("%00", 422), ("%ff", 422)]


def named(answer: httpx2.Response) -> Any:
    """Which parameter an answer names."""
    body = answer.json()
    error = body.get("error", body)
    issues = error.get("details", error.get("detail"))
    if isinstance(issues, list):
        return issues[0]["loc"]
    assert str(error.get("message", error.get("detail"))).startswith("invalid "), body
    return ["query", (error.get("details") or error.get("data"))["field"]]


async def test_every_list_refuses_what_it_cannot_read_alike_and_by_name(served: Served) -> None:
    tried, wrong = 0, []
    for route in served.app.router.routes:
        described = (getattr(route, "openapi_extra", None) or {}).get("parameters", ())
        asked = [one for one in described if one["in"] == "query"]
        path = re.sub(r"{[^}]+}", "1", getattr(route, "path", ""))
        if not asked or "GET" not in getattr(route, "methods", ()) or path.startswith(HOST_PAGES):
            continue
        for name, value, status in [
            ("nonsense", "1", 422), *((one["name"], *bad) for one in asked for bad in malformed(one, path))
        ]:  # fmt: skip
            answer = await served.client.get(f"{path}?{name}={value}")
            tried += 1
            if answer.status_code != status or named(answer) != ["query", name]:
                wrong.append((path, name, value, answer.status_code, answer.text))
    assert wrong == []
    assert tried > 300


@pytest.mark.parametrize(
    "path,most",
    [
        ("/webhooks/dlq?limit", 500), ("/webhooks/dlq?offset", 100_000), ("/runs/1/webhooks/deliveries?limit", 500),
        ("/runs/1/events?limit", 1000),
    ],
)  # fmt: skip
async def test_a_page_is_refused_that_is_larger_than_any(served: Served, path: str, most: int) -> None:
    url = f"/api/v1/workflows{path}"
    beyond = await served.client.get(f"{url}={most + 1}")

    assert (await served.client.get(f"{url}={most}")).status_code in {200, 404}
    assert (beyond.status_code, named(beyond)) == (422, ["query", url.partition("?")[2]])


@pytest.mark.parametrize(
    "filter_,status",
    [
        ({"created_after": "yesterday"}, 400),
        ({"created_before": "2024-01-01T00:00:00"}, 400),
        ({"created_after": "2024-01-01", "status": ["lost"]}, 422),
        ({"created_after": 3}, 422),
        ({"made_after": "2024-01-01"}, 422),
    ],
)
async def test_what_is_done_to_many_runs_is_done_to_none_when_their_filter_cannot_be_read(
    served: Served, filter_: dict[str, Any], status: int
) -> None:
    answer = await served.client.post(BULK, json={"action": "cancel", "filter": filter_})

    assert answer.status_code == status, answer.text
    if status == 422:
        [issue] = answer.json()["detail"]
        assert issue["loc"][:2] == ["body", "filter"]


async def test_a_bare_date_is_a_whole_day_for_bulk_as_for_lists(served: Served) -> None:
    made = await served.client.post("/api/v1/workflows/run", json={"definition": {"name": "dated", "steps": []}})
    day = (await served.client.get("/api/v1/workflows/runs")).json()["runs"][0]["created_at"][:10]

    def ask(filter_: dict[str, Any]) -> Any:
        return served.client.post(BULK, json={"action": "cancel", "filter": filter_, "dry_run": True})

    today = (await ask({"created_after": day, "created_before": day})).json()
    before = (await ask({"created_before": "2020-01-01"})).json()

    assert made.status_code == 200, made.text
    assert (today["matched"], before["matched"]) == (1, 0)
