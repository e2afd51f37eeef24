"""The contract of records over HTTP."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE

BODY = {"source": "api", "category": "test", "payload": {"priority": 8, "impact": 3, "urgency": 2}}


async def create(served: Served, **changes: Any) -> dict[str, Any]:
    """Store a record and return it."""
    answer = await served.client.post("/records", json=BODY | changes)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_record_is_created_pending(served: Served) -> None:
    answer = await served.client.post("/records", json=BODY)

    record = answer.json()
    assert answer.status_code == 201
    assert {name: record[name] for name in BODY} == BODY
    assert (record["status"], record["attempts"], record["run_id"]) == ("pending", 0, None)
    assert record["classification"] is record["score"] is record["result"] is record["error"] is None
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", record["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record["created_at"])
    assert answer.headers["location"] == f"/records/{record['id']}"
    assert (await served.client.get(f"/records/{record['id']}")).json() == record


async def test_what_is_not_there_is_not_found(served: Served) -> None:
    for record_id in ["nope", "01a20404-567e-70a0-b62d-f9c4747cb052", "%00", "%ff" * 36, "x" * 36, "x" * 500, "🙂"]:
        for method, path in (("GET", ""), ("POST", "/process"), ("POST", "/retry")):
            answer = await served.client.request(method, f"/records/{record_id}{path}")

            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "NOT_FOUND"
            assert answer.json()["error"]["message"] == "record not found"


async def test_processing_answers_what_a_get_answers_afterwards(served: Served) -> None:
    record = await create(served)

    answer = await served.client.post(f"/records/{record['id']}/process")

    processed = answer.json()
    assert answer.status_code == 200
    assert (processed["status"], processed["classification"], processed["score"]) == ("processed", "high", 13)
    assert processed["result"] == {"score": 13, "classification": "high", "rules": "default-1"}
    assert processed["attempts"] == 1
    assert processed["processed_at"] == processed["updated_at"] > processed["created_at"]
    assert (await served.client.get(f"/records/{record['id']}")).json() == processed
    run = (await served.client.get(f"/runs/{processed['run_id']}")).json()
    assert (run["status"], run["outputs"]) == ("succeeded", "processed")


async def test_a_processed_record_is_not_processed_again(served: Served) -> None:
    record = await create(served)
    first = (await served.client.post(f"/records/{record['id']}/process")).json()

    again = await served.client.post(f"/records/{record['id']}/process")

    assert again.status_code == 409
    assert again.json()["error"]["code"] == "CONFLICT"
    assert again.json()["error"]["message"] == "record is not pending"
    assert (await served.client.get(f"/records/{record['id']}")).json() == first
    assert (await served.client.post(f"/records/{record['id']}/retry")).status_code == 409


async def test_of_many_callers_one_processes(served: Served) -> None:
    record = await create(served)

    answers = await asyncio.gather(*(served.client.post(f"/records/{record['id']}/process") for _ in range(16)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 15
    found = (await served.client.get(f"/records/{record['id']}")).json()
    assert (found["status"], found["attempts"]) == ("processed", 1)


async def test_callers_with_one_key_get_one_answer(served: Served) -> None:
    record = await create(served)
    headers = {"Idempotency-Key": "same"}

    answers = await asyncio.gather(
        *(served.client.post(f"/records/{record['id']}/process", headers=headers) for _ in range(8))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1


async def test_a_failed_record_can_be_processed_again(served: Served) -> None:
    record = await create(served, payload={"priority": "soon"})

    failed = (await served.client.post(f"/records/{record['id']}/process")).json()
    assert (failed["status"], failed["error"], failed["result"]) == ("failed", "invalid priority", None)
    assert (await served.client.post(f"/records/{record['id']}/process")).status_code == 409

    retried = await served.client.post(f"/records/{record['id']}/retry")
    assert retried.status_code == 200
    assert (retried.json()["status"], retried.json()["attempts"]) == ("failed", 2)
    assert retried.json()["run_id"] != failed["run_id"]


async def test_without_a_worker_processing_is_accepted(database_url: str) -> None:
    async with serving(database_url, worker=False, process_wait_seconds=0.05) as served:
        record = await create(served)

        answer = await served.client.post(f"/records/{record['id']}/process")

        assert answer.status_code == 202
        assert answer.headers["location"] == f"/runs/{answer.json()['run_id']}"
        assert (await served.client.get(answer.headers["location"])).json()["status"] == "queued"
        assert (await served.client.post(f"/records/{record['id']}/process")).status_code == 409


async def test_a_record_whose_run_was_cancelled_can_be_processed_again(database_url: str) -> None:
    async with serving(database_url, worker=False, process_wait_seconds=0.05) as served:
        record = await create(served)
        run_id = (await served.client.post(f"/records/{record['id']}/process")).json()["run_id"]
        assert (await served.client.post(f"/runs/{run_id}/cancel")).json()["status"] == "cancelled"

        again = await served.client.post(f"/records/{record['id']}/process")

        assert again.status_code == 202
        assert again.json()["run_id"] != run_id


async def test_a_repeated_creation_repeats_its_answer(served: Served) -> None:
    headers = {"Idempotency-Key": "order-1"}

    answers = await asyncio.gather(*(served.client.post("/records", json=BODY, headers=headers) for _ in range(5)))
    other = await served.client.post("/records", json=BODY | {"source": "else"}, headers=headers)

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert other.status_code == 409
    assert (await served.client.get("/records")).json()["total"] == 1


async def test_lists_are_paged_filtered_and_sorted(served: Served) -> None:
    for number in range(7):
        await create(served, category=f"c{number % 3}", source=f"s{number % 2}", payload={"priority": number})

    newest = (await served.client.get("/records")).json()
    oldest = (await served.client.get("/records?sort_order=asc&limit=3&offset=2")).json()
    chosen = (await served.client.get("/records?category=c1&source=s0&status=pending")).json()

    assert (newest["count"], newest["total"], newest["total_exact"], newest["next_cursor"]) == (7, 7, True, None)
    assert [item["payload"]["priority"] for item in newest["items"]] == [6, 5, 4, 3, 2, 1, 0]
    assert [item["payload"]["priority"] for item in oldest["items"]] == [2, 3, 4]
    assert (oldest["count"], oldest["total"]) == (3, 7)
    assert [item["payload"]["priority"] for item in chosen["items"]] == [4]
    uncounted = (await served.client.get("/records?count=none&limit=1000")).json()
    assert (uncounted["count"], uncounted["total"], uncounted["total_exact"]) == (7, None, None)


async def test_cursors_stay_stable_while_records_arrive(served: Served) -> None:
    before = [(await create(served))["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await served.client.get(f"/records?limit=2{cursor}")).json()
        seen += [item["id"] for item in page["items"]]
        await create(served)
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen == before[::-1]


async def test_creation_bounds_include_both_ends(served: Served) -> None:
    records = [await create(served) for _ in range(3)]
    middle = records[1]["created_at"]

    after = (await served.client.get("/records", params={"created_after": middle})).json()
    before = (await served.client.get("/records", params={"created_before": middle})).json()
    day = (await served.client.get("/records", params={"created_before": middle[:10]})).json()
    spaced = (await served.client.get(f"/records?created_after={middle.replace('Z', '+00:00')}")).json()

    assert [item["id"] for item in after["items"]] == [records[2]["id"], records[1]["id"]]
    assert [item["id"] for item in before["items"]] == [records[1]["id"], records[0]["id"]]
    assert (after["total"], before["total"], day["total"], spaced["total"]) == (2, 2, 3, 2)


BAD_PARAMETERS = [
    ("status=done", 422, "status"),
    ("sort_by=invalid", 422, "sort_by"),
    ("sort_order=up", 422, "sort_order"),
    ("limit=0", 422, "limit"),
    ("limit=-3", 422, "limit"),
    ("limit=ten", 422, "limit"),
    ("limit=1_0", 422, "limit"),
    ("limit=5.0", 422, "limit"),
    ("limit=%205", 422, "limit"),
    ("limit=99999999999999999999", 422, "limit"),
    ("offset=-1", 422, "offset"),
    ("count=maybe", 422, "count"),
    ("cursor=xyz", 422, "cursor"),
    ("cursor=WyJ4Iiwi", 422, "cursor"),
    ("colour=red", 422, "colour"),
    ("limit=1&limit=2", 422, "limit"),
    ("category=", 422, "category"),
    ("category=%00", 422, "category"),
    ("category=%ff", 422, "category"),
    ("source=" + "x" * 129, 422, "source"),
    ("created_after=yesterday", 400, "created_after"),
    ("created_after=2024-01-01T00:00:00", 400, "created_after"),
    ("created_before=2024-13-01", 400, "created_before"),
    ("created_before=0001-01-01T00:00:00%2B14:00", 400, "created_before"),
]


async def test_bad_parameters_are_refused_by_name(served: Served) -> None:
    for query, status, field in BAD_PARAMETERS:
        answer = await served.client.get(f"/records?{query}")

        error = answer.json()["error"]
        assert answer.status_code == status, query
        assert error["code"] == {400: "BAD_REQUEST", 422: "VALIDATION_ERROR"}[status]
        if status == 422:
            assert [issue["loc"] for issue in error["details"]] == [["query", field]], query
        else:
            assert error["message"].startswith("invalid datetime: ")
            assert error["details"]["field"] == field


async def test_a_cursor_of_another_list_is_refused(served: Served) -> None:
    for _ in range(3):
        await create(served)
    cursor = (await served.client.get("/records?limit=1")).json()["next_cursor"]

    assert (await served.client.get(f"/records?cursor={cursor}")).status_code == 200
    assert (await served.client.get(f"/records?status=failed&cursor={cursor}")).status_code == 422
    assert (await served.client.get(f"/records?sort_order=asc&cursor={cursor}")).status_code == 422


async def test_a_cursor_has_no_offset_beside_it(served: Served) -> None:
    for _ in range(3):
        await create(served)
    cursor = (await served.client.get("/records?limit=1")).json()["next_cursor"]

    refused = await served.client.get(f"/records?cursor={cursor}&offset=1")

    assert (refused.status_code, refused.json()["error"]["details"][0]["loc"]) == (422, ["query", "offset"])
    assert (await served.client.get(f"/records?cursor={cursor}&offset=0")).json()["count"] == 2


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "header,value",
    [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Type", "application/jsonx"),
        ("Content-Encoding", "gzip"),
    ],
)
async def test_headers_that_say_it_is_no_json_are_refused(served: Served, header: str, value: str) -> None:
    answer = await served.client.post("/records", content=json.dumps(BODY), headers={header: value})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]) == (400, "BAD_REQUEST", {"field": header})
    assert error["message"].startswith(f"{header}: {value} is ")
    if header == "Content-Type":
        assert error["message"].endswith("send Content-Type: application/json")


@ON_ONE_DATABASE
@pytest.mark.parametrize("value", ["application/json", "Application/JSON; charset=utf-8", "application/x.y+json", ""])
async def test_headers_that_say_it_is_json_are_taken(served: Served, value: str) -> None:
    headers = {"Content-Type": value, "Content-Encoding": "identity"}

    assert (await served.client.post("/records", content=json.dumps(BODY), headers=headers)).status_code == 201


async def test_processing_takes_no_orders_in_a_body(served: Served) -> None:
    record = await create(served)

    for action in ("process", "retry"):
        path = f"/records/{record['id']}/{action}"
        for body, place in ((b'{"force": true}', ["body", "force"]), (b"[]", ["body"]), (b"x=1", ["body"])):
            answer = await served.client.post(path, content=body)

            assert answer.status_code == 422
            assert answer.json()["error"]["details"][0]["loc"] == place
    assert (await served.client.post(f"/records/{record['id']}/process", content=b" { } ")).status_code == 200


async def test_a_record_in_the_works_is_said_to_be(migrated_sqlite_url: str) -> None:
    async with serving(migrated_sqlite_url, worker=False, process_wait_seconds=0) as served:
        record = await create(served)
        path = f"/records/{record['id']}/process"
        run_id = (await served.client.post(path)).json()["run_id"]

        answer = await served.client.post(path)

        assert (answer.status_code, answer.json()["error"]["message"]) == (409, "record is not pending")
        assert answer.json()["error"]["details"] == {
            "id": record["id"],
            "status": "pending",
            "run_id": run_id,
            "reason": "it is being processed: its run has not ended",
        }


BAD_RECORDS: list[tuple[bytes, list[list[object]]]] = [
    (b"", [["body"]]),
    (b"{", [["body"]]),
    (b"[]", [["body"]]),
    (b"null", [["body"]]),
    (b'"x"', [["body"]]),
    (b"\xff", [["body"]]),
    (b'\xef\xbb\xbf\xef\xbb\xbf{"source":"a","category":"b","payload":{}}', [["body"]]),
    (b'{"source":"a","category":"b\xff","payload":{}}', [["body", "category"]]),
    (b"{}", [["body", "source"], ["body", "category"], ["body", "payload"]]),
    (b'{"invalid": "payload"}', [["body", name] for name in ("source", "category", "payload", "invalid")]),
    (b'{"source":1,"category":true,"payload":"{}"}', [["body", name] for name in BODY]),
    (b'{"source":"","category":null,"payload":[]}', [["body", name] for name in BODY]),
    (b'{"source":"a","category":"b","payload":{},"id":"x"}', [["body", "id"]]),
    (b'{"source":"a\\u0000","category":"b","payload":{}}', [["body", "source"]]),
    (b'{"source":"a","category":"b","payload":{"x":{"y":["\\u0000"]}}}', [["body", "payload", "x", "y", 0]]),
    (b'{"source":"a","category":"b","payload":{"k\\u0000":1}}', [["body", "payload", "k\\u0000"]]),
    (b'{"source":"a","category":"b","payload":{"x":"\\ud800"}}', [["body", "payload", "x"]]),
    (b'{"source":"a","category":"b","payload":{"x":NaN}}', [["body", "payload", "x"]]),
    (b'{"source":"a","category":"b","payload":{"x":Infinity}}', [["body", "payload", "x"]]),
    (b'{"source":"a","category":"b","payload":{"x":1e999}}', [["body", "payload", "x"]]),
    (b'{"source":"a","category":"b","payload":{"x":9223372036854775808}}', [["body", "payload", "x"]]),
    (b'{"source":"a","category":"b","payload":{"x":' + b"9" * 300 + b"}}", [["body", "payload", "x"]]),
    (b'{"source":"a","category":"b","payload":{"x":' + b"9" * 5000 + b"}}", [["body", "payload", "x"]]),
    (
        b'{"source":"a","category":"b","payload":{"x":' + b"[" * 70 + b"]" * 70 + b"}}",
        [["body", "payload", "x", *[0] * 62]],
    ),
    (
        b'{"source":"a","category":"b","payload":' + b'{"x":' * 5000 + b"1" + b"}" * 5000 + b"}",
        [["body", "payload", *["x"] * 63]],
    ),
]


async def test_bad_records_are_refused_and_leave_nothing(served: Served) -> None:
    for body, places in BAD_RECORDS:
        answer = await served.client.post("/records", content=body)

        error = answer.json()["error"]
        assert answer.status_code == 422, body
        assert (error["code"], error["message"]) == ("VALIDATION_ERROR", "Validation failed")
        assert [issue["loc"] for issue in error["details"]] == places, body
        assert all(set(issue) == {"loc", "msg", "type"} for issue in error["details"])
    assert (await served.client.get("/records")).json()["total"] == 0


async def test_a_body_that_cannot_be_read_says_where(served: Served) -> None:
    start = b'{"source":"a","category":"b",\n"payload":{"x":"\xc3\xa4","y":'
    for rest, said in (
        (b"NaN}}", "unexpected character, expected a JSON value (line 2, column 24)"),
        (b'"\\ud800"}}', "no low surrogate in string (line 2, column 25)"),
        (b'"\xff"}}', "not valid UTF-8 (line 2, column 25)"),
        (b"1", "unexpected end of data (line 2, column 25)"),
    ):
        [issue] = (await served.client.post("/records", content=start + rest)).json()["error"]["details"]

        assert issue["loc"] == ["body", "payload", "y"]
        assert issue["msg"] == f"Invalid JSON: {said}"


async def test_a_byte_order_mark_is_passed_over(served: Served) -> None:
    answer = await served.client.post("/records", content="\ufeff".encode() + json.dumps(BODY).encode())

    assert (answer.status_code, answer.json()["payload"]) == (201, BODY["payload"])


UNUSUAL_VALUES = [
    "9223372036854775807",
    "-9223372036854775808",
    "1e+300",
    "0.1",
    "1.7976931348623157e308",
    '"\\u0001 \\" \\\\u0000 \\ud83d\\ude42"',
    '"12345678901234567890"',
    '{"": {"a b": [null, true, false, {}]}}',
]


async def test_what_is_accepted_comes_back_as_it_was(served: Served) -> None:
    for value in UNUSUAL_VALUES:
        body = f'{{"source":"s","category":"c","payload":{{"x":{value}}}}}'.encode()

        made = (await served.client.post("/records", content=body)).json()
        found = (await served.client.get(f"/records/{made['id']}")).json()

        expected = json.loads(value)
        assert made["payload"] == {"x": expected}
        if isinstance(expected, float):
            found["payload"]["x"] = float(found["payload"]["x"])
        assert found == made


async def test_sizes_are_limited(database_url: str) -> None:
    async with serving(database_url, max_payload_bytes=100, max_body_bytes=1024) as served:
        fits = await served.client.post("/records", json=BODY | {"payload": {"x": "y" * 92}})
        large = await served.client.post("/records", json=BODY | {"payload": {"x": "y" * 93}})
        huge = await served.client.post("/records", json=BODY | {"payload": {"x": "y" * 2000}})

        async def trickle() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b" " * 100

        streamed = await served.client.post("/records", content=trickle())

        assert fits.status_code == 201
        assert [answer.status_code for answer in (large, huge, streamed)] == [413, 413, 413]
        assert {answer.json()["error"]["code"] for answer in (large, huge, streamed)} == {"PAYLOAD_TOO_LARGE"}


async def test_a_bad_idempotency_key_is_refused(served: Served) -> None:
    for key in (b"", b" ", b"two words", b"x" * 256, "schlüssel".encode()):
        answer = await served.client.post("/records", json=BODY, headers={b"Idempotency-Key": key})

        assert answer.status_code == 422
        assert answer.json()["error"]["details"][0]["loc"] == ["header", "Idempotency-Key"]
