"""Steps whose effects in this database happen exactly once: they commit with the journal, or leave nothing."""

import pytest

from tests.engine.lab import Lab, add_note, parked, payloads, status_of
from windlass import Engine, RunFailed, UnknownRun, gather, signal, sleep, step, step_info, workflow
from windlass.engine.ports import Transaction


class Flaky(Exception):
    pass


@step(transactional=True)
def note(tx: Transaction, text: str) -> str:
    add_note(tx, text)
    return f"noted {text}"


@workflow
async def writing(text: str) -> str:
    return await note(text)


async def test_it_commits_with_its_journal_row(engine: Engine, lab: Lab) -> None:
    handle = await engine.start_run(writing, "a")

    assert await handle.result(timeout=10) == "noted a"
    assert lab.notes() == ["a"]
    [done] = await payloads(engine, handle, "step_completed")
    assert (done["step_id"], done["output"], done["attempt"]) == ("note", "noted a", 1)


async def test_when_it_fails_all_of_it_is_taken_back_and_it_is_tried_again(engine: Engine, lab: Lab) -> None:
    attempts = []

    @step(transactional=True, retries=2, backoff=0)
    def flaky(tx: Transaction) -> int:
        attempt = step_info().attempt
        attempts.append(attempt)
        add_note(tx, f"attempt {attempt}")
        if attempt < 3:
            raise Flaky
        return attempt

    @workflow
    async def persistent() -> int:
        return await flaky()

    handle = await engine.start_run(persistent)

    assert await handle.result(timeout=10) == 3
    assert attempts == [1, 2, 3]
    assert lab.notes() == ["attempt 3"]
    assert len(await payloads(engine, handle, "step_failed")) == 2


async def test_a_statement_the_database_refuses_fails_the_step_alone(engine: Engine, lab: Lab) -> None:
    @step(transactional=True)
    def wrong(tx: Transaction) -> None:
        add_note(tx, "lost")
        tx.execute("INSERT INTO nothing_there (x) VALUES (1)")

    @workflow
    async def broken() -> None:
        await wrong()

    good = [await engine.start_run(writing, f"good {number}") for number in range(3)]
    bad = await engine.start_run(broken)
    good += [await engine.start_run(writing, f"good {number}") for number in range(3, 6)]

    with pytest.raises(RunFailed, match="nothing_there"):
        await bad.result(timeout=10)
    for handle in good:
        await handle.result(timeout=10)
    assert sorted(lab.notes()) == [f"good {number}" for number in range(6)]


async def test_its_output_is_checked_before_it_commits(engine: Engine, lab: Lab) -> None:
    @step(transactional=True)
    def wrong(tx: Transaction) -> int:
        add_note(tx, "lost")
        return "three"  # type: ignore[return-value]

    @workflow
    async def broken() -> int:
        return await wrong()

    with pytest.raises(RunFailed, match="output of step wrong"):
        await (await engine.start_run(broken)).result(timeout=10)
    assert lab.notes() == []


async def test_branches_side_by_side_each_commit_once(engine: Engine, lab: Lab) -> None:
    @workflow
    async def fan_out() -> None:
        await gather(*(note(str(number)) for number in range(20)))

    await (await engine.start_run(fan_out)).result(timeout=10)

    assert sorted(lab.notes(), key=int) == [str(number) for number in range(20)]


async def test_after_a_crash_it_is_not_repeated(lab: Lab) -> None:
    @workflow
    async def two_days() -> None:
        await note("first day")
        await sleep(days=1)
        await note("second day")

    first = await lab.engine()
    handle = await first.start_run(two_days)
    await parked(handle)
    await lab.crash(first)
    second = await lab.engine()
    lab.pass_time(days=1)

    await second.handle(handle.run_id).result(timeout=10)
    assert lab.notes() == ["first day", "second day"]


async def test_a_run_started_inside_exists_only_if_the_step_commits(engine: Engine, lab: Lab) -> None:
    @step(transactional=True, retries=1, backoff=0)
    def starts(tx: Transaction) -> str:
        attempt = step_info().attempt
        run_id = engine.start_run_in(tx, writing, "inner", run_id=f"inner-{attempt}")
        if attempt == 1:
            raise Flaky
        return run_id

    @workflow
    async def outer() -> str:
        return await starts()

    inner = await (await engine.start_run(outer)).result(timeout=10)

    assert inner == "inner-2"
    assert await engine.handle("inner-2").result(timeout=10) == "noted inner"
    with pytest.raises(UnknownRun):
        await engine.get_run("inner-1")


async def test_a_signal_sent_inside_is_heard_only_if_the_step_commits(engine: Engine, lab: Lab) -> None:
    @workflow
    async def listens() -> list[object]:
        return [await signal("news"), await signal("news")]

    @step(transactional=True, retries=1, backoff=0)
    def tells(tx: Transaction, run_id: str, text: str) -> bool:
        sent = engine.signal_in(tx, run_id, "news", f"{text} {step_info().attempt}")
        if step_info().attempt == 1:
            raise Flaky
        return sent

    @workflow
    async def speaks(run_id: str) -> list[bool]:
        return [await tells(run_id, "one"), await tells(run_id, "two")]

    listener = await engine.start_run(listens)
    await parked(listener)

    assert await (await engine.start_run(speaks, listener.run_id)).result(timeout=10) == [True, True]
    assert await listener.result(timeout=10) == ["one 2", "two 2"]


async def test_it_signals_its_own_run(engine: Engine, lab: Lab) -> None:
    @step(transactional=True)
    def remind(tx: Transaction) -> None:
        engine.signal_in(tx, step_info().run_id, "reminder", "buy milk")

    @workflow
    async def forgetful() -> object:
        await remind()
        return await signal("reminder")

    assert await (await engine.start_run(forgetful)).result(timeout=10) == "buy milk"


async def test_a_statement_past_the_step_s_time_is_stopped(engine: Engine, lab: Lab) -> None:
    @step(transactional=True, timeout=0.05)
    def endless(tx: Transaction) -> None:
        add_note(tx, "lost")
        tx.execute("WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT 3 - x FROM c) SELECT count(*) FROM c")

    @workflow
    async def stuck() -> None:
        await endless()

    handle = await engine.start_run(stuck)
    with pytest.raises(RunFailed, match="step endless#1 failed"):
        await handle.result(timeout=10)

    assert await (await engine.start_run(writing, "later")).result(timeout=10) == "noted later"
    assert lab.notes() == ["later"]


async def test_a_cancelled_run_begins_no_more_of_them(engine: Engine, lab: Lab) -> None:
    @workflow
    async def waits_first() -> None:
        await signal("go")
        await note("never")

    handle = await engine.start_run(waits_first)
    await parked(handle)
    await handle.cancel()
    await status_of(handle, "cancelled")

    assert lab.notes() == []


async def test_outside_a_run_it_is_the_plain_function_of_a_transaction(engine: Engine, lab: Lab) -> None:
    await engine.transact(lambda tx: note.fn(tx, "direct"))

    assert lab.notes() == ["direct"]


def test_it_is_a_plain_function() -> None:
    async def asynchronous(tx: Transaction) -> None: ...

    with pytest.raises(TypeError, match="a transactional step is a plain function"):
        step(transactional=True)(asynchronous)
