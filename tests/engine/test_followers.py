"""What follows a run: a workflow named at its start begins in the transaction in which it ends, however it does."""

import pytest

from tests.engine.lab import Lab, parked, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, Fatal, RunFailed, signal, step, workflow
from windlass.engine.starting import Start

said: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def _silence() -> None:
    said.clear()


@step
async def say(run_id: str, status: str) -> None:
    said.append((run_id, status))


@workflow(name="follow.after")
async def after(run_id: str, status: str) -> None:
    await say(run_id, status)


@workflow(name="follow.short")
async def short() -> str:
    return "done"


@step
async def fails() -> None:
    if not said:
        raise Fatal("no")


@workflow(name="follow.failing")
async def failing() -> None:
    await fails()


@workflow(name="follow.long")
async def long() -> None:
    await signal("never")


async def test_the_end_of_a_run_starts_what_follows(engine: Engine) -> None:
    started = await engine.begin(engine.request(Start(short, on_end="follow.after")))

    await wait_until_async(lambda: said == [(started.run_id, "succeeded")])
    follower = await engine.get_run(f"{started.run_id}.end{(await engine.get_run(started.run_id)).last_seq}")
    assert follower.name == "follow.after"


async def test_a_run_that_ends_twice_is_followed_twice(engine: Engine) -> None:
    handle = engine.handle((await engine.begin(engine.request(Start(failing, on_end="follow.after")))).run_id)
    with pytest.raises(RunFailed):
        await handle.result()
    await wait_until_async(lambda: said == [(handle.run_id, "failed")])

    await handle.retry()

    await wait_until_async(lambda: said == [(handle.run_id, "failed"), (handle.run_id, "succeeded")])


@pytest.mark.parametrize("held", [True, False])
async def test_a_cancelled_run_is_followed_too(engine: Engine, held: bool) -> None:
    handle = engine.handle((await engine.begin(engine.request(Start(long, on_end="follow.after")))).run_id)
    if not held:
        await parked(handle)

    await handle.cancel()

    await wait_until_async(lambda: said == [(handle.run_id, "cancelled")])


async def test_what_follows_waits_for_a_process_that_knows_it(lab: Lab) -> None:
    visitor = await lab.engine(worker=False)
    started = await visitor.begin(visitor.request(Start("follow.long", on_end="nobody.knows")))

    await visitor.control(started.run_id, "cancel")

    view = await status_of(visitor.handle(f"{started.run_id}.end2"), "queued")
    assert view.inputs == {"run_id": started.run_id, "status": "cancelled"}
