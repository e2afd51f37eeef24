"""A step that lacks something only a person can bring pauses its run, and goes on when that is there."""

import pytest

from tests.engine.lab import Lab, event_types, status_of
from windlass import step, workflow
from windlass.engine.errors import Withheld

bag: list[str] = []


@pytest.fixture(autouse=True)
def _empty() -> None:
    bag.clear()


@step(retries=1)
async def pay() -> str:
    if not bag:
        raise Withheld("secret_missing")
    return bag[0]


@workflow(name="withheld.order")
async def order() -> str:
    return await pay()


async def test_the_run_is_paused_and_the_attempt_does_not_count(lab: Lab) -> None:
    engine = await lab.engine()
    handle = await engine.start_run(order)
    view = await status_of(handle, "paused")
    assert view.status_reason == "secret_missing"
    await handle.resume()
    view = await status_of(handle, "paused")

    bag.append("key")
    await handle.resume()

    assert await handle.result() == "key"
    types = await event_types(engine, handle)
    assert types.count("run_paused") == types.count("run_resumed") == 2
    [done] = [event for event in await engine.events(handle.run_id) if event.type == "step_completed"]
    assert '"attempt":1' in done.payload.replace(" ", "")


async def test_another_process_asks_anew(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(order)
    await status_of(handle, "paused")
    await lab.crash(first)
    bag.append("key")
    second = await lab.engine()

    await second.handle(handle.run_id).resume()

    assert await second.handle(handle.run_id).result() == "key"
