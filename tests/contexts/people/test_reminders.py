"""People are reminded until they decide, each time once."""

from tests.contexts.people.asked import ANN, Office, asked, start
from tests.engine.lab import event_types, payloads
from tests.support.waiting import wait_until_async
from windlass import Engine, workflow
from windlass.contexts.people.api import People, reminder_id
from windlass.engine.types import RunFilter


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
