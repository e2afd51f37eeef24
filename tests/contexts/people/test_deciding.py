"""People decide: once, by whoever may, and the run hears exactly what they said."""

import asyncio
from typing import Any

import pytest

from tests.contexts.people.asked import ADMIN, ANN, BOB, CID, OWNER, Office, asked, person, start, steps
from tests.engine.lab import event_types, payloads, status_of
from tests.support.databases import ON_ONE_DATABASE
from windlass import Engine
from windlass.contexts.people.api import Task
from windlass.kernel.actors import Actor, Forbidden
from windlass.kernel.errors import Conflict, Invalid, NotFound, ValidationFailed

FORM = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "minimum": 1}, "why": {"type": "string"}},
    "required": ["amount"],
    "additionalProperties": False,
}


async def test_a_person_sees_what_waits_and_approves(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine, instructions="Look at it", form_schema=FORM, timeout=86400))
    [task] = (await people.inbox(ANN)).items
    assert (task.run_id, task.step_id, task.kind, task.status) == (handle.run_id, "review", "human", "open")
    assert (task.assigned_to, task.instructions, task.form_schema) == (("ann",), "Look at it", FORM)
    assert (task.workflow, task.owner, task.quorum, task.approvals) == ("people.ask_one", "olga", 1, 0)
    assert task.due_at is not None
    assert task.due_at > task.opened_at
    [told] = await payloads(engine, handle, "waiting_human")
    assert told.pop("due_at") is not None
    assert told == {"step_id": "review", "assigned_to": ["ann"], "task_id": task.task_id}

    done = await people.decide(ANN, handle.run_id, "review", "approve", "fine", {"amount": 7})

    assert (done.status, done.approvals) == ("approved", 1)
    assert await handle.result(timeout=10) == ["approved", "fine", {"amount": 7}, ["ann"]]
    assert (await people.inbox(ANN)).items == []
    [(kept, [answer])] = await people.of_run(handle.run_id)
    assert (kept.status, answer.decider, answer.comment) == ("approved", "ann", "fine")
    assert answer.edited_fields == {"amount": 7}


async def test_a_rejection_is_told_and_noted(office: Office, engine: Engine) -> None:
    handle = await asked(await start(engine, kind="approval", form_schema=FORM), "waiting_approval")

    await office.people[engine].decide(ANN, handle.run_id, "review", "reject", "no")

    assert await handle.result(timeout=10) == ["rejected", "no", {}, ["ann"]]
    assert await payloads(engine, handle, "human_rejected") == [{"step_id": "review"}]


async def test_only_who_is_asked_and_administrators_decide(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine))
    strangers = [
        (OWNER, "Step run not found"),
        (BOB, "Run not found"),
        (person("ann", tenant_id="other"), "Run not found"),
        (Actor("root", "root", "other", "admin"), "Run not found"),
    ]
    for actor, words in strangers:
        for call in (people.decide(actor, handle.run_id, "review", "approve"),
                     people.reassign(actor, handle.run_id, "review", "bob")):  # fmt: skip
            with pytest.raises(NotFound, match=words):
                await call
    with pytest.raises(Forbidden):
        await people.decide(Actor("ann", "ann"), handle.run_id, "review", "approve")
    with pytest.raises(NotFound, match="Step run not found"):
        await people.decide(ADMIN, handle.run_id, "other", "approve")
    with pytest.raises(NotFound, match="Run not found"):
        await people.decide(ADMIN, "no-such-run", "review", "approve")
    assert (await people.inbox(OWNER)).items == []

    await people.decide(ADMIN, handle.run_id, "review", "approve")

    assert await handle.result(timeout=10) == ["approved", None, {}, ["root"]]


async def test_a_second_decision_is_a_conflict(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine))
    await people.decide(ANN, handle.run_id, "review", "approve")
    for actor, decision in ((ANN, "approve"), (ADMIN, "reject")):
        with pytest.raises(Conflict, match="approved already"):
            await people.decide(actor, handle.run_id, "review", decision)
    await handle.result(timeout=10)
    with pytest.raises(Conflict):
        await people.decide(ANN, handle.run_id, "review", "approve")
    assert (await event_types(engine, handle)).count("signal_received") == 1


async def test_of_many_at_once_one_decides(office: Office, engine: Engine) -> None:
    others = [engine, await office.open(worker=False)]
    for _ in range(5):
        handle = await asked(await start(engine, assigned_to=["ann", "bob", "cid"]))
        calls = [
            office.people[each].decide(actor, handle.run_id, "review", decision, actor.user_id)
            for each in others
            for actor, decision in ((ANN, "approve"), (BOB, "reject"), (CID, "approve"))
        ]
        answers = await asyncio.gather(*calls, return_exceptions=True)

        [won] = [answer for answer in answers if isinstance(answer, Task)]
        assert all(isinstance(answer, Conflict) for answer in answers if answer is not won)
        said = await handle.result(timeout=10)
        assert said[0] == won.status
        assert said[3] == [said[1]]


