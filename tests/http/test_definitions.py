"""Definitions over HTTP: saved in JSON and YAML, listed, compared, chosen, deleted; and what they can be made of."""

from typing import Any

import httpx2
import pytest

from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE
from tests.support.definitions import definition, log

PREFIX = "/api/v1/workflows"
YAML = """
name: from yaml
version: 2
tags: [a, b]
inputs:
  day: {type: string, default: 2026-01-31}
steps:
  - id: a
    type: log
    config: {message: "{{ inputs.day }}"}
    on_success: _end
"""


async def save(served: Served, **fields: Any) -> dict[str, Any]:
    answer = await served.client.post(PREFIX, json=definition(**fields))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_definition_is_saved_and_read(served: Served) -> None:
    body = definition(description="d", tags=["t"], metadata={"b": 1, "a": 2})

    saved = await served.client.post(PREFIX, json=body)
    row = saved.json()
    read = await served.client.get(f"{PREFIX}/{row['id']}")

    assert saved.status_code == 201
    assert row == {
        "id": row["id"],
        "name": "example",
        "version": 1,
        "description": "d",
        "tags": ["t"],
        "is_active": True,
        "is_current": True,
    }
    assert saved.headers["location"] == f"{PREFIX}/{row['id']}"
    assert read.json()["definition"] == body
    assert list(read.json()["definition"]) == list(body)
    assert read.json() | {"id": row["id"], "name": "example", "version": 1, "is_active": True} == read.json()
    assert (await served.client.get(PREFIX)).json() == [row]


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml"])
async def test_yaml_is_taken(served: Served, kind: str) -> None:
    saved = await served.client.post(PREFIX, content=YAML, headers={"content-type": kind})

    assert saved.status_code == 201, saved.text
    found = (await served.client.get(f"{PREFIX}/{saved.json()['id']}")).json()["definition"]
    assert found["inputs"]["day"]["default"] == "2026-01-31"
    assert (found["version"], found["steps"][0]["on_success"]) == (2, "_end")


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "kind,body,status,said",
    [
        ("application/yaml", "a: 1\na: 2", 422, "Duplicate field 'a' (line 2, column 1)"),
        ("application/yaml", "a: !!python/object:os.system x", 422, "is not supported"),
        ("application/yaml", "a: [", 422, "Invalid YAML"),
        ("application/yaml", "[" * 100_000, 422, "Nesting is deeper than 64 levels"),
        ("application/yaml", "- a\n---\n- b", 422, "single document"),
        ("application/yaml", "", 422, "Input should be an object"),
        ("application/json", '{"name": "x", "name": "y", "steps": []}', 422, "Duplicate field 'name'"),
        ("application/json", "{", 422, "Invalid JSON"),
        ("application/json", "[" * 10_000, 422, "deeper"),
        ("application/json", "[]", 422, "Input should be an object"),
        ("text/plain", "{}", 400, "neither JSON nor YAML"),
    ],
)
async def test_what_cannot_be_read_is_refused(served: Served, kind: str, body: str, status: int, said: str) -> None:
    answer = await served.client.post(PREFIX, content=body, headers={"content-type": kind})

    assert answer.status_code == status
    assert said in answer.text


async def test_aliases_cannot_grow_without_end(served: Served) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]

    answer = await served.client.post(PREFIX, content="\n".join(lines), headers={"content-type": "text/yaml"})

    assert answer.status_code == 422
    assert "more than 50000 values" in answer.text


async def test_everything_wrong_is_answered_at_once(served: Served) -> None:
    body = definition([log("a", on_success="x"), {"id": "a", "type": "nope"}], speed=1)

    answer = await served.client.post(PREFIX, json=body)

    assert answer.status_code == 422
    told = answer.json()
    assert {(issue["path"], issue["code"]) for issue in told["detail"]} == {
        ("speed", "extra_forbidden"),
        ("steps.0.on_success", "unknown_target"),
        ("steps.1.id", "duplicate_step_id"),
        ("steps.1.type", "unknown_step_type"),
    }
    unknown = next(issue for issue in told["detail"] if issue["code"] == "unknown_step_type")
    assert unknown == {
        "path": "steps.1.type",
        "code": "unknown_step_type",
        "message": "Unknown step type: nope",
        "step_id": "a",
        "step_type": "nope",
        "loc": ["body", "steps", 1, "type"],
        "msg": "Unknown step type: nope",
        "type": "unknown_step_type",
    }
    assert told["request_id"] == answer.headers["x-request-id"]


