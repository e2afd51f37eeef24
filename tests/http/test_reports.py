"""Reports over HTTP."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.apps import Served
from tests.support.databases import ON_ONE_DATABASE
from windlass.contexts.records.api import REPORTS


async def fill(served: Served) -> list[dict[str, Any]]:
    """Store and partly process nine records of three categories and two sources; one fails."""
    lines = [
        {"source": f"s{number % 2}", "category": f"c{number % 3}", "payload": {"priority": 5 * number}}
        for number in range(8)
    ]
    lines.append({"source": "s9", "category": "c9", "payload": {"priority": "high"}})
    await served.client.post("/records/bulk", content="\n".join(map(json.dumps, lines)))
    many = (await served.client.post("/records/process", json={"category": "c1"})).json()
    await served.inside.engine.result(many["run_id"], timeout=60)
    many = (await served.client.post("/records/process", json={"category": "c9"})).json()
    await served.inside.engine.result(many["run_id"], timeout=60)
    items: list[dict[str, Any]] = (await served.client.get("/records?sort_order=asc")).json()["items"]
    return items


async def test_the_summary_adds_up(served: Served) -> None:
    day = (await fill(served))[0]["created_at"][:10]

    found = (await served.client.get("/reports/summary")).json()

    assert found["filters"] == {"status": None, "category": None, "date_from": None, "date_to": None}
    assert found["totals"] == {"all": 9, "pending": 5, "processed": 3, "failed": 1}
    assert found["by_category"] == [
        {"category": "c0", "count": 3},
        {"category": "c1", "count": 3},
        {"category": "c2", "count": 2},
        {"category": "c9", "count": 1},
    ]
    assert found["by_source"] == [
        {"source": "s0", "count": 4},
        {"source": "s1", "count": 4},
        {"source": "s9", "count": 1},
    ]
    assert found["failure_reasons"] == [{"reason": "invalid priority", "count": 1}]
    assert found["by_day"] == [{"day": day, "count": 9, "pending": 5, "processed": 3, "failed": 1}]
    assert sum(row["count"] for row in found["throughput"]) == found["processing_ms"]["count"] == 4
    assert found["processing_ms"]["p50"] <= found["processing_ms"]["p99"] <= found["processing_ms"]["max"]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found["generated_at"])) < timedelta(minutes=5)


async def test_an_empty_summary_is_whole(served: Served) -> None:
    found = (await served.client.get("/reports/summary")).json()

    assert found["totals"] == {"all": 0, "pending": 0, "processed": 0, "failed": 0}
    assert found["processing_ms"] == {"count": 0, "p50": None, "p90": None, "p95": None, "p99": None, "max": None}
    assert found["by_category"] == found["by_source"] == found["by_day"] == found["throughput"] == []


async def test_reports_are_filtered(served: Served) -> None:
    records = await fill(served)
    moments = [record["created_at"] for record in records]
    day = moments[0][:10]

    async def totals(**params: str) -> dict[str, int]:
        answer = await served.client.get("/reports/summary", params=params)
        assert answer.json()["filters"] == {
            name: params.get(name) for name in ("status", "category", "date_from", "date_to")
        }
        found: dict[str, int] = answer.json()["totals"]
        return found

    assert (await totals(status="processed"))["all"] == 3
    assert (await totals(category="c2")) == {"all": 2, "pending": 2, "processed": 0, "failed": 0}
    assert (await totals(date_from=day, date_to=day))["all"] == 9
    assert (await totals(date_from="2020-01-01", date_to="2020-12-31"))["all"] == 0
    assert (await totals(date_from=moments[2]))["all"] == 7
    assert (await totals(date_to=moments[2]))["all"] == 3
    assert (await totals(date_from=moments[2], date_to=moments[4], category="c2"))["all"] == 1
    assert (await totals(date_from=moments[4], date_to=moments[4]))["all"] == 1
    assert (await totals(date_from="2020-01-01T12:00:00Z", date_to=moments[0]))["all"] == 1
    assert (await totals(date_from="0001-01-01T00:00:01Z", date_to="9999-12-31T23:59:58Z"))["all"] == 9


async def test_every_report_comes_as_json_and_as_csv(served: Served) -> None:
    await fill(served)
    summary = (await served.client.get("/reports/summary")).json()

    for name in ("totals", "by_status", "by_category", "by_source", "by_day", "failure_reasons", "throughput"):
        found = (await served.client.get(f"/reports/{name}?category=c1")).json()
        table = await served.client.get(f"/reports/{name}?category=c1&format=csv")

        assert (found["report"], found["filters"]["category"]) == (name, "c1")
        assert table.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(table.text)))
        assert rows == [{key: str(value) for key, value in row.items()} for row in found["rows"]]
    assert (await served.client.get("/reports/by_category")).json()["rows"] == summary["by_category"]
    assert (await served.client.get("/reports/processing_ms")).json()["rows"] == [summary["processing_ms"]]


async def test_a_report_without_rows_has_its_columns(served: Served) -> None:
    full = {name: REPORTS[name] for name in REPORTS if name not in {"totals", "by_status", "processing_ms"}}
    before = {name: (await served.client.get(f"/reports/{name}?format=csv")).text for name in REPORTS}
    await fill(served)

    assert {name: before[name].count("\r\n") for name in full} == dict.fromkeys(full, 1)
    for name in REPORTS:
        found = (await served.client.get(f"/reports/{name}")).json()["rows"]
        assert before[name].splitlines()[0] == ",".join(found[0])


async def test_the_summary_comes_as_csv(served: Served) -> None:
    await fill(served)

    answer = await served.client.get("/reports/summary?format=csv&category=c1")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = answer.text.split("\r\n")
    assert lines[0] == "report,name,figure,value"
    total = (await served.client.get("/reports/summary?category=c1")).json()["totals"]["all"]
    assert {f"totals,,all,{total}", f"by_category,c1,count,{total}"} <= set(lines)


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "query,status,field",
    [
        ("status=done", 400, "status"),
        ("date_from=soon", 400, "date_from"),
        ("date_from=2024-02-30", 400, "date_from"),
        ("date_to=2024-01-01T10:00:00", 400, "date_to"),
        ("date_from=2024-02-01&date_to=2024-01-01", 400, "date_from"),
        ("category=%00", 422, "category"),
        ("category=", 422, "category"),
        ("source=x", 422, "source"),
        ("date_to=2024-01-01&date_to=2024-01-02", 422, "date_to"),
    ],
)
async def test_bad_questions_are_refused_by_name(served: Served, query: str, status: int, field: str) -> None:
    for path in ("/reports/summary", "/reports/by_day"):
        answer = await served.client.get(f"{path}?{query}")

        error = answer.json()["error"]
        assert answer.status_code == status
        named = error["details"]["field"] if status == 400 else error["details"][0]["loc"][1]
        assert named == field


async def test_an_unknown_report_is_not_found(served: Served) -> None:
    answer = await served.client.get("/reports/nonsense")

    assert answer.status_code == 404
    assert "by_category" in answer.json()["error"]["message"]
