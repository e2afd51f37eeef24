"""Signals: what others tell a run. None is lost, none is heard twice, none comes out of order."""

import asyncio

import pytest

from tests.engine.lab import IN_MEMORY, Lab, event_types, parked, payloads, status_of
from tests.support.waiting import wait_until_async
from windlass import Engine, RunConflict, RunFailed, SignalTimeout, UnknownRun, gather, signal, sleep, step, workflow


@workflow(name="signals.listener")
async def listener(times: int = 1) -> list[object]:
    return [await signal("news") for _ in range(times)]


@workflow
async def patient() -> object:
    try:
        return await signal("news", timeout=3600)
    except SignalTimeout as error:
        return str(error)


async def test_a_run_waits_for_a_signal_and_gets_its_payload(engine: Engine) -> None:
    handle = await engine.start_run(listener)
    view = await parked(handle)
    assert (view.status, view.wait_reason, view.wake_at) == ("running", "signal:news", None)
    await wait_until_async(lambda: not engine.worker.runs, what="the run to have left memory")

    assert await handle.signal("news", {"title": "rain", "tags": [1, None]}) is True

    assert await handle.result(timeout=10) == [{"title": "rain", "tags": [1, None]}]
    [received] = await payloads(engine, handle, "signal_received")
    assert received == {"name": "news", "id": None, "payload": {"title": "rain", "tags": [1, None]}}


async def test_a_signal_may_be_nothing_but_its_name(engine: Engine) -> None:
    handle = await engine.start_run(listener)
    await engine.signal(handle.run_id, "news")

    assert await handle.result(timeout=10) == [None]


async def test_a_signal_sent_before_it_is_asked_for_is_not_lost(engine: Engine, lab: Lab) -> None:
    @workflow
    async def sleepy() -> object:
        await sleep(days=1)
        return await signal("news")

    handle = await engine.start_run(sleepy)
    await parked(handle)
    await handle.signal("news", "early")
    lab.pass_time(days=1)

    assert await handle.result(timeout=10) == "early"


async def test_a_signal_reaches_a_run_that_has_not_begun(lab: Lab) -> None:
    watching = await lab.engine(worker=False)
    handle = await watching.start_run(listener)
    delayed = await watching.start_run(listener, delay=3600)
    for each in (handle, delayed):
        assert await each.signal("news", "first of all")
        assert (await each.status()).status == "queued"

    await lab.engine()

    assert await handle.result(timeout=10) == ["first of all"]
    assert (await delayed.status()).status == "queued"
    lab.pass_time(hours=1)
    assert await delayed.result(timeout=10) == ["first of all"]


async def test_signals_of_one_name_come_in_the_order_they_were_sent(engine: Engine) -> None:
    handle = await engine.start_run(listener, 20)
    for number in range(20):
        await handle.signal("news", number)

    assert await handle.result(timeout=10) == list(range(20))


async def test_names_do_not_get_in_each_other_s_way(engine: Engine) -> None:
    @workflow
    async def choosy() -> list[object]:
        return [await signal("b"), await signal("a"), await signal("b")]

    handle = await engine.start_run(choosy)
    for name, payload in [("a", 1), ("b", 2), ("c", 3), ("b", 4)]:
        await handle.signal(name, payload)

    assert await handle.result(timeout=10) == [2, 1, 4]


async def test_a_repeated_dedup_id_is_heard_once(engine: Engine) -> None:
    handle = await engine.start_run(listener, 3)
    texts = [("a", "1"), ("again", "1"), ("b", "2")]
    sent = [await handle.signal("news", text, dedup_id=dedup) for text, dedup in texts]
    await wait_until_async(lambda: heard(engine, handle.run_id, 2))
    sent.append(await handle.signal("news", "after it was heard", dedup_id="1"))
    sent.append(await handle.signal("news", "c"))

    assert await handle.result(timeout=10) == ["a", "b", "c"]
    assert sent == [True, False, True, False, True]


async def heard(engine: Engine, run_id: str, times: int) -> bool:
    return [event.type for event in await engine.events(run_id)].count("signal_received") == times


async def test_a_dedup_id_belongs_to_one_run_and_one_name(engine: Engine) -> None:
    @workflow
    async def two_names() -> list[object]:
        return [await signal("a"), await signal("b")]

    handles = [await engine.start_run(two_names) for _ in range(2)]
    for handle in handles:
        assert await handle.signal("a", "x", dedup_id="same")
        assert await handle.signal("b", "y", dedup_id="same")

    assert [await handle.result(timeout=10) for handle in handles] == [["x", "y"]] * 2