async def test_large_definitions_are_413(served: Served) -> None:
    whole = await served.client.post(PREFIX, json=definition(metadata={"x": "y" * 262_144}))
    config = await served.client.post(PREFIX, json=definition([log("a", config={"message": "y" * 32_768})]))

    assert (whole.status_code, config.status_code) == (413, 413)
    assert whole.json()["detail"] == "The definition is larger than 262144 bytes of compact JSON"
    assert config.json()["detail"] == "The config is larger than 32768 bytes of compact JSON"
    assert config.json()["data"]["field"] == "steps.0.config"


async def test_duplicates_are_422(served: Served) -> None:
    row = await save(served)

    again = await served.client.post(PREFIX, json=definition())
    version = await served.client.post(f"{PREFIX}/{row['id']}/versions", json=definition())

    assert (again.status_code, again.json()["detail"]) == (
        422,
        "Workflow with same name and version already exists",
    )
    assert (version.status_code, version.json()["detail"]) == (422, "Workflow version already exists")


async def test_versions_are_listed_compared_and_chosen(served: Served) -> None:
    first = await save(served)
    path = f"{PREFIX}/{first['id']}"
    second = (await served.client.post(f"{path}/versions", json=definition([log("a")], version=2))).json()

    assert [row["version"] for row in (await served.client.get(f"{path}/versions")).json()] == [2, 1]
    assert [row["version"] for row in (await served.client.get(f"{path}/versions?before=2")).json()] == [1]
    assert (await served.client.get(f"{path}/versions/2")).json()["id"] == second["id"]
    assert (await served.client.get(f"{path}/versions/9")).status_code == 404
    diff = (await served.client.get(f"{PREFIX}/{second['id']}/diff")).json()
    assert (diff["from"], diff["to"], diff["steps"]["removed"]) == (1, 2, ["b"])
    assert (await served.client.get(f"{path}/diff?from=2&to=1")).json()["steps"]["added"] == ["b"]
    assert (await served.client.post(f"{path}/activate")).json()["is_current"] is True
    assert (await served.client.post(f"{path}/rollback")).json()["version"] == 2
    assert (await served.client.post(f"{path}/rollback")).status_code == 409


async def test_a_deleted_version_is_still_there(served: Served) -> None:
    path = f"{PREFIX}/{(await save(served))['id']}"

    assert (await served.client.delete(path)).json() == {"ok": True}
    assert (await served.client.delete(path)).json() == {"ok": True}
    assert (await served.client.get(path)).json()["is_active"] is False
    assert (await served.client.get(PREFIX)).json() == []
    assert len((await served.client.get(f"{PREFIX}?deleted=true")).json()) == 1


async def test_lists_have_pages(served: Served) -> None:
    for number in range(1, 6):
        await save(served, name=f"w{number}", tags=["x"])

    names, path = [], f"{PREFIX}?limit=2&tag=x"
    while True:
        answer = await served.client.get(path)
        names += [row["name"] for row in answer.json()]
        if "next-cursor" not in answer.headers:
            break
        path = answer.headers["link"].partition(">")[0].removeprefix("<")

    assert names == ["w1", "w2", "w3", "w4", "w5"]
    assert [row["name"] for row in (await served.client.get(f"{PREFIX}?q=W3")).json()] == ["w3"]
    assert (await served.client.get(f"{PREFIX}?cursor=nonsense")).status_code == 422
    assert (await served.client.get(f"{PREFIX}?sort=x")).status_code == 422
    assert [row["name"] for row in (await served.client.get(f"{PREFIX}?owner=*&limit=1")).json()] == ["w1"]


