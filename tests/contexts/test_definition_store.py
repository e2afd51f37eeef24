"""Definitions are kept with their versions, on both databases: nobody else's, no version twice, one current."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from tests.support.definitions import definition, log
from windlass.bootstrap import Application, run_application
from windlass.contexts.workflows.api import Order
from windlass.contexts.workflows.definitions.calls import call_faults
from windlass.contexts.workflows.definitions.service import Definitions, VersionExists
from windlass.contexts.workflows.definitions.store import Family, ListQuery, Row
from windlass.contexts.workflows.definitions.tables import workflows
from windlass.engine.ports import Transaction
from windlass.kernel.actors import DEVELOPER, RUNS_READ, WORKFLOWS_ADMIN, Actor, Forbidden
from windlass.kernel.errors import Conflict, NotFound, TooLarge, ValidationFailed
from windlass.settings import Settings

ANN = Actor("ann", "ann", permissions=frozenset({RUNS_READ}))
BOB = Actor("bob", "bob", permissions=frozenset({RUNS_READ}))
ADMIN = Actor("root", "root", permissions=frozenset({WORKFLOWS_ADMIN, RUNS_READ}))
ELSEWHERE = Actor("ann", "ann", tenant_id="other", role="admin")


@pytest.fixture
def definitions(running: Application) -> Definitions:
    """The definitions of a database."""
    return running.definitions


async def save(definitions: Definitions, version: int = 1, actor: Actor = ANN, **fields: Any) -> Row:
    return await definitions.create(actor, definition(version=version, **fields))


async def test_what_was_saved_comes_back_as_it_was_given(definitions: Definitions) -> None:
    given = {"steps": [log("z"), log("a")], "name": "Ä b", "metadata": {"n": 1.0}, "tags": ["x", "ü"]}

    row = await definitions.create(ANN, given)
    found = await definitions.get(ANN, row.id)

    assert (row.name, row.version, row.tags, row.is_active, row.is_current) == ("Ä b", 1, ("x", "ü"), True, True)
    assert found.document == given
    assert list(found.document) == list(given)
    assert found.row == row
    assert row.created_at == row.updated_at


async def test_a_name_and_version_are_there_once(definitions: Definitions) -> None:
    first = await save(definitions)

    for actor in (ANN, BOB):
        with pytest.raises(VersionExists, match="Workflow with same name and version already exists"):
            await save(definitions, actor=actor)
    with pytest.raises(VersionExists, match="Workflow version already exists"):
        await definitions.add_version(ANN, first.id, definition())
    elsewhere = await save(definitions, actor=ELSEWHERE)
    assert elsewhere.id != first.id


async def test_two_at_once_make_one(definitions: Definitions, database_url: str) -> None:
    settings = Settings(database_url=database_url, lease_seconds=5.0)
    async with run_application(settings, worker=False) as other:
        several = [
            save(one, number, name="race") for number in (1, 1, 2, 3) for one in (definitions, other.definitions)
        ]
        done = await asyncio.gather(*several, return_exceptions=True)

    made = [row for row in done if isinstance(row, Row)]
    assert sorted(row.version for row in made) == [1, 2, 3]
    assert all(isinstance(row, Row | VersionExists) for row in done)
    [current] = [row for row in await definitions.versions(ANN, made[0].id) if row.is_current]
    assert current.version == 3


async def test_others_see_nothing(definitions: Definitions) -> None:
    row = await save(definitions)

    for stranger in (BOB, ELSEWHERE):
        for call in (
            definitions.get(stranger, row.id),
            definitions.find(stranger, row.id),
            definitions.versions(stranger, row.id),
            definitions.version(stranger, row.id, 1),
            definitions.diff(stranger, row.id, 1, 1),
            definitions.delete(stranger, row.id),
            definitions.activate(stranger, row.id),
            definitions.rollback(stranger, row.id),
            definitions.add_version(stranger, row.id, definition(version=2)),
        ):
            with pytest.raises(NotFound, match="Workflow not found"):
                await call
    assert (await definitions.get(ADMIN, row.id)).row.is_active


async def test_reading_needs_its_permission(definitions: Definitions) -> None:
    row = await save(definitions)
    blind = Actor("ann", "ann")

    for call in (definitions.get(blind, row.id), definitions.versions(blind, row.id)):
        with pytest.raises(Forbidden, match=r"Permission denied: missing workflows\.runs\.read"):
            await call
    assert (await definitions.find(blind, row.id)).row == row


@pytest.mark.parametrize("workflow_id", [0, -1, 999, 2**63 - 1, 2**63, 10**40])
async def test_what_is_not_there_is_not_found(definitions: Definitions, workflow_id: int) -> None:
    with pytest.raises(NotFound, match="Workflow not found"):
        await definitions.get(ANN, workflow_id)


async def test_the_newest_version_is_current_until_another_is_chosen(definitions: Definitions) -> None:
    first = await save(definitions, 1)
    third = await definitions.add_version(ANN, first.id, definition(version=3))
    second = await definitions.add_version(ANN, first.id, definition(version=2))

    assert (first.is_current, third.is_current, second.is_current) == (True, True, False)
    assert (await definitions.resolve("default", "ann", "example")).row.id == third.id
    assert (await definitions.resolve("default", "ann", "example", 2)).row.id == second.id

    chosen = await definitions.activate(ANN, second.id)
    assert chosen.is_current
    assert await current(definitions, first) == 2
    assert (await definitions.rollback(ANN, first.id)).version == 3
    assert (await definitions.rollback(ANN, first.id)).version == 1
    with pytest.raises(Conflict, match="no earlier version"):
        await definitions.rollback(ANN, first.id)
    assert await current(definitions, first) == 1
    assert (await definitions.activate(ANN, first.id)).is_current


async def current(definitions: Definitions, row: Row) -> int | None:
    """The version that the name stands for; one at most."""
    found = [one.version for one in await definitions.versions(ANN, row.id) if one.is_current]
    assert len(found) <= 1
    return found[0] if found else None


async def test_a_deleted_version_stays_readable_and_runnable(definitions: Definitions) -> None:
    first, second = await save(definitions, 1), await save(definitions, 2)

    await definitions.delete(ANN, second.id)
    await definitions.delete(ANN, second.id)

    assert (await definitions.get(ANN, second.id)).row.is_active is False
    assert (await definitions.find(ANN, second.id)).document["version"] == 2
    assert await current(definitions, first) == 1
    assert [row.version for row in await definitions.page(ListQuery("default", "ann"))] == [1]
    assert [row.version for row in await definitions.versions(ANN, first.id)] == [2, 1]
    with pytest.raises(Conflict, match="deleted"):
        await definitions.activate(ANN, second.id)
    with pytest.raises(VersionExists):
        await save(definitions, 2)
    await definitions.delete(ANN, first.id)
    assert await current(definitions, first) is None
    with pytest.raises(NotFound):
        await definitions.resolve("default", "ann", "example")
    assert await current(definitions, await save(definitions, 3)) == 3


async def test_another_name_begins_another_workflow(definitions: Definitions) -> None:
    first = await save(definitions, 1)
    renamed = await definitions.add_version(ADMIN, first.id, definition(name="renamed", version=1))

    assert (renamed.owner_id, renamed.name, renamed.is_current) == ("ann", "renamed", True)
    assert [row.version for row in await definitions.versions(ANN, first.id)] == [1]


async def test_versions_are_compared(definitions: Definitions) -> None:
    first = await save(definitions, 1, tags=["a"])
    later = definition([log("b", retry=3, config={"message": "new"}), log("c")], version=2, description="d")
    second = await definitions.add_version(ANN, first.id, later)

    found = await definitions.diff(ANN, second.id, 1, 2)

    assert (found["from"], found["to"], found["same"]) == (1, 2, False)
    assert {change["path"] for change in found["fields"]} == {"version", "tags", "description"}
    assert (found["steps"]["added"], found["steps"]["removed"]) == (["c"], ["a"])
    assert found["steps"]["changed"] == [
        {"id": "b", "changes": [{"path": "config.message", "old": "b", "new": "new"}, {"path": "retry", "new": 3}]}
    ]
    assert found["text"].startswith("--- example 1\n+++ example 2\n")
    assert (await definitions.diff(ANN, first.id, 1, 1))["same"] is True
    with pytest.raises(NotFound, match="version not found"):
        await definitions.diff(ANN, first.id, 1, 9)


async def test_lists_are_paged_and_filtered(definitions: Definitions) -> None:
    for number in range(1, 8):
        await save(
            definitions, number, name=f"w{number % 2}", tags=["odd" if number % 2 else "even"], description="É%_"
        )
    await save(definitions, actor=BOB, name="w2")
    query = ListQuery("default", "ann", limit=3)

    pages = []
    while found := await definitions.page(query):
        pages.append([(row.name, row.version) for row in found])
        query = ListQuery("default", "ann", limit=3, after=pages[-1][-1])

    assert pages == [[("w0", 6), ("w0", 4), ("w0", 2)], [("w1", 7), ("w1", 5), ("w1", 3)], [("w1", 1)]]

    async def count(**wanted: Any) -> int:
        return len(await definitions.page(ListQuery("default", **{"owner_id": "ann", **wanted})))

    assert await count(tag="odd") == 4
    assert await count(tag="od") == 0
    assert await count(q="W1") == 4
    assert await count(q="%_") == 7
    assert await count(q="%%") == 0
    assert await count(name="w0", current=True) == 1
    assert await count(owner_id=None) == 8
    assert await count(owner_id="bob") == 1
    assert sum([len(page) async for page in definitions.every(ListQuery("default", "ann"))]) == 7


async def test_wrong_definitions_are_not_saved(definitions: Definitions) -> None:
    with pytest.raises(ValidationFailed):
        await definitions.create(ANN, {"name": "x", "steps": [log("a", on_success="nowhere")]})
    with pytest.raises(TooLarge):
        await definitions.create(ANN, {"name": "x", "steps": [], "metadata": {"x": "y" * 300_000}})

    assert await definitions.page(ListQuery("default", None, deleted=True)) == []


def call(step_id: str, target: object, **more: object) -> dict[str, Any]:
    named = isinstance(target, str) and "inputs.id" not in target
    return {"id": step_id, "type": "workflow_call", "config": {f"workflow_{'name' if named else 'id'}": target, **more}}


async def test_sub_workflows_must_be_there(definitions: Definitions) -> None:
    inner, foreign = await save(definitions, name="inner"), await save(definitions, name="foreign", actor=BOB)

    await save(definitions, name="outer", steps=[call("a", inner.id), call("b", "{{ inputs.id }}")])
    with pytest.raises(ValidationFailed) as refused:
        await save(definitions, name="bad", steps=[call("a", 999), call("b", foreign.id), call("c", inner.id)])

    assert [(issue.data["path"], issue.msg) for issue in refused.value.issues] == [
        ("steps.1.config.workflow_id", f"There is no workflow {foreign.id}"),
        ("steps.0.config.workflow_id", "There is no workflow 999"),
    ]


async def test_a_workflow_cannot_call_the_one_that_is_to_be(definitions: Definitions) -> None:
    row = await save(definitions, name="first")

    with pytest.raises(ValidationFailed, match="There is no workflow"):
        await save(definitions, name="second", steps=[call("a", row.id + 1)])


async def test_calls_by_name_that_lead_back_are_found(running: Application) -> None:
    a = Family("default", "ann", "a")
    row = await save(running.definitions, name="b")
    body = orjson.dumps({"name": "b", "steps": [call("s", "a")]}).decode()
    changed = sa.update(workflows).where(workflows.c.id == row.id).values(definition_json=body)
    await running.engine.transact(lambda tx: tx.connection.execute(changed))

    async def faults(target: object) -> list[str]:
        document = {"name": "a", "steps": [call("s", target)]}
        found = await running.engine.read(lambda connection: call_faults(connection, document, a, ANN.owns))
        return [fault.message for fault in found]

    assert await faults("a") == ["Sub-workflows lead back to their caller: a -> a"]
    assert await faults("b") == ["Sub-workflows lead back to their caller: a -> b -> a"]
    assert await faults(row.id) == ["Sub-workflows lead back to their caller: a -> b -> a"]
    assert await faults("later") == []


async def test_sub_workflows_are_found_by_name_when_the_run_gets_there(running: Application) -> None:
    definitions, runs = running.definitions, running.workflows.runs

    def leaf(message: str) -> list[Any]:
        return [{"id": "say", "type": "log", "config": {"message": message}}]

    async def run(actor: Actor, steps: list[Any], **inputs: Any) -> tuple[Any, str]:
        view = await runs.start_adhoc(actor, {"name": "caller", "steps": steps}, Order(inputs, mode="sync"))
        return view.outputs, str(view.error)

    said = [call("a", "leaf"), call("b", "{{ inputs.leaf }}", version=1)]
    paired = [
        *said,
        {"id": "c", "type": "prompt", "config": {"template": "{{ a.outputs.message }} {{ b.outputs.message }}"}},
    ]
    assert "not_found: config.workflow_name: there is no workflow leaf" in (await run(ANN, paired, leaf="leaf"))[1]
    row = await save(definitions, name="leaf", steps=leaf("old"))
    assert (await run(ANN, paired, leaf="leaf"))[0]["text"] == "old old"
    await definitions.add_version(ANN, row.id, {"name": "leaf", "version": 2, "steps": leaf("new")})
    assert (await run(ANN, paired, leaf="leaf"))[0]["text"] == "new old"
    assert "there is no workflow leaf" in (await run(BOB, paired, leaf="leaf"))[1]
    assert "config.version: there is no workflow leaf version 3" in (await run(ANN, [call("a", "leaf", version=3)]))[1]

    again = [call("s", "{{ inputs.name }}", inputs={"name": "{{ inputs.name }}"})]
    circle = await save(definitions, name="circle", steps=again)
    ended = await runs.start_saved(ANN, circle.id, Order({"name": "circle"}, mode="sync"))
    assert "cyclic_call" in str(ended.error)
    for wrong in ([call("a", "circle", workflow_id=1)], [call("a", row.id, version=1)], [call("a", "circle")]):
        with pytest.raises(ValidationFailed):
            await save(definitions, name="circle", version=2, steps=wrong)


async def test_the_audit_hears_of_changes_in_their_transaction(running: Application) -> None:
    heard: list[tuple[str, str, str]] = []
    fails = False

    def record(
        tx: Transaction,
        actor: Actor,
        action: str,
        target: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        assert tx.connection is not None
        if fails:
            raise Conflict("no")
        heard.append((actor.user_id, action, target))

    definitions = Definitions(running.engine, running.definitions.catalogue, record)
    row = await save(definitions)
    second = await definitions.add_version(ADMIN, row.id, definition(version=2))
    await definitions.rollback(ANN, row.id)
    await definitions.delete(ANN, row.id)
    with pytest.raises(NotFound):
        await definitions.get(BOB, row.id)
    fails = True
    with pytest.raises(Conflict):
        await save(definitions, 9)

    assert heard == [
        ("ann", "workflow.create", f"workflow:{row.id}"),
        ("root", "workflow.create_version", f"workflow:{second.id}"),
        ("root", "workflow.admin_override", f"workflow:{second.id}"),
        ("ann", "workflow.rollback", f"workflow:{row.id}"),
        ("ann", "workflow.delete", f"workflow:{row.id}"),
        ("bob", "workflow.denied", f"workflow:{row.id}"),
    ]
    assert [found.version for found in await definitions.page(ListQuery("default", "ann"))] == [2]


async def test_the_developer_owns_what_it_saves(definitions: Definitions) -> None:
    row = await save(definitions, actor=DEVELOPER)

    assert (row.owner_id, row.tenant_id) == ("dev", "default")
