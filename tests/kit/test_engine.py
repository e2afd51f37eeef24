"""The engine of a test: time skips to the next timer, on whatever loop the test has."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvloop

import windlass.testing
from tests.kit import healthy
from windlass import RunFailed, gather, now, signal, sleep, step, step_info, workflow
from windlass.testing.skipping import NeverEnds

MONTH = 30 * 86_400


@step
async def kit_slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@step
def kit_blocking() -> str:
    time.sleep(0.02)
    return "blocked"


@step(retries=5, backoff=3600, factor=2, cap=86_400, jitter=0)
async def kit_unsteady() -> int:
    if step_info().attempt < 4:
        raise OSError("not yet")
    return step_info().attempt


@step(timeout=60)
async def kit_too_slow() -> None:
    await asyncio.sleep(3600)


@workflow(name="kit_month")
async def month() -> float:
    begun = now()
    await sleep(days=29)
    await gather(kit_slow(3600), kit_blocking(), sleep(86_400))
    assert await kit_unsteady() == 4
    return (now() - begun).total_seconds()


@workflow(name="kit_approval")
async def approval() -> Any:
    return await signal("approved", timeout=7 * 86_400)


@workflow(name="kit_times_out")
async def times_out() -> None:
    await kit_too_slow()


@step(timeout=0.05, abandon=True)
def kit_hangs() -> None:
    time.sleep(0.2)


@workflow(name="kit_hanging")
async def hangs() -> None:
    await kit_hangs()


@workflow(name="kit_slow_run")
async def slow() -> None:
    await kit_slow(60 * 86_400)


async def test_a_month_goes_by_to_the_second() -> None:
    begins = datetime(2030, 1, 31, 12, tzinfo=UTC)
    async with windlass.testing.engine(start=begins) as engine:
        passed = await engine.run(month)
        reached = engine.clock.today()
        assert [event.seq for event in await engine.journal((await engine.list_runs())[0].run_id)] == [*range(1, 21)]

    assert passed == pytest.approx(MONTH + 7 * 3600, abs=1)
    assert reached - begins == pytest.approx(timedelta(seconds=passed), abs=timedelta(seconds=1))


async def test_a_signal_comes_in_the_middle_and_its_time_out_at_the_end() -> None:
    async with windlass.testing.engine() as engine:
        heard = await engine.start_run(approval)
        await engine.until(heard.run_id)
        await asyncio.sleep(3600)
        await engine.signal(heard.run_id, "approved", {"by": "ann"})
        assert await heard.result() == {"by": "ann"}
        assert engine.clock.passed == pytest.approx(3600, abs=2)

        silent = await engine.start_run(approval)
        with pytest.raises(RunFailed, match="did not come in time"):
            await silent.result()
        assert engine.clock.passed == pytest.approx(3600 + 7 * 86_400, abs=4)


async def test_a_time_out_of_a_step_is_of_skipped_time() -> None:
    async with windlass.testing.engine() as engine:
        with pytest.raises(RunFailed, match="took longer than 60 s"):
            await engine.run(times_out)

        assert engine.clock.passed == pytest.approx(60, abs=2)


async def test_threads_take_real_time_and_are_waited_for() -> None:
    async with windlass.testing.engine() as engine:
        with pytest.raises(RunFailed, match=r"took longer than 0.05 s"):
            await engine.run(hangs)

        assert await engine.run(month) > MONTH
        assert await engine.run(healthy.branches) == ["left", "right", "x", "y", "z"]


async def test_an_engine_stops_also_when_a_run_is_due_that_nobody_takes() -> None:
    async with windlass.testing.engine() as engine:
        asleep = await engine.start_run(month)
        await engine.until(asleep.run_id)
        paused = await engine.start_run(month)
        await engine.until(paused.run_id)
        await engine.control(paused.run_id, "pause")
        assert await engine.run(approval, signals=[("approved", 1)]) == 1
        busy = await engine.start_run(slow)
        await asyncio.sleep(29 * 86_400 - 1)
        assert (await busy.status()).status == "running"
        await engine.stop(grace=5)

        assert (await engine.journal(asleep.run_id))[-1].type != "timer_fired"
        assert (await engine.journal(paused.run_id))[-1].type == "run_paused"


async def test_who_waits_in_vain_is_told_for_what() -> None:
    async with windlass.testing.engine() as engine:
        with pytest.raises(NeverEnds, match=r"kit_never.*waits for signal:never"):
            await engine.run(never)
        with pytest.raises(NeverEnds):
            await engine.until((await engine.list_runs())[0].run_id, "paused")
        slashed = await engine.start_run(never, run_id="orders/1")
        with pytest.raises(NeverEnds, match=r"run orders/1 .*waits for signal:never"):
            await slashed.result()
        with pytest.raises(NeverEnds, match=r"run orders/1 .*waits for signal:never"):
            await slashed.update("word", 1, update_id="a/b")


@workflow(name="kit_never")
async def never() -> None:
    await signal("never")


async def test_time_goes_on_by_itself_once_the_engine_has_stopped() -> None:
    loop = asyncio.get_running_loop()
    async with windlass.testing.engine() as engine:
        await engine.run(month)
        ahead = loop.time()
    after = loop.time()
    await asyncio.sleep(0.01)

    assert ahead <= after
    assert 0.009 < loop.time() - after < 60
    async with windlass.testing.engine() as engine:
        assert await engine.run(healthy.steps, 1) == ["0", "thread"]


@step
async def kit_ask(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"ping\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer.decode().strip()


@workflow(name="kit_asks")
async def asks(port: int) -> list[str]:
    answers = []
    for _ in range(3):
        await sleep(days=1)
        answers.append(await kit_ask(port))
    return answers


async def test_steps_may_use_the_network_and_transactions_a_table() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    async with windlass.testing.engine(tables=healthy.NOTES.metadata) as engine:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            assert await engine.run(asks, server.sockets[0].getsockname()[1]) == ["PING"] * 3
        assert await engine.run(healthy.money) == "credit"
        rows = await engine.read(lambda connection: connection.execute(healthy.NOTES.select()).all())

    assert [row[0] for row in rows] == ["debit", "credit"]


def test_a_loop_whose_time_cannot_be_taken_over_says_so() -> None:
    async def begin() -> None:
        async with windlass.testing.engine():
            pass

    with (
        pytest.raises(RuntimeError, match="use asyncio's own loop"),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as r,
    ):
        r.run(begin())


def test_without_async_and_with_a_driver() -> None:
    async def drive(engine: windlass.testing.TestEngine, run_id: str) -> None:
        await engine.until(run_id)
        await engine.signal(run_id, "approved", 7)

    assert windlass.testing.run(approval, drive=drive) == 7
    assert windlass.testing.run(approval, signals=[("approved", 8)]) == 8
    with pytest.raises(RunFailed):
        windlass.testing.run(healthy.saga)
