"""What a newcomer does first: steps in a workflow, started and waited for."""

from tests.engine.lab import Lab, event_types, journal, payloads
from windlass import Engine, step, step_info, workflow


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@step()
async def shout(text: str) -> str:
    return text.upper()


@workflow
async def greeting(name: str) -> str:
    return await shout(await greet(name))


async def test_a_workflow_runs_its_steps_and_returns_its_result(engine: Engine) -> None:
    handle = await engine.start_run(greeting, "ada")

    assert await handle.result(timeout=10) == "HELLO ADA"
    view = await handle.status()
    assert (view.name, view.status, view.inputs, view.outputs) == (
        "greeting",
        "succeeded",
        {"name": "ada"},
        "HELLO ADA",
    )
    assert view.error is None
    assert view.started_at is not None
    assert view.ended_at is not None
    assert view.holder is None
    assert view.wait_reason is None


async def test_a_run_is_on_disk_when_start_run_returns(lab: Lab) -> None:
    watching = await lab.engine(worker=False)

    handle = await watching.start_run(greeting, "ada")

    assert (await watching.get_run(handle.run_id)).status == "queued"


async def test_the_journal_tells_what_happened_in_order(engine: Engine) -> None:
    handle = await engine.start_run(greeting, "ada")
    await handle.result(timeout=10)

    assert await event_types(engine, handle) == [
        "run_started",
        "step_started",
        "step_completed",
        "step_started",
        "step_completed",
        "run_completed",
    ]
    assert [event.step_id for event in await journal(engine, handle)] == [
        None,
        "greet#1",
        "greet#1",
        "shout#1",
        "shout#1",
        None,
    ]
    assert [payload["output"] for payload in await payloads(engine, handle, "step_completed")] == [
        "hello ada",
        "HELLO ADA",
    ]


async def test_events_are_read_in_pages(engine: Engine) -> None:
    handle = await engine.start_run(greeting, "ada")
    await handle.result(timeout=10)

    assert [event.seq for event in await engine.events(handle.run_id, since=2, limit=3)] == [3, 4, 5]


async def test_a_workflow_is_started_by_name_as_well(engine: Engine) -> None:
    handle = await engine.start_run("greeting", name="ada")

    assert await handle.result(timeout=10) == "HELLO ADA"


async def test_input_may_be_given_by_position_by_name_and_by_default(engine: Engine) -> None:
    @workflow
    async def order(item: str, amount: int = 3, *, note: str = "none") -> list[object]:
        return [item, amount, note]

    results = [
        await (await engine.start_run(order, "tea")).result(timeout=10),
        await (await engine.start_run(order, "tea", 5, note="black")).result(timeout=10),
        await (await engine.start_run(order, item="tea", amount=7)).result(timeout=10),
    ]

    assert results == [["tea", 3, "none"], ["tea", 5, "black"], ["tea", 7, "none"]]


async def test_a_workflow_without_steps_is_a_run_too(engine: Engine) -> None:
    @workflow
    async def nothing() -> None: ...

    assert await (await engine.start_run(nothing)).result(timeout=10) is None


async def test_the_same_step_may_be_called_any_number_of_times(engine: Engine) -> None:
    @workflow
    async def thrice() -> list[str]:
        return [await greet(str(number)) for number in range(3)]

    handle = await engine.start_run(thrice)

    assert await handle.result(timeout=10) == ["hello 0", "hello 1", "hello 2"]
    paths = [event.step_id for event in await journal(engine, handle) if event.type == "step_completed"]
    assert paths == ["greet#1", "greet#2", "greet#3"]


async def test_a_step_called_outside_a_run_is_a_plain_function() -> None:
    @step
    def plain(number: int) -> int:
        return number + 1

    assert await greet("ada") == "hello ada"
    assert await plain(1) == 2
    assert plain.fn(1) == 2


async def test_a_step_called_inside_another_step_is_a_plain_function(engine: Engine) -> None:
    @step
    async def outer(name: str) -> str:
        return await shout(await greet(name))

    @workflow
    async def nested(name: str) -> str:
        return await outer(name)

    handle = await engine.start_run(nested, "ada")

    assert await handle.result(timeout=10) == "HELLO ADA"
    assert [event.step_id for event in await journal(engine, handle) if event.type == "step_completed"] == ["outer#1"]


async def test_a_step_knows_who_it_is_and_has_a_key_for_other_services(engine: Engine) -> None:
    @step
    async def call() -> tuple[str, int, str]:
        info = step_info()
        return info.path, info.attempt, info.idempotency_key

    @workflow
    async def calls() -> list[tuple[str, int, str]]:
        return [await call(), await call()]

    handle = await engine.start_run(calls)

    run_id = handle.run_id
    assert await handle.result(timeout=10) == [
        ["call#1", 1, f"{run_id}:call#1"],
        ["call#2", 1, f"{run_id}:call#2"],
    ]


async def test_names_may_be_chosen(engine: Engine) -> None:
    @step(name="bank.charge")
    async def charge() -> str:
        return "paid"

    @workflow(name="shop.order", queue="shop", version="7", priority=3)
    async def order() -> str:
        return await charge()

    handle = await engine.start_run(order, tenant_id="acme", owner="ada", key="k", attributes={"a": [1]})

    assert await handle.result(timeout=10) == "paid"
    view = await handle.status()
    assert (view.name, view.queue, view.interface_version, view.priority) == ("shop.order", "shop", "7", 3)
    assert (view.tenant_id, view.owner, view.key, view.attributes) == ("acme", "ada", "k", {"a": [1]})
    assert (await journal(engine, handle))[1].step_id == "bank.charge#1"


async def test_many_runs_go_side_by_side(engine: Engine) -> None:
    handles = [await engine.start_run(greeting, str(number)) for number in range(50)]

    assert [await handle.result(timeout=10) for handle in handles] == [f"HELLO {number}" for number in range(50)]
