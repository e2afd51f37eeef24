"""Candidates over HTTP: registering, lists, changes and decisions, and exactly the contract's refusals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import jwt
import pytest

from tests.support.apps import Served, serving
from tests.support.demo_billing import DemoBilling, billing
from tests.support.waiting import wait_until_async
from windlass.contexts.providers import tasks
from windlass.contexts.providers.api import ApprovalRules
from windlass.kernel.actors import Actor

OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
WORD = "correct horse"
KEY = "j" * 32
BASES = ("/candidates", "/api/providers/candidates")
NOBODY = "00000000-0000-4000-8000-000000000000"
MODIFIED = "Candidate was modified by another process. Please retry."
TRUCKS = {
    "company_name": "Fresh Fruit Ltd", "contact_email": "info@fresh.example", "phone": "+972 3 555",
    "location": "Haifa", "products": ["apples", "grapes"], "truck_count": 5, "capacity_tons_per_day": 100,
}  # fmt: skip


@pytest.fixture
def demo() -> Iterator[DemoBilling]:
    """A billing service whose faults can be switched on."""
    with billing() as running:
        yield running


@pytest.fixture
async def served(database_url: str, demo: DemoBilling) -> AsyncIterator[Served]:
    """The application of a developer, with an administrator, a user and a neighbour's administrator."""
    async with serving(database_url, jwt_secret_key=KEY, billing_service_url=demo.url) as running:
        identity = running.inside.identity
        await identity.add_user(OPERATOR, "admin@example.com", WORD, role="admin")
        await identity.add_user(OPERATOR, "bob", WORD)
        await identity.add_user(OPERATOR, "eve", WORD, "acme", role="admin")
        yield running


async def bearer(served: Served, name: str = "admin@example.com") -> dict[str, str]:
    """The headers of a user who has logged in."""
    answer = await served.client.post("/auth/login", data={"username": name, "password": WORD})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def register(served: Served, number: int = 0, base: str = BASES[0], **fields: Any) -> dict[str, Any]:
    """Register a candidate."""
    sent = {**TRUCKS, "contact_email": f"info{number}@fresh.example", **fields}
    answer = await served.client.post(base, json=sent)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def told(answer: httpx2.Response) -> tuple[int, Any]:
    """The status and the detail of a refusal, whose shape is the contract's."""
    body = answer.json()
    assert {"detail", "code", "request_id"} <= body.keys() <= {"detail", "code", "request_id", "data"}, body
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, body["detail"]


def wrong(answer: httpx2.Response) -> list[tuple[str, str]]:
    """Which fields of a request are wrong, and why."""
    status, issues = told(answer)
    assert status == 422, answer.text
    return [(".".join(map(str, issue["loc"])), issue["msg"]) for issue in issues]