async def test_a_form_is_checked_on_approval(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine, form_schema=FORM))
    for fields, place in [
        (None, ("amount",)),
        ({"amount": 0}, ("amount",)),
        ({"amount": "1"}, ("amount",)),
        ({"amount": 1, "more": 2}, ("more",)),
    ]:
        with pytest.raises(ValidationFailed) as refused:
            await people.decide(ANN, handle.run_id, "review", "approve", None, fields)
        assert refused.value.issues[0].loc == ("body", "edited_fields", *place)
    assert steps(await people.inbox(ANN)) == ["review"]

    await people.decide(ANN, handle.run_id, "review", "reject", None, {"amount": 0})

    assert (await handle.result(timeout=10))[0] == "rejected"


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "options,words",
    [
        ({"form_schema": {"$ref": "http://127.0.0.1:9/x"}}, "form_schema"),
        ({"form_schema": {"type": "nonsense"}}, "form_schema"),
        ({"assigned_to": []}, "assigned_to"),
        ({"assigned_to": "  "}, "assigned_to"),
        ({"quorum": 2}, "quorum"),
        ({"kind": "robot"}, "kind"),
        ({"fail_on": ["approved"]}, "fail_on"),
        ({"timeout": -1}, "timeout"),
        ({"reminder": 0.1}, "reminder"),
        ({"instructions": "x" * 20_001}, "instructions"),
    ],
)
async def test_what_cannot_be_asked_fails_by_name(engine: Engine, options: dict[str, Any], words: str) -> None:
    handle = await start(engine, **options)
    view = await status_of(handle, "failed")
    assert view.error is not None
    assert words in view.error["message"]


async def test_comments_and_fields_have_a_size(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine))
    for comment, fields, name in [("x" * 10_001, None, "comment"), ("\0", None, "comment"),
                                  (None, {"a": "x" * 70_000}, "edited_fields")]:  # fmt: skip
        with pytest.raises(ValidationFailed, match=name):
            await people.decide(ANN, handle.run_id, "review", "approve", comment, fields)
    with pytest.raises(Invalid):
        await people.decide(ANN, handle.run_id, "review", "maybe")
    await handle.cancel()


async def test_several_must_approve(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine, assigned_to=["ann", "bob", "cid"], quorum=2))
    first = await people.decide(ANN, handle.run_id, "review", "approve", "one", {"a": 1, "b": 1})
    assert (first.status, first.approvals) == ("open", 1)
    with pytest.raises(Conflict, match="ann has decided"):
        await people.decide(ANN, handle.run_id, "review", "approve")
    assert [len((await people.inbox(one)).items) for one in (ANN, BOB, CID)] == [0, 1, 1]
    assert (await handle.status()).status == "waiting_human"

    office.lab.clock.move(seconds=1)
    await people.decide(CID, handle.run_id, "review", "approve", None, {"b": 2})

    assert await handle.result(timeout=10) == ["approved", "one", {"a": 1, "b": 2}, ["ann", "cid"]]
    assert (await people.inbox(BOB)).items == []


async def test_one_rejection_rejects(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine, assigned_to=["ann", "bob", "cid"], quorum=3))
    await people.decide(ANN, handle.run_id, "review", "approve")
    await people.decide(BOB, handle.run_id, "review", "reject", "no")

    assert await handle.result(timeout=10) == ["rejected", "no", {}, ["bob"]]


async def test_a_form_is_the_same_in_whatever_order_it_is_read_back(office: Office, engine: Engine) -> None:
    form = {"type": "object", "required": ["b"], "properties": {"bb": {"type": "string"}, "b": {"type": "integer"}}}
    handle = await asked(await start(engine, form_schema=form, timeout=86400))
    await office.people[engine].decide(ANN, handle.run_id, "review", "approve", None, {"b": 1})

    assert (await handle.result(timeout=10))[0] == "approved"


async def test_a_role_is_asked(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    dan, eve = person("dan", "reviewer"), person("eve", "reviewer")
    handle = await asked(await start(engine, assigned_to="role:reviewer", quorum=2))
    await people.decide(dan, handle.run_id, "review", "approve")
    assert [len((await people.inbox(one)).items) for one in (dan, eve, ANN)] == [0, 1, 0]
    await people.decide(eve, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[3] == ["dan", "eve"]


async def test_a_question_is_handed_on(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine))
    done = await people.reassign(ANN, handle.run_id, "review", ["bob"])
    assert done.assigned_to == ("bob",)
    assert [len((await people.inbox(one)).items) for one in (ANN, BOB)] == [0, 1]
    with pytest.raises(NotFound):
        await people.decide(ANN, handle.run_id, "review", "approve")
    await people.reassign(ADMIN, handle.run_id, "review", "cid")
    with pytest.raises(Invalid, match="assigned_to"):
        await people.reassign(ADMIN, handle.run_id, "review", [])
    await people.decide(CID, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[3] == ["cid"]
    with pytest.raises(Conflict):
        await people.reassign(ADMIN, handle.run_id, "review", "bob")