async def test_an_unchanged_definition_is_not_sent_again(served: Served) -> None:
    path = f"{PREFIX}/{(await save(served))['id']}"
    tag = (await served.client.get(path)).headers["etag"]

    same = await served.client.get(path, headers={"if-none-match": f'"x", W/{tag}'})
    await served.client.delete(path)
    changed = await served.client.get(path, headers={"if-none-match": tag})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


async def test_a_change_is_made_only_to_what_was_read(served: Served) -> None:
    client, first = served.client, (await save(served))["id"]
    path = f"{PREFIX}/{first}"
    document = (await client.get(path)).json()["definition"]

    async def tag() -> dict[str, str]:
        return {"If-Match": (await client.get(path)).headers["etag"]}

    fresh = await tag()
    made = await client.post(f"{path}/versions", json={**document, "version": 2}, headers=fresh)
    assert made.status_code == 201
    before = (await client.get(f"{path}/versions")).json()
    for method, below, body in (
        ("POST", "/versions", {**document, "version": 3}),
        ("POST", "/activate", None),
        ("POST", "/rollback", None),
        ("DELETE", "", None),
    ):
        stale = await client.request(method, path + below, json=body, headers=fresh)
        assert (stale.status_code, stale.json()["code"]) == (412, "PRECONDITION_FAILED")
    assert (await client.get(f"{path}/versions")).json() == before

    assert (await client.post(f"{path}/activate", headers=await tag())).json()["is_current"] is True
    two = f"{PREFIX}/{made.json()['id']}"
    seen = (await client.get(two)).headers["etag"]
    assert (await client.post(f"{two}/activate", headers={"If-Match": f'"x", {seen}'})).status_code == 200
    assert (await client.post(f"{path}/rollback", headers=await tag())).status_code == 200
    assert (await client.delete(path, headers={"If-Match": "*"})).status_code == 200


@pytest.mark.parametrize("method,path", [("GET", ""), ("DELETE", ""), ("GET", "/versions"), ("POST", "/activate")])
async def test_ids_are_numbers(served: Served, method: str, path: str) -> None:
    wrong = await served.client.request(method, f"{PREFIX}/abc{path}")
    absent = await served.client.request(method, f"{PREFIX}/{10**30}{path}")

    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["path", "workflow_id"])
    assert (absent.status_code, absent.json()["detail"]) == (404, "Workflow not found")


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "method,path", [("DELETE", "/step-types"), ("DELETE", "/templates?q=x"), ("GET", "/preflight"), ("PUT", "/1")]
)
async def test_other_methods_are_told_which_there_are(served: Served, method: str, path: str) -> None:
    answer = await served.client.request(method, f"{PREFIX}{path}")

    assert answer.status_code == 405
    assert answer.headers["allow"]


async def test_filters_have_their_lengths(served: Served) -> None:
    for name in ("q", "tag", "name", "owner"):
        for value in ("", "x" * 256, "a%00b"):
            answer = await served.client.get(f"{PREFIX}?{name}={value}")
            assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", name])


async def test_preflight_answers_whatever_the_draft_is(served: Served) -> None:
    path = f"{PREFIX}/preflight"

    good = await served.client.post(path, json={"definition": definition()})
    malformed = await served.client.post(path, json={"definition": {"name": "x", "steps": [{"id": "a"}]}})
    rules = await served.client.post(
        path, json={"definition": definition([{"id": "a", "type": "x"}]), "validation_mode": "non-block"}
    )
    missing = await served.client.post(path, json={})
    wrong = await served.client.post(path, json={"definition": 1, "validation_mode": "no", "x": 1})

    assert good.json() == {"valid": True, "errors": [], "warnings": []}
    assert (malformed.status_code, malformed.json()["valid"]) == (200, False)
    assert malformed.json()["errors"][0]["message"] == "steps.0.type: Field required"
    assert rules.json()["valid"] is True
    assert rules.json()["warnings"][0]["code"] == "definition_validation_warning"
    assert (missing.status_code, missing.json()["detail"][0]["loc"]) == (422, ["body", "definition"])
    assert {issue["loc"][-1] for issue in wrong.json()["detail"]} == {"x", "validation_mode"}


