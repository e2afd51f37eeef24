"""People decide: once, by whoever may, however long it takes, and the run hears exactly what they said."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.contexts.asked import ADMIN, ANN, BOB, CID, OWNER, Office, asked, person, start, steps, tell
from tests.engine.lab import Lab, event_types, payloads, status_of
from tests.storage.databases import postgres_database, sqlite_database
from tests.support.databases import ON_ONE_DATABASE
from tests.support.waiting import wait_until_async
from windlass import Engine, StepFailed, gather, signal, sleep, step, workflow
from windlass.contexts.people import listing, store
from windlass.contexts.people.api import People, Task, reminder_id, wait_for_decision
from windlass.contexts.people.listing import Position
from windlass.contexts.workflows.runs.compound import compound
from windlass.engine.types import RunFilter
from windlass.kernel.actors import Actor, Forbidden
from windlass.kernel.errors import Conflict, Invalid, NotFound, ValidationFailed

FORM = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "minimum": 1}, "why": {"type": "string"}},
    "required": ["amount"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.engine.worker.POLL_SECONDS", 0.1)
    monkeypatch.setattr("windlass.engine.run.LINGER", 0.03)


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    """No process yet."""
    if database_url.startswith("sqlite"):
        database = sqlite_database(Path(database_url.removeprefix("sqlite:///")))
    else:
        database = postgres_database(database_url, empty=False)
    lab = Lab(database)
    yield Office(lab)
    await lab.close()


@pytest.fixture
async def engine(office: Office) -> Engine:
    """A process that carries runs out."""
    return await office.open()


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


async def test_nobody_comes_in_time(office: Office, engine: Engine) -> None:
    handle = await asked(await start(engine, timeout=3600))
    office.lab.pass_time(hours=1)

    assert await handle.result(timeout=10) == ["timed_out", None, {}, []]
    assert await payloads(engine, handle, "human_timeout") == [{"step_id": "review"}]
    with pytest.raises(Conflict, match="timed out already"):
        await office.people[engine].decide(ANN, handle.run_id, "review", "approve")
    assert (await office.people[engine].inbox(ANN)).items == []


async def test_a_decision_and_the_time_out_agree_on_who_was_first(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handles = [await start(engine, timeout=3600) for _ in range(20)]
    for handle in handles:
        await asked(handle)
    office.lab.pass_time(hours=1)

    calls = (people.decide(ANN, handle.run_id, "review", "approve") for handle in handles)
    answers = await asyncio.gather(*calls, return_exceptions=True)

    for handle, answer in zip(handles, answers, strict=True):
        won = "approved" if isinstance(answer, Task) else "timed_out"
        assert isinstance(answer, Task | Conflict)
        assert (await handle.result(timeout=10))[0] == won
        [(task, _)] = await people.of_run(handle.run_id)
        assert task.status == won


async def test_a_decision_after_the_time_but_before_anybody_noticed_counts(office: Office) -> None:
    first = await office.open()
    handle = await asked(await start(first, timeout=3600))
    await office.lab.stop(first)
    office.lab.clock.move(hours=2)
    desk = await office.open(worker=False)
    await office.people[desk].decide(ANN, handle.run_id, "review", "approve")
    second = await office.open()

    assert (await second.result(handle.run_id, timeout=10))[0] == "approved"


async def test_a_month_and_two_restarts_later(office: Office) -> None:
    first = await office.open()
    handle = await asked(await start(first, timeout=90 * 86400))
    await office.lab.crash(first)
    office.lab.clock.move(days=30)
    desk = await office.open(worker=False)
    assert steps(await office.people[desk].inbox(ANN)) == ["review"]
    await office.people[desk].decide(ANN, handle.run_id, "review", "approve", "sorry, was away")
    await office.lab.stop(desk)
    third = await office.open()

    assert await third.result(handle.run_id, timeout=10) == ["approved", "sorry, was away", {}, ["ann"]]


async def test_who_asks_may_be_answered_before_the_run_has_left_memory(
    office: Office, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow
    async def busy() -> list[object]:
        return await gather(wait_for_decision(step_id="review", assigned_to="ann"), signal("news"))

    monkeypatch.setattr("windlass.engine.run.LINGER", 3600)
    people = office.people[engine]
    handle = await engine.start_run(busy, owner="olga")
    await wait_until_async(lambda: _waits(office, engine))
    assert handle.run_id in engine.worker.runs

    await people.decide(ANN, handle.run_id, "review", "approve")
    await handle.signal("news")

    await handle.result(timeout=10)


async def _waits(office: Office, engine: Engine) -> bool:
    return bool((await office.people[engine].inbox(ANN)).items)


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


async def test_people_are_reminded_until_they_decide(office: Office, engine: Engine) -> None:
    handle = await asked(await start(engine, reminder=3600, timeout=10 * 3600))
    for number in (1, 2):
        office.lab.pass_time(hours=1)
        await wait_until_async(lambda number=number: len(office.reminded) == number)  # type: ignore[misc]
        await asked(handle)
    await office.lab.stop(engine)
    engine = await office.open()
    handle = engine.handle(handle.run_id)
    office.lab.pass_time(hours=1)
    await wait_until_async(lambda: len(office.reminded) == 3)
    await asked(handle)
    [task] = (await office.people[engine].inbox(ANN)).items
    assert task.reminders == 3
    await office.people[engine].decide(ANN, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[0] == "approved"
    assert office.reminded == ["review ann"] * 3
    assert [one["number"] for one in await payloads(engine, handle, "human_reminded")] == [1, 2, 3]
    assert (await event_types(engine, handle)).count("waiting_human") == 1


@workflow(name="people.reminded")
async def reminded(reminder_id: str) -> str:
    return reminder_id


async def test_each_reminder_is_queued_once_whoever_dies(office: Office) -> None:
    def queue(engine: Engine) -> None:
        office.people[engine] = People(
            engine, lambda tx, task: (engine.start_run_in(tx, reminded, reminder_id(task)), None)[1]
        )

    async def ids(engine: Engine) -> list[str]:
        return sorted(run.inputs["reminder_id"] for run in await engine.list_runs(RunFilter(name="people.reminded")))

    first = await office.open()
    queue(first)
    handle = await asked(await start(first, reminder=3600))
    office.lab.pass_time(hours=1)
    await wait_until_async(lambda: ids(first))
    await office.lab.crash(first)
    second = await office.open()
    queue(second)
    office.lab.pass_time(hours=1)

    async def twice() -> bool:
        return len(await ids(second)) == 2

    await wait_until_async(twice)
    await office.people[second].decide(ANN, handle.run_id, "review", "approve")
    assert (await second.result(handle.run_id, timeout=10))[0] == "approved"
    [(task, _)] = await office.people[second].of_run(handle.run_id)
    assert await ids(second) == [f"reminder-{task.task_id}-{number}" for number in (1, 2)]


async def test_reminders_do_not_put_the_end_off(office: Office, engine: Engine) -> None:
    handle = await asked(await start(engine, reminder=3600, timeout=5400))
    office.lab.pass_time(hours=1)
    await wait_until_async(lambda: len(office.reminded) == 1)
    await asked(handle)
    office.lab.pass_time(minutes=30)

    assert (await handle.result(timeout=10))[0] == "timed_out"


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


async def test_a_cancelled_run_asks_nobody(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle, other = await asked(await start(engine)), await asked(await start(engine))
    await handle.cancel()
    assert [task.run_id for task in (await people.inbox(ANN)).items] == [other.run_id]
    assert [task.run_id for task in (await people.inbox(ADMIN, everybody=True)).items] == [other.run_id]
    with pytest.raises(Conflict, match="run is cancelled"):
        await people.decide(ANN, handle.run_id, "review", "approve")

    assert await people.tidy() == 1
    assert await people.tidy() == 0

    with pytest.raises(Conflict, match="cancelled already"):
        await people.decide(ANN, handle.run_id, "review", "approve")
    await people.decide(ANN, other.run_id, "review", "approve")
    await other.result(timeout=10)


async def test_a_paused_run_hears_of_it_once_it_is_resumed(office: Office, engine: Engine) -> None:
    handle = await asked(await start(engine))
    await handle.pause()
    await office.people[engine].decide(ANN, handle.run_id, "review", "approve")
    assert (await handle.status()).status == "paused"
    await handle.resume()

    assert (await handle.result(timeout=10))[0] == "approved"


REPAIRED: set[str] = set()


@step
async def fragile(label: str) -> None:
    """Fail until it is repaired."""
    if label not in REPAIRED:
        raise ValueError(label)


@workflow(name="people.beside")
async def beside(label: str, caught: bool) -> list[Any]:
    """Ask beside something that fails."""

    async def fail() -> None:
        await signal("now")
        await fragile(label)

    try:
        decided, _ = await gather(wait_for_decision(step_id="review", assigned_to="ann"), fail())
    except StepFailed:
        if not caught:
            raise
        await sleep(days=1)
        return ["went on"]
    return tell(decided)


@pytest.mark.parametrize("tidied", [True, False])
async def test_a_failed_run_that_is_retried_asks_again(office: Office, engine: Engine, tidied: bool) -> None:
    people, label = office.people[engine], f"retried {tidied} {engine.backend.name}"
    handle = await engine.start_run(beside, label, False)
    await wait_until_async(lambda: _waits(office, engine))
    await handle.signal("now")
    await status_of(handle, "failed")
    assert (await people.inbox(ANN)).items == []
    with pytest.raises(Conflict):
        await people.decide(ANN, handle.run_id, "review", "approve")
    if tidied:
        await people.tidy()
    REPAIRED.add(label)
    await handle.retry()
    await asked(handle)
    assert steps(await people.inbox(ANN)) == ["review"]
    await people.decide(ANN, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[0] == "approved"


async def test_a_branch_that_is_stopped_asks_nobody_any_more(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await engine.start_run(beside, "caught", True)
    await wait_until_async(lambda: _waits(office, engine))
    await handle.signal("now")

    async def closed() -> bool:
        [(task, _)] = await people.of_run(handle.run_id)
        return task.status == "cancelled"

    await wait_until_async(closed)
    with pytest.raises(Conflict, match="cancelled already"):
        await people.decide(ANN, handle.run_id, "review", "approve")
    office.lab.pass_time(days=1)
    assert await handle.result(timeout=10) == ["went on"]


@pytest.mark.parametrize("how", ["rejected", "timed out"])
async def test_a_run_that_needs_a_yes_fails_without_and_asks_anew_when_retried(
    office: Office, engine: Engine, how: str
) -> None:
    people = office.people[engine]
    handle = await asked(await start(engine, fail_on=["rejected", "timed_out"], timeout=3600))

    async def refuse() -> None:
        if how == "rejected":
            await people.decide(ANN, handle.run_id, "review", "reject")
        else:
            office.lab.pass_time(hours=1)
        view = await status_of(handle, "failed")
        assert view.error is not None
        assert view.error["error_type"] == ("RejectedByHuman" if how == "rejected" else "HumanTimeout")

    await refuse()
    await handle.retry()
    await asked(handle)
    await refuse()
    await handle.retry()
    await asked(handle)
    await people.decide(ANN, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[0] == "approved"
    assert [task.status for task, _ in await people.of_run(handle.run_id)] == [how.replace(" ", "_")] * 2 + ["approved"]


async def test_a_list_comes_in_pages_oldest_first(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handles = []
    for number in range(5):
        assigned = ["ann", "role:user"] if number % 2 else "ann"
        handles.append(await asked(await start(engine, step_id=f"s{number}", assigned_to=assigned)))
        office.lab.clock.move(seconds=1)
    other = await engine.start_run("people.ask_one", options={"step_id": "theirs"}, tenant_id="other")
    await asked(other)

    for actor, everybody in ((ANN, False), (ADMIN, True)):
        seen, cursor = [], None
        while True:
            page = await people.inbox(actor, everybody=everybody, cursor=cursor, limit=2)
            seen += steps(page)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == ["s0", "s1", "s2", "s3", "s4"]
    assert steps(await people.inbox(BOB)) == ["s1", "s3"]
    assert steps(await people.inbox(person("ann", tenant_id="other"))) == ["theirs"]
    with pytest.raises(Forbidden):
        await people.inbox(ANN, everybody=True)
    with pytest.raises(ValidationFailed, match="cursor"):
        await people.inbox(ANN, cursor="nonsense")
    for handle in [*handles, other]:
        await handle.cancel()


async def test_the_questions_of_a_deleted_run_go_with_it(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle, other = await asked(await start(engine)), await asked(await start(engine))
    await people.decide(ANN, handle.run_id, "review", "approve")
    await handle.result(timeout=10)
    sql = "DELETE FROM workflow_runs WHERE run_id = :run_id"
    await engine.transact(lambda tx: tx.execute(sql, {"run_id": handle.run_id}).rowcount)

    assert await people.of_run(handle.run_id) == []
    assert [len(said) for _, said in await people.of_run(other.run_id)] == [0]
    count = "SELECT count(*) FROM workflow_human_decisions"
    assert await engine.transact(lambda tx: tx.execute(count).fetchone()[0]) == 0
    await other.cancel()


@workflow(name="people.definition")
async def definition() -> Any:
    """Ask as a step of a definition does: within a step made of steps, beside another branch."""

    async def ask() -> list[Any]:
        decided = await wait_for_decision(
            step_id="review", assigned_to="ann", timeout=3600, reminder=600, fail_on=["rejected", "timed_out"]
        )
        return tell(decided)

    asked_, _ = await gather(compound("review", ask, kind="wait_for_human"), sleep(1))
    return asked_


async def test_a_step_made_of_steps_asks_anew_when_its_run_is_retried(office: Office, engine: Engine) -> None:
    people = office.people[engine]
    handle = await engine.start_run(definition, owner="olga")
    office.lab.pass_time(seconds=1)
    await asked(handle)
    office.lab.pass_time(minutes=10)
    await wait_until_async(lambda: len(office.reminded) == 1)
    await asked(handle)
    await people.decide(ANN, handle.run_id, "review", "reject")
    await status_of(handle, "failed")
    await handle.retry()
    await asked(handle)
    office.lab.pass_time(hours=1)
    await status_of(handle, "failed")
    await handle.retry()
    await asked(handle)
    await people.decide(ANN, handle.run_id, "review", "approve")

    assert (await handle.result(timeout=10))[0] == "approved"
    assert [task.status for task, _ in await people.of_run(handle.run_id)] == ["rejected", "timed_out", "approved"]


@pytest.mark.parametrize("database_url", ["migrated_sqlite_url"], indirect=True)
async def test_lists_are_read_from_an_index(engine: Engine) -> None:
    """Whatever was answered before, a page reads open questions alone, in the order of an index."""
    seen: list[str] = []

    def look(connection: sa.Connection) -> None:
        @sa.event.listens_for(connection, "before_cursor_execute")
        def explain(_c: Any, cursor: Any, sql: str, values: Any, _x: Any, _many: bool) -> None:
            seen.extend(str(row[3]) for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values))

        after = Position("2026-01-01T00:00:00.000000Z", "t")
        listing.mine(connection, ANN, after, 50)
        listing.everybodys(connection, "default", after, 50)
        listing.left_over(connection, after, 50)
        store.find(connection, "r", "s")

    await engine.read(look)
    scans = [line for line in seen if line.startswith("SCAN") and "chosen" not in line]
    tables = [line for line in scans if "workflow" in line]
    assert tables == []
    assert any("workflow_human_inbox USING" in line and "opened_at" in line for line in seen), seen
    assert any("ix_workflow_human_tasks_tenant" in line for line in seen), seen
    assert any("ix_workflow_human_tasks_open" in line for line in seen), seen
    assert any("ix_workflow_human_tasks_step" in line for line in seen), seen