@pytest.mark.parametrize("base", BASES)
async def test_a_candidate_registers_and_is_found(served: Served, base: str) -> None:
    answer = await served.client.post(base, json=TRUCKS)
    made = answer.json()

    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert answer.headers["location"] == f"{base}/{made['candidate_id']}"
    assert made == {
        **TRUCKS, "candidate_id": made["candidate_id"], "status": "pending", "provider_id": None, "version": 1,
        "rejection_reason": None, "approval": None, "last_approval_error": None, "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }  # fmt: skip
    found = await served.client.get(f"{base}/{made['candidate_id'].upper()}")
    assert (found.status_code, found.json(), found.headers["etag"]) == (200, made, '"1"')

    again = await served.client.post(base, json={**TRUCKS, "contact_email": "INFO@Fresh.Example"})
    assert told(again) == (409, "A candidate with this email already exists")
    assert told(await served.client.get(f"{base}/{NOBODY}")) == (404, "Candidate not found")
    assert wrong(await served.client.get(f"{base}/test-id")) == [("path.candidate_id", "Input should be a valid UUID")]
    least: dict[str, Any] = {"phone": None, "location": None, "products": ["mangoes"]}
    assert (await register(served, **least)).items() >= least.items()


async def test_a_repeated_registration_is_answered_the_same(served: Served) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = await asyncio.gather(
        *(served.client.post("/candidates", json=TRUCKS, headers=headers) for _ in range(2))
    )
    other = await served.client.post("/candidates", json={**TRUCKS, "phone": "1"}, headers=headers)

    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert first.status_code == 201
    assert told(other) == (409, "Idempotency-Key was used with another request")


async def test_every_field_is_bounded_and_named(served: Served) -> None:
    for name, given, said in (
        ("company_name", "", "at least 1 character"),
        ("company_name", "x" * 256, "at most 255 characters"),
        ("company_name", "a\nb", "control characters"),
        ("company_name", 7, "a string"),
        ("contact_email", None, "a string"),
        ("contact_email", "no-address", "an e-mail address"),
        ("contact_email", "a@b", "an e-mail address"),
        ("contact_email", "dä@example.com", "of ASCII characters"),
        ("contact_email", f"{'x' * 65}@example.com", "an e-mail address"),
        ("contact_email", "a..b@example.com", "an e-mail address"),
        ("phone", "5" * 51, "at most 50 characters"),
        ("location", "x" * 256, "at most 255 characters"),
        ("products", [], "a list of one or more of apples, oranges, grapes, bananas, mangoes"),
        ("products", "apples", "a list of one or more"),
        ("products.1", ["apples", "kiwis"], "There is no product 'kiwis'"),
        ("products.1", ["apples", "apples"], "'apples' is named twice"),
        ("products.0", [["apples"]], "a string"),
        ("products", ["apples"] * 6, "at most 5 items"),
        ("truck_count", 0, "an integer from 1"),
        ("truck_count", True, "an integer from 1"),
        ("truck_count", "5", "an integer from 1"),
        ("capacity_tons_per_day", 1.5, "an integer from 1"),
        ("capacity_tons_per_day", 2**31, "an integer from 1 to 2147483647"),
        ("id", 1, "not permitted"),
        ("status", "approved", "not permitted"),
        ("provider_id", 1, "not permitted"),
    ):
        sent = {**TRUCKS, name.partition(".")[0]: given}
        [(place, reason)] = wrong(await served.client.post("/candidates", json=sent))
        assert place == f"body.{name}"
        assert said in reason
    nothing = wrong(await served.client.post("/candidates", json={}))
    assert {place for place, _ in nothing} == {f"body.{name}" for name in TRUCKS} - {"body.phone", "body.location"}
    raw = [b"[]", b"{", b'{"phone": "\\u0000"}', b'{"phone": "\\ud800"}', b"[" * 100 + b"]" * 100]
    for body in raw:
        wrong(await served.client.post("/candidates", content=body, headers={"Content-Type": "application/json"}))
    assert (await served.client.get("/candidates")).json()["pagination"]["total"] == 0


async def test_lists_are_paged_filtered_and_counted(served: Served) -> None:
    made = []
    for number in range(5):
        products = ["apples"] if number % 2 else ["oranges", "mangoes"]
        name = f"100% Fruit_{number}" if number < 2 else "O'Neill"
        made.append((await register(served, number, products=products, company_name=name))["candidate_id"])
    headers = await bearer(served)
    await served.client.post(f"/candidates/{made[0]}/reject", headers=headers)

    async def ids(query: str) -> tuple[list[int], dict[str, int]]:
        answer = await served.client.get(f"/candidates?{query}")
        body = answer.json()
        assert answer.status_code == 200, answer.text
        return [made.index(one["candidate_id"]) for one in body["candidates"]], body["pagination"]

    for query, numbers, total, limit, offset in (
        ("", [4, 3, 2, 1, 0], 5, 20, 0),
        ("limit=2&offset=1", [3, 2], 5, 2, 1),
        ("limit=2&offset=4", [0], 5, 2, 4),
        ("limit=2&offset=9", [], 5, 2, 9),
        ("page=2&page_size=2", [2, 1], 5, 2, 2),
        ("page=2", [], 5, 20, 20),
        ("page_size=1", [4], 5, 1, 0),
        ("status=pending", [4, 3, 2, 1], 4, 20, 0),
        ("status=rejected&product=oranges", [0], 1, 20, 0),
        ("product=mangoes&limit=1", [4], 3, 1, 0),
        ("q=NEILL", [4, 3, 2], 3, 20, 0),
        ("q=info3%40", [3], 1, 20, 0),
        ("q=100%25+fruit_1", [1], 1, 20, 0),
        ("q=1_0", [], 0, 20, 0),
        ("product=apples'+OR+'1'='1", [], 0, 20, 0),
        ("product=apples\"]'::jsonb+OR+true", [], 0, 20, 0),
        ("product={}", [], 0, 20, 0),
        ("q=%25", [1, 0], 2, 20, 0),
        ("q=';DROP+TABLE+candidates--", [], 0, 20, 0),
    ):
        assert await ids(query) == (numbers, {"total": total, "limit": limit, "offset": offset}), query
    for query, place in (
        ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("offset=-1", "offset"),
        ("page=0", "page"), ("page_size=101", "page_size"), ("page=1&limit=5", "limit"), ("status=new", "status"),
        ("status=pending&status=approved", "status"), ("product=", "product"), ("q=" + "x" * 256, "q"),
        ("q=%00", "q"), ("sort=name", "sort"), ("status[$ne]=pending", "status[$ne]"),
    ):  # fmt: skip
        assert [where for where, _ in wrong(await served.client.get(f"/candidates?{query}"))] == [f"query.{place}"]


async def test_a_change_names_what_it_is_made_to(served: Served) -> None:
    headers = await bearer(served)
    await register(served, 1)
    made = await register(served)
    path = f"/api/providers/candidates/{made['candidate_id']}"

    async def change(fields: dict[str, Any], **more: str) -> httpx2.Response:
        return await served.client.patch(path, json=fields, headers=headers | more)

    done = await change({"truck_count": 9, "products": ["bananas"], "version": 1}, **{"If-Match": '"1"'})
    after = done.json()
    assert (done.status_code, done.headers["etag"]) == (200, '"2"')
    changed = {"truck_count": 9, "products": ["bananas"], "version": 2, "updated_at": after["updated_at"]}
    assert after == made | changed
    assert after["updated_at"] > made["updated_at"]
    assert told(await change({"phone": "1", "version": 1})) == (409, MODIFIED)
    assert told(await change({"phone": "1"}, **{"If-Match": '"1"'})) == (412, MODIFIED)
    assert told(await change({"phone": "1"}, **{"If-Match": 'W/"2"'})) == (412, MODIFIED)
    assert (await served.client.get(path)).json() == after
    assert (await change({"phone": None}, **{"If-Match": '"1", "2"'})).json()["version"] == 3
    assert (await change({"location": "Acre"}, **{"If-Match": "*"})).json()["version"] == 4
    taken = await change({"contact_email": "INFO1@fresh.example"})
    assert told(taken) == (409, "A candidate with this email already exists")
    assert (await change({"contact_email": "Info0@Fresh.example"})).status_code == 200
    assert [place for place, _ in wrong(await change({"status": "approved"}))] == ["body.status"]
    assert [place for place, _ in wrong(await change({"company_name": None, "truck_count": 0}))] == [
        "body.company_name",
        "body.truck_count",
    ]
    assert [place for place, _ in wrong(await change({}))] == ["body"]
    assert [place for place, _ in wrong(await change({"phone": "1", "version": 0}))] == ["body.version"]
    missing = await served.client.patch(f"/candidates/{NOBODY}", json={"phone": "1"}, headers=headers)
    assert told(missing) == (404, "Candidate not found")

    both = await asyncio.gather(*(change({"truck_count": 1 + n, "version": 5}) for n in range(8)))
    assert sorted(answer.status_code for answer in both) == [200] + [409] * 7


async def test_a_candidate_is_decided_once(served: Served, demo: DemoBilling) -> None:
    headers = await bearer(served)

    async def post(made: dict[str, Any], verb: str, body: Any = None, **more: str) -> httpx2.Response:
        path = f"/candidates/{made['candidate_id']}/{verb}"
        return await served.client.post(path, json=body, headers=headers | more)

    one, two, three = [await register(served, number) for number in range(3)]
    assert [place for place, _ in wrong(await post(one, "approve", {"approved": False}))] == ["body.approved"]
    assert told(await post(one, "approve", {"version": 7})) == (409, MODIFIED)
    assert told(await post(one, "approve", **{"If-Match": '"7"'})) == (412, MODIFIED)
    approved = await post(one, "approve", {"approved": True, "version": 1})
    assert (approved.status_code, approved.json()) == (
        200, {"candidate_id": one["candidate_id"], "status": "approved", "provider_id": 10001},
    )  # fmt: skip
    for verb in ("approve", "reject"):
        assert told(await post(one, verb)) == (400, "Candidate already approved")
    for body, reason in ((None, None), ({"reason": "no papers"}, "no papers"), ({"rejection_reason": "x"}, "x")):
        made = await register(served, contact_email=f"r{reason}@fresh.example".replace(" ", "."))
        rejected = await post(made, "reject", body)
        assert (rejected.status_code, rejected.json()) == (
            200, {"candidate_id": made["candidate_id"], "status": "rejected", "rejection_reason": reason},
        )  # fmt: skip
        for verb in ("approve", "reject"):
            assert told(await post(made, verb)) == (400, "Candidate already rejected")
    for sent, place in (
        ({"reason": "x" * 1001}, "reason"), ({"reason": "a", "rejection_reason": "b"}, "rejection_reason"),
        ({"reason": ["x"]}, "reason"), ({"approved": False}, "approved"), ({"version": "1"}, "version"),
    ):  # fmt: skip
        assert [where for where, _ in wrong(await post(two, "reject", sent))] == [f"body.{place}"]
    for verb in ("approve", "reject", "review"):
        gone = await post({"candidate_id": NOBODY}, verb, {"release": True} if verb == "review" else None)
        assert told(gone) == (404, "Candidate not found")
    assert [where for where, _ in wrong(await post(two, "approve?wait=maybe"))] == ["query.wait"]

    demo.faults(next=1, status=400)
    refused = await post(two, "approve")
    assert told(refused)[0] == 502
    assert told(refused)[1].startswith("Failed to create provider: ")
    for given, shown in (({}, None), (await bearer(served), told(refused)[1])):
        found = (await served.client.get(f"/candidates/{two['candidate_id']}", headers=given)).json()
        assert found["status"] == "pending"
        assert (found["last_approval_error"] or {}).get("message") == shown

    answers = await asyncio.gather(*(post(three, "reject", {"reason": str(n)}) for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


async def test_an_approval_under_way_is_shown_and_settled_by_a_person(
    served: Served, demo: DemoBilling, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, user = await bearer(served), await bearer(served, "bob")
    one, two = [await register(served, number, company_name=f"Fruit {number}") for number in range(2)]
    path = f"/candidates/{one['candidate_id']}"

    async def post(verb: str, body: Any = None, below: str = path) -> httpx2.Response:
        return await served.client.post(f"{below}/{verb}", json=body, headers=headers)

    async def needs_review(of: dict[str, Any]) -> bool:
        found = (await served.client.get("/candidates?approval=needs_review")).json()
        return of["candidate_id"] in [each["candidate_id"] for each in found["candidates"]]

    demo.faults(keys=False)
    demo.store.create("Fruit 0", None)
    door, create = threading.Event(), demo.store.create
    monkeypatch.setattr(demo.store, "create", lambda *given: door.wait(60) and create(*given))
    accepted = await post("approve?wait=false")
    assert accepted.status_code == 202
    assert accepted.headers["location"] == path
    assert accepted.json()["approval"]["requested_by"] == "admin@example.com"
    now = (await served.client.get(path)).json()
    assert (now["status"], now["approval"]["state"]) == ("pending", "approving")
    for verb, body in (("approve", None), ("reject", None), ("reject", {"version": now["version"]})):
        assert told(await post(verb, body)) == (409, MODIFIED)
    patched = await served.client.patch(path, json={"phone": "1"}, headers=headers)
    assert told(patched) == (409, MODIFIED)
    assert told(await post("review", {"release": True}))[0] == 409

    door.set()
    await wait_until_async(lambda: needs_review(one), what="an approval that a person must look at")
    assert (await served.client.get("/candidates?approval=approving")).json()["pagination"]["total"] == 0
    for given, whole in ((headers, True), (user, False), ({}, False)):
        approval = (await served.client.get(path, headers=given)).json()["approval"]
        assert [bool(approval[name]) for name in ("run_id", "requested_by", "note")] == [whole] * 3
    for said in ({}, {"provider_id": 1, "release": True}, {"release": False}, {"provider_id": 0}, {"provider_id": "1"}):
        assert wrong(await post("review", said))
    released = await post("review", {"release": True})
    assert (released.status_code, released.json()["approval"]) == (200, None)

    demo.store.create("Fruit 1", None)
    other = f"/candidates/{two['candidate_id']}"
    await post("approve?wait=false", below=other)
    await wait_until_async(lambda: needs_review(two), what="the other one, too")
    adopted = (await post("review", {"provider_id": 10077}, below=other)).json()
    assert (adopted["status"], adopted["provider_id"]) == ("approved", 10077)


async def test_an_approval_that_waits_for_billing_can_be_given_up(
    served: Served, demo: DemoBilling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(tasks, "LONGEST_PAUSE", 0.02)
    headers = await bearer(served)
    door, created, create = threading.Event(), threading.Event(), demo.store.create

    def slowly(name: str, key: str | None) -> tuple[int, bool]:
        created.set()
        door.wait(60)
        return create(name, key)

    monkeypatch.setattr(demo.store, "create", slowly)

    async def begin(number: int) -> str:
        demo.faults(fail="error", share=1.0)
        made = await register(served, number, company_name=f"Fruit {number}")
        path = f"/candidates/{made['candidate_id']}"
        await served.client.post(f"{path}/approve?wait=false", headers=headers)
        await wait_until_async(lambda: reached(path, "waiting_for_billing"))
        return path

    async def reached(path: str, wanted: str | None) -> bool:
        approval = (await served.client.get(path)).json()["approval"]
        return bool(approval["state"] == wanted if approval else wanted is None)

    async def give_up(path: str) -> tuple[int, str | None]:
        answer = await served.client.post(f"{path}/review", json={"release": True}, headers=headers)
        approval = answer.json()["approval"]
        return answer.status_code, approval["state"] if approval else None

    path = await begin(0)
    assert await give_up(path) == (200, "needs_review")  # a 500 does not say that billing did nothing
    assert await give_up(path) == (200, None)

    path = await begin(1)
    demo.faults()
    await wait_until_async(created.is_set, what="a call that will be carried out")
    monkeypatch.setattr(served.inside.providers.approvals, "_rules", ApprovalRules(wait_seconds=0.0))
    assert await give_up(path) == (202, "waiting_for_billing")
    door.set()
    await wait_until_async(lambda: reached(path, None))
    assert (await served.client.get(path)).json()["status"] == "approved"
    assert [demo.store.find(f"Fruit {number}") is not None for number in range(2)] == [False, True]


async def test_who_may(served: Served) -> None:
    made = await register(served)
    path = f"/candidates/{made['candidate_id']}"
    admin, user, neighbour = [await bearer(served, name) for name in ("admin@example.com", "bob", "eve")]
    claims = jwt.decode(admin["Authorization"].split()[1], options={"verify_signature": False})
    forged = {
        "expired": jwt.encode(claims | {"exp": 1}, KEY, "HS256"),
        "of another key": jwt.encode(claims, "k" * 32, "HS256"),
        "unsigned": jwt.encode(claims, "", "none"),
        "without exp": jwt.encode({name: claims[name] for name in claims if name != "exp"}, KEY, "HS256"),
        "no token": "nonsense",
    }
    mint = "/api/v1/workflows/auth/virtual-key"
    minted = await served.client.post(mint, json={"allowed_paths": ["/candidates", "/api/providers"]}, headers=admin)
    narrowed = {"Authorization": f"Bearer {minted.json()['token']}"}
    # What is wrong with these besides is not looked at.
    guarded = [("PATCH", ""), ("POST", "/approve"), ("POST", "/reject"), ("POST", "/review")]
    for base in BASES:
        for method, below in guarded:
            for place in (f"{base}/{made['candidate_id']}{below}", f"{base}/test-id{below}?x=1"):
                for given in ({}, {"X-API-Key": "x"}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer "}):
                    answer = await served.client.request(method, place, content=b"{", headers=given)
                    assert told(answer) == (401, "Not authenticated"), (method, place, given)
                    assert answer.headers["www-authenticate"] == "Bearer"
                refused = await served.client.request(method, place, content=b"{", headers=user)
                assert told(refused) == (403, "Admin access required")
                beyond = await served.client.request(method, place, content=b"{", headers=narrowed)
                assert told(beyond) == (403, "Forbidden: no virtual key reaches this")
    for token in forged.values():
        headers = {"Authorization": f"Bearer {token}"}
        for method, place in (("POST", f"{path}/approve"), ("GET", "/candidates?limit=0"), ("POST", "/candidates")):
            answer = await served.client.request(method, place, headers=headers)
            assert told(answer) == (401, "Could not validate credentials")
            assert answer.headers["www-authenticate"] == "Bearer"
    for method, below in guarded:
        body: dict[str, Any] = {"phone": "1"} if method == "PATCH" else {"release": True} if below == "/review" else {}
        answer = await served.client.request(method, f"{path}{below}", json=body, headers=neighbour)
        assert told(answer) == (404, "Candidate not found")
    assert told(await served.client.get(path, headers=neighbour)) == (404, "Candidate not found")
    assert (await served.client.get("/candidates", headers=neighbour)).json()["candidates"] == []
    for given in ({}, narrowed):
        assert (await served.client.get(path, headers=given)).json() == made
    assert (await served.client.post(f"{path}/approve", headers=admin)).status_code == 200

    document = (await served.client.get("/openapi.json")).json()["paths"]
    secured = {
        path
        for path in document
        for one in document[path].values()
        if one.get("security") == [{"Login": []}, {"Bearer": []}]
    }
    one = "/candidates/{candidate_id}"
    assert secured == {one, f"{one}/approve", f"{one}/reject", f"{one}/review"}


async def test_decisions_are_in_the_audit_log(served: Served) -> None:
    made = await register(served)
    headers = await bearer(served)
    path = f"/candidates/{made['candidate_id']}"
    await served.client.patch(path, json={"truck_count": 6}, headers=headers)
    await served.client.post(f"{path}/reject", json={"reason": "no papers"}, headers=headers)

    entries = (await served.client.get("/api/v1/audit", headers=headers)).json()["items"]

    kept = [one for one in entries if one["target"] == f"candidate:{made['candidate_id']}"]
    assert [one["action"] for one in kept] == ["candidate.reject", "candidate.change"]
    assert kept[0]["after"] == {"status": "rejected", "rejection_reason": "no papers"}
    assert [kept[1][side]["truck_count"] for side in ("before", "after")] == [5, 6]
    assert {one["actor"]["name"] for one in kept} == {"admin@example.com"}