async def test_step_types_and_the_schema_tell_how_to_write_one(served: Served) -> None:
    types = (await served.client.get(f"{PREFIX}/step-types")).json()
    schema = (await served.client.get(f"{PREFIX}/schema")).json()

    log_type = next(found for found in types if found["name"] == "log")
    assert log_type.keys() == {"name", "description", "schema", "example", "min_engine_version", "capabilities"}
    assert log_type["capabilities"].keys() == {
        "replay_safe",
        "idempotency_strategy",
        "compensation_supported",
        "requires_human_review_for_rerun",
        "evidence_level",
    }
    assert {"log", "branch", "map", "wait_for_human"} <= {found["name"] for found in types}
    assert schema["$defs"]["config.log"]["required"] == ["message"]
    named = {found["const"] for found in schema["$defs"]["step"]["properties"]["type"]["oneOf"]}
    assert named == {found["name"] for found in types}
    assert (await served.client.get(f"{PREFIX}/options/chunkers")).json()["name"] == "core_chunking"


async def test_templates_are_offered(served: Served) -> None:
    path = f"{PREFIX}/templates"

    every = (await served.client.get(path)).json()
    assert {"approval_with_reminder", "map_items_to_webhook", "nightly_report"} <= {row["name"] for row in every}
    assert every[0].keys() == {"name", "filename", "title", "tags"}
    assert [row["name"] for row in (await served.client.get(f"{path}?q=NIGHTLY")).json()] == ["nightly_report"]
    assert [row["name"] for row in (await served.client.get(f"{path}?tag=graph")).json()] == ["fan_out_and_join"]
    assert (await served.client.get(f"{path}?tag=gra")).json() == []
    assert "approval" in (await served.client.get(f"{path}/tags")).json()
    for name in ("nightly_report", "nightly_report.workflow.json", "_byname/nightly_report"):
        assert (await served.client.get(f"{path}/{name}")).json()["name"] == "nightly_report"
    saved = await served.client.post(PREFIX, content=(await served.client.get(f"{path}/fan_out_and_join")).content)
    assert saved.status_code == 201


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "name,status",
    [
        ("nothing", 404),
        ("a%2Fb", 400),
        ("a/b", 400),
        ("a%5Cb", 400),
        ("", 400),
        ("%20", 400),
        ("%2e%2e", 400),
        ("%2e%2e%2f%2e%2e%2fetc%2fpasswd", 400),
        ("a%00b", 400),
        ("_byname/..%2Fx", 400),
        ("_byname/nothing", 404),
    ],
)
async def test_odd_names_of_templates_are_refused(served: Served, name: str, status: int) -> None:
    url = httpx2.URL(f"http://windlass{PREFIX}/templates/x").copy_with(raw_path=f"{PREFIX}/templates/{name}".encode())
    answer = await served.client.get(url)

    assert answer.status_code == status
    assert answer.json()["detail"] == ("Template not found" if status == 404 else "Invalid template name")


async def test_everything_needs_an_identity(database_url: str) -> None:
    key = {"x-api-key": "s3cret-key"}
    async with serving(database_url, api_key="s3cret-key") as guarded:
        for method, path in (
            ("GET", ""),
            ("POST", ""),
            ("POST", "/preflight"),
            ("GET", "/step-types"),
            ("GET", "/schema"),
            ("GET", "/templates"),
            ("GET", "/templates/nightly_report"),
            ("GET", "/1"),
            ("DELETE", "/1"),
            ("GET", "/1/versions"),
            ("POST", "/1/versions"),
            ("POST", "/1/activate"),
            ("POST", "/1/rollback"),
            ("GET", "/1/diff"),
        ):
            assert (await guarded.client.request(method, f"{PREFIX}{path}")).status_code == 401, path
        assert (await guarded.client.get(PREFIX, headers=key)).json() == []
        saved = await guarded.client.post(PREFIX, json=definition(), headers=key)
        assert saved.status_code == 201
