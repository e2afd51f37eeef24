"""Many records in one request: taken in, processed and exported."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message

from tests.support.apps import Served, serving
from windlass.contexts.records.api import TOGETHER_BYTES, TOGETHER_RECORDS


def line(number: int, **changes: Any) -> bytes:
    """One record as a line of JSON."""
    body = {"source": f"s{number % 2}", "category": f"c{number % 3}", "payload": {"priority": number % 20}}
    return json.dumps(body | changes).encode() + b"\n"


async def send_and_hang_up(served: Served, body: bytes, headers: dict[str, str]) -> None:
    """Send the beginning of a bulk request as a server would hand it on, then be gone."""
    messages: list[Message] = [
        {"type": "http.request", "body": body, "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_message: Message) -> None:
        pass

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/records/bulk",
        "raw_path": b"/records/bulk",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "server": ("windlass", 80),
        "client": ("test", 1),
    }
    await served.app(scope, receive, send)


async def total(served: Served, query: str = "") -> int:
    """How many records there are."""
    found: int = (await served.client.get(f"/records?limit=1{query}")).json()["total"]
    return found


@pytest.mark.parametrize("form", ["lines", "array"])
async def test_every_line_is_answered(served: Served, form: str) -> None:
    lines = [line(1), b'{"source": 1}\n', line(2), b"nonsense\n", line(3)]
    array = b"[" + b",".join(one.strip() for one in lines) + b"]"
    body = array if form == "array" else b"\n".join(lines)

    answer = await served.client.post("/records/bulk", content=body)

    found = answer.json()
    assert answer.status_code == 200
    assert (found["created"], found["failed"]) == (3, 2)
    assert [bool(result.get("id")) for result in found["results"]] == [True, False, True, False, True]
    numbers = [1, 2, 3, 4, 5] if form == "array" else [1, 3, 5, 7, 9]
    assert [result["line"] for result in found["results"]] == numbers
    places = [issue["loc"] for issue in found["results"][1]["error"]["details"]]
    assert places == [["body", numbers[1], name] for name in ("source", "category", "payload")]
    stored = (await served.client.get("/records?sort_order=asc")).json()["items"]
    assert [item["id"] for item in stored] == [result["id"] for result in found["results"] if "id" in result]


async def test_the_body_may_come_in_any_pieces(served: Served) -> None:
    body = b"".join(line(number, payload={"text": 'a "quoted" [x] {y}, \\'}) for number in range(40))
    array = b" [ " + b" , ".join(body.strip().split(b"\n")) + b" ] "

    for whole in (body, array):

        async def pieces(whole: bytes = whole) -> AsyncIterator[bytes]:
            for at in range(0, len(whole), 7):
                yield whole[at : at + 7]

        answer = await served.client.post("/records/bulk?results=failed", content=pieces())

        assert answer.json() == {"created": 40, "repeated": 0, "failed": 0, "results": []}


@pytest.mark.parametrize(
    "body,created,failed",
    [
        (b"", 0, 0),
        (b"\n \n", 0, 0),
        (b"[]", 0, 0),
        (b"[" + line(1).strip(), 1, 1),
        (b"[" + line(1) + b"\n", 1, 1),
        (b"[" + line(1).strip()[:-1], 0, 1),
        (b"[" + line(1).strip() + b",", 1, 1),
        (b"[" + line(1).strip() + b",]", 1, 1),
        (b"[" + line(1).strip() + b"] x", 1, 1),
        (b"[1, true, [], null]", 0, 4),
        (b'["', 0, 1),
        (line(1).strip(), 1, 0),
    ],
)
async def test_broken_bodies_cost_only_what_is_broken(served: Served, body: bytes, created: int, failed: int) -> None:
    found = (await served.client.post("/records/bulk", content=body)).json()

    assert (found["created"], found["failed"]) == (created, failed)
    assert await total(served) == created


@pytest.mark.parametrize("end", ["", ",", ' , {"source": "a}'])
async def test_an_array_that_is_cut_off_is_called_so(served: Served, end: str) -> None:
    body = b"[" + line(1).strip() + end.encode()

    stored, cut = (await served.client.post("/records/bulk", content=body)).json()["results"]
    together = await served.client.post("/records/bulk?mode=together", content=body)

    assert await total(served) == 1
    assert (stored["line"], len(stored["id"])) == (1, 36)
    [issue] = cut["error"]["details"]
    assert (cut["line"], issue["loc"], issue["type"]) == (2, ["body", 2], "array_unclosed")
    assert issue["msg"].startswith("The array is not closed")
    assert [issue["type"] for issue in together.json()["error"]["details"]] == ["array_unclosed"]


async def test_a_byte_order_mark_is_passed_over_at_the_beginning(served: Served) -> None:
    bom = "\ufeff".encode()

    async def bytewise(body: bytes) -> AsyncIterator[bytes]:
        for at in range(len(body)):
            yield body[at : at + 1]

    for body in (bom + line(1) + line(2), bom + b"[" + line(1) + b"," + line(2) + b"]"):
        for content in (body, bytewise(body)):
            assert (await served.client.post("/records/bulk", content=content)).json()["created"] == 2
    middle = (await served.client.post("/records/bulk", content=line(1) + bom + line(2))).json()
    assert (middle["created"], middle["failed"]) == (1, 1)
    assert (await served.client.post("/records/bulk", content=bom)).json()["results"] == []


async def test_a_line_that_cannot_be_read_names_column_and_field(served: Served) -> None:
    broken = b'{"source": "a", "category": "b", "payload": {"n": [1, NaN]}}'
    for body, where in (
        (line(1) + broken, "(column 55)"),
        (
            b"[" + line(1) + b",\n" + broken.replace(b'"payload"', b'\n"payload"') + b"]",
            "(line 2 of the record, column 22)",
        ),
    ):
        [_, refused] = (await served.client.post("/records/bulk", content=body)).json()["results"]

        [issue] = refused["error"]["details"]
        assert issue["loc"] == ["body", 2, "payload", "n", 1]
        assert issue["msg"] == f"Invalid JSON: unexpected character, expected a JSON value {where}"


async def test_all_or_nothing(served: Served) -> None:
    good, bad = line(1) + line(2), line(1) + b'{"source": "a"}\n' + line(2)

    refused = await served.client.post("/records/bulk?mode=together", content=bad)
    assert refused.status_code == 422
    assert [issue["loc"] for issue in refused.json()["error"]["details"]] == [
        ["body", 2, "category"],
        ["body", 2, "payload"],
    ]
    assert await total(served) == 0

    taken = await served.client.post("/records/bulk?mode=together", content=good)
    assert taken.json()["created"] == 2


async def test_all_or_nothing_is_for_as_much_as_one_transaction_may_carry(served: Served) -> None:
    large = line(1, payload={"text": "x" * 200_000})
    many = line(1) * (TOGETHER_RECORDS + 1)
    fits = TOGETHER_BYTES // len(large)

    for body, limit, unit in (
        (large * (fits + 1), TOGETHER_BYTES, "bytes"),
        (many, TOGETHER_RECORDS, "records"),
    ):
        refused = await served.client.post("/records/bulk?mode=together", content=body)
        assert refused.status_code == 413
        error = refused.json()["error"]
        assert error["details"] == {"limit": limit, "unit": unit}
        assert f"mode=together takes at most {limit} {unit}" in error["message"]
        assert "mode=each" in error["message"]
    assert await total(served) == 0

    taken = await served.client.post("/records/bulk?mode=together", content=large * fits)
    assert taken.json()["created"] == fits
    described = (await served.client.get("/openapi.json")).json()["paths"]["/records/bulk"]["post"]["parameters"]
    text = next(one["description"] for one in described if one["name"] == "mode")
    assert f"{TOGETHER_RECORDS} records and {TOGETHER_BYTES} bytes" in text


async def test_a_repeated_request_stores_nothing_twice(served: Served) -> None:
    body = b"".join(line(number) for number in range(2500)) + b"wrong\n"
    headers = {"Idempotency-Key": "file-1"}

    first = (await served.client.post("/records/bulk", content=body, headers=headers)).json()
    again = (await served.client.post("/records/bulk", content=body, headers=headers)).json()

    assert (first["created"], first["repeated"], first["failed"]) == (2500, 0, 1)
    assert again == first | {"repeated": 2500}
    assert await total(served) == 2500


async def test_a_broken_request_goes_on_where_it_broke(served: Served) -> None:
    lines = [line(number) for number in range(2500)]
    headers = {"Idempotency-Key": "file-2"}

    await send_and_hang_up(served, b"".join(lines[:1700]), headers)
    assert await total(served) == 1000

    whole = await served.client.post("/records/bulk", content=b"".join(lines), headers=headers)

    assert (whole.json()["created"], whole.json()["repeated"]) == (2500, 1000)
    assert await total(served) == 2500


async def test_a_key_stands_for_one_body(served: Served) -> None:
    lines = [line(number) for number in range(1200)]
    headers = {"Idempotency-Key": "file-3"}
    await served.client.post("/records/bulk", content=b"".join(lines), headers=headers)

    bodies = [b"".join(lines[:1000]), b"".join(lines) + line(7), b"".join(lines * 2), b"".join(lines[1:])]
    answers = [await served.client.post("/records/bulk", content=body, headers=headers) for body in bodies]

    assert [answer.status_code for answer in answers] == [409] * 4
    assert await total(served) == 1200


async def test_sizes_are_limited(database_url: str) -> None:
    async with serving(database_url, max_payload_bytes=64, max_body_bytes=1024, max_bulk_bytes=5000) as served:
        body = line(1) + line(2, payload={"x": "y" * 100}) + line(3)
        large = (await served.client.post("/records/bulk", content=body)).json()
        endless = await served.client.post("/records/bulk", content=b'{"source": "' + b"x" * 3000)
        huge = await served.client.post("/records/bulk", content=line(1) * 100)

        assert (large["created"], large["results"][1]["error"]["code"]) == (2, "PAYLOAD_TOO_LARGE")
        assert (endless.status_code, huge.status_code) == (413, 413)


async def test_everything_pending_is_processed(served: Served) -> None:
    body = b"".join(line(number) for number in range(300)) + line(1, payload={"urgency": None})
    await served.client.post("/records/bulk", content=body)
    first = (await served.client.get("/records?limit=1")).json()["items"][0]["id"]
    await served.client.post(f"/records/{first}/process")

    started = await served.client.post("/records/process", json={})

    many = started.json()
    assert started.status_code == 202
    assert many["matched"] == 300
    result = await served.inside.engine.result(many["run_id"], timeout=60)
    assert result == {"processed": 300, "failed": 0, "skipped": 0}
    assert await total(served, "&status=processed") == 300
    assert await total(served, "&status=failed") == 1
    attempts = [item["attempts"] for item in (await served.client.get("/records?limit=200")).json()["items"]]
    assert set(attempts) == {1}


async def test_a_filter_says_what_is_processed(served: Served) -> None:
    await served.client.post("/records/bulk", content=b"".join(line(number) for number in range(30)))
    await served.client.post("/records/bulk", content=line(0, payload={"impact": []}))

    async def run(body: dict[str, Any]) -> tuple[int, dict[str, int]]:
        many = (await served.client.post("/records/process", json=body)).json()
        return many["matched"], await served.inside.engine.result(many["run_id"], timeout=60)

    assert await run({"category": "c1", "source": "s1"}) == (5, {"processed": 5, "failed": 0, "skipped": 0})
    assert (await run({"category": "c1", "limit": 2}))[1]["processed"] == 2
    assert await run({"created_before": "2020-01-01"}) == (0, {"processed": 0, "failed": 0, "skipped": 0})
    assert (await run({}))[1] == {"processed": 23, "failed": 1, "skipped": 0}
    assert await run({"status": "failed"}) == (1, {"processed": 0, "failed": 1, "skipped": 0})


async def test_overlapping_runs_process_each_record_once(served: Served) -> None:
    await served.client.post("/records/bulk", content=b"".join(line(number) for number in range(400)))

    starts = await asyncio.gather(*(served.client.post("/records/process", json={}) for _ in range(4)))
    results = [await served.inside.engine.result(start.json()["run_id"], timeout=60) for start in starts]

    assert sum(result["processed"] for result in results) == 400
    items = (await served.client.get("/records?limit=200")).json()["items"]
    assert {(item["status"], item["attempts"]) for item in items} == {("processed", 1)}


BAD_FILTERS: list[tuple[Any, int, str]] = [
    ([], 422, "body"),
    ({"status": "processed"}, 422, "status"),
    ({"category": ""}, 422, "category"),
    ({"source": 7}, 422, "source"),
    ({"limit": 0}, 422, "limit"),
    ({"limit": True}, 422, "limit"),
    ({"limit": "5"}, 422, "limit"),
    ({"limit": 1.5}, 422, "limit"),
    ({"colour": "red"}, 422, "colour"),
    ({"created_after": "never"}, 400, "created_after"),
    ({"created_before": "2024-01-01T00:00:00"}, 400, "created_before"),
]


async def test_bad_filters_are_refused_by_name(served: Served) -> None:
    for body, status, field in BAD_FILTERS:
        answer = await served.client.post("/records/process", json=body)

        error = answer.json()["error"]
        assert answer.status_code == status, body
        assert field == (error["details"][0]["loc"][-1] if status == 422 else error["details"]["field"])


async def test_one_key_starts_one_run(served: Served) -> None:
    headers = {"Idempotency-Key": "tonight"}

    answers = [await served.client.post("/records/process", json={}, headers=headers) for _ in range(3)]
    other = await served.client.post("/records/process", json={"category": "c1"}, headers=headers)

    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert other.status_code == 409


async def test_records_are_exported_whole(served: Served) -> None:
    await served.client.post("/records/bulk", content=b"".join(line(number) for number in range(1203)))

    lines = await served.client.get("/records/export")
    table = await served.client.get("/records/export?format=csv&category=c1&source=s1")

    exported = [json.loads(one) for one in lines.text.splitlines()]
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert len({record["id"] for record in exported}) == 1203
    assert exported == sorted(exported, key=lambda record: record["id"])
    assert exported[5] == (await served.client.get(f"/records/{exported[5]['id']}")).json()
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert {(row["category"], row["source"]) for row in rows} == {("c1", "s1")}
    assert len(rows) == await total(served, "&category=c1&source=s1")
    assert json.loads(rows[0]["payload"]) == {"priority": 1}


async def test_an_empty_export_is_empty(served: Served) -> None:
    assert (await served.client.get("/records/export")).text == ""
    assert (await served.client.get("/records/export?format=csv")).text.count("\n") == 1