async def test_a_signal_that_does_not_come_in_time_times_out(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(patient)
    view = await parked(handle)
    assert view.wait_reason == "signal:news"
    assert view.wake_at is not None

    lab.pass_time(hours=1)

    assert await handle.result(timeout=10) == "signal 'news' did not come in time"
    assert "signal_timed_out" in await event_types(engine, handle)


async def test_a_signal_in_time_beats_its_time_out(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(patient)
    await parked(handle)
    lab.pass_time(minutes=59)
    await handle.signal("news", "just in time")

    assert await handle.result(timeout=10) == "just in time"
    assert "signal_timed_out" not in await event_types(engine, handle)


async def test_an_uncaught_time_out_fails_the_run(engine: Engine, lab: Lab) -> None:
    @workflow
    async def impatient() -> None:
        await signal("news", timeout=0.001)

    handle = await engine.start_run(impatient)
    with pytest.raises(RunFailed, match="signal 'news' did not come in time"):
        await handle.result(timeout=10)
    assert (await handle.status()).status_reason == "SignalTimeout"


async def test_a_time_out_stays_one_when_the_signal_comes_after_it(lab: Lab) -> None:
    @workflow
    async def undecided() -> list[object]:
        heard: list[object] = []
        try:
            heard.append(await signal("news", timeout=3600))
        except SignalTimeout:
            heard.append("time-out")
        await sleep(days=1)
        heard.append(await signal("news"))
        return heard

    first = await lab.engine()
    handle = await first.start_run(undecided)
    await parked(handle)
    lab.pass_time(hours=1)
    await wait_until_async(lambda: asleep_until_tomorrow(first, handle.run_id))
    await handle.signal("news", "late")
    await lab.crash(first)
    second = await lab.engine()
    lab.pass_time(days=1)

    assert await second.handle(handle.run_id).result(timeout=10) == ["time-out", "late"]


async def asleep_until_tomorrow(engine: Engine, run_id: str) -> bool:
    view = await engine.get_run(run_id)
    return view.wait_reason == "timer" and view.holder is None


async def test_a_received_signal_is_not_heard_again_after_a_crash(lab: Lab) -> None:
    first = await lab.engine()
    handle = await first.start_run(listener, 3)
    for number in range(2):
        await handle.signal("news", number)
    await wait_until_async(lambda: heard(first, handle.run_id, 2))
    await lab.crash(first)
    second = await lab.engine()
    again = second.handle(handle.run_id)
    await parked(again)
    await again.signal("news", 2)

    assert await again.result(timeout=10) == [0, 1, 2]


async def test_a_run_at_work_hears_a_signal_too(engine: Engine) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @step
    async def work() -> None:
        begun.set()
        await go.wait()

    @workflow
    async def busy() -> object:
        await work()
        return await signal("news")

    handle = await engine.start_run(busy)
    await begun.wait()
    await handle.signal("news", "while you were out")
    go.set()

    assert await handle.result(timeout=10) == "while you were out"


async def test_branches_that_wait_for_one_name_are_served_in_turn(engine: Engine) -> None:
    @workflow
    async def twins() -> list[object]:
        return await gather(signal("news"), signal("news"))

    handle = await engine.start_run(twins)
    await parked(handle)
    await handle.signal("news", "first")
    await handle.signal("news", "second")

    assert await handle.result(timeout=10) == ["first", "second"]


async def test_a_paused_run_hears_its_signal_once_it_is_resumed(engine: Engine) -> None:
    handle = await engine.start_run(listener)
    await parked(handle)
    await handle.pause()
    await handle.signal("news", "waited for you")
    assert (await handle.status()).status == "paused"

    await handle.resume()

    assert await handle.result(timeout=10) == ["waited for you"]


async def test_who_has_ended_hears_nothing_more(engine: Engine) -> None:
    finished = await engine.start_run(listener)
    await finished.signal("news")
    await finished.result(timeout=10)
    cancelled = await engine.start_run(listener)
    await cancelled.cancel()
    await status_of(cancelled, "cancelled")

    for handle, status in ((finished, "succeeded"), (cancelled, "cancelled")):
        with pytest.raises(RunConflict, match=f"run is {status}"):
            await handle.signal("news")
    with pytest.raises(UnknownRun):
        await engine.signal("nobody", "news")


async def test_a_lost_ring_does_not_lose_the_signal(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    holding, sending = await lab.engine(), await lab.engine(worker=False)
    handle = await holding.start_run(listener)
    await parked(handle)
    monkeypatch.setattr(sending.backend, "ring", lambda _rings: None)

    await sending.signal(handle.run_id, "news", "unheard")

    assert await handle.result(timeout=10) == ["unheard"]


@IN_MEMORY
@pytest.mark.parametrize("timeout", ["nan", "inf", "1e13"])
async def test_a_time_nobody_can_wait_for_is_refused_by_name(engine: Engine, timeout: str) -> None:
    @workflow
    async def odd() -> None:
        await signal("news", timeout=float(timeout))

    with pytest.raises(RunFailed, match="signal 'news': timeout must be between"):
        await (await engine.start_run(odd)).result(timeout=10)


@workflow(name="signals.pair")
async def pair() -> list[object]:
    """Wait for two signals, each for as long as it takes."""
    return await gather(signal("left"), signal("right"))


async def test_a_run_that_waits_for_two_signals_is_not_lost(engine: Engine) -> None:
    """The lab looks for lost runs in the end: the second one waits still."""
    handle, other = [await engine.start_run(pair) for _ in range(2)]
    for one in (handle, other):
        assert (await parked(one)).wait_reason == "2 things"
    await handle.signal("right", 2)
    await handle.signal("left", 1)

    assert await handle.result(timeout=10) == [1, 2]
