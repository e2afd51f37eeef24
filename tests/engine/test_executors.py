"""Steps that run in processes or on a Ray cluster behave as those in threads do, and can be killed besides."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engine.lab import Lab
from tests.storage.databases import memory_database
from tests.support import heavy
from tests.support.waiting import wait_until, wait_until_async
from windlass import Engine, RunCancelled, RunFailed, StepFailed, step, workflow
from windlass.executors import api as executors
from windlass.kernel.stepping import StepInfo

PLACES = ("threads", "processes", "ray")
ELSEWHERE = PLACES[1:]
MIB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def _places() -> Iterator[None]:
    executors.configure(processes=2, ray_at_once=2)
    yield
    executors.close_all()
    executors.configure()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    database, store = memory_database()
    lab = Lab(database)
    engine = await lab.engine()
    yield engine
    await lab.stop(engine)
    store.close()


def made(function: Callable[..., Any], place: str, **options: Any) -> Any:
    """A step of a function in a place."""
    return step(executor=place, backoff=0.001, **options)(function)


@workflow(name="executors.call")
async def call(place: str, name: str, given: list[Any], options: dict[str, Any]) -> Any:
    """Call a function of ``tests.support.heavy`` as a step, and say what it fails with."""
    try:
        return await made(getattr(heavy, name), place, **options)(*given)
    except StepFailed as failed:
        return failed.message.partition(" failed: ")[2]


async def result(engine: Engine, place: str, name: str, *given: Any, **options: Any) -> Any:
    """What such a workflow comes to."""
    handle = await engine.start_run(call, place=place, name=name, given=list(given), options=options)
    return await handle.result(timeout=100)


@pytest.mark.parametrize("place", PLACES)
async def test_results_and_errors_are_the_same_everywhere(engine: Engine, place: str) -> None:
    told = await result(engine, place, "tell", [1, 2, 3])
    assert (told["sum"], told["path"], told["attempt"]) == (6, "tell#1", 1)
    assert (told["pid"] == os.getpid()) is (place == "threads")

    assert await result(engine, place, "refuse", "plain", retries=1) == "ValueError: no such number"
    assert await result(engine, place, "refuse", "ours") == "WindlassError: not today"
    assert await result(engine, place, "refuse", "exit") == "RuntimeError: SystemExit: 3"
    assert "very" in await result(engine, place, "refuse", "particular")
    assert len(await result(engine, place, "large", 5 * MIB)) == 5 * MIB
    assert (await result(engine, place, "secret", 1)).startswith("NotSerializable: ")


@pytest.mark.parametrize("place", ELSEWHERE)
async def test_nothing_is_left_of_one_that_is_killed(engine: Engine, place: str, tmp_path: Path) -> None:
    """One test of much, for a cluster takes long to start."""
    for how in ("killed", "exited"):
        folder = tmp_path / how
        folder.mkdir()
        assert await result(engine, place, "die_once", str(folder), how, retries=1) == "done"
        (folder / "first").unlink()
        assert (await result(engine, place, "die_once", str(folder), how)).startswith("Crashed: its ")

    handle = await engine.start_run(
        call, place=place, name="linger", given=[str(tmp_path)], options={"retries": 1, "timeout": 100}
    )
    psutil.Process(await _pid(tmp_path, 1)).kill()
    second = await _pid(tmp_path, 2)
    await handle.cancel()
    with pytest.raises(RunCancelled):
        await handle.result(timeout=60)
    await _gone(second)

    late = tmp_path / "late"
    late.mkdir()
    said = await result(engine, place, "linger", str(late), timeout=1.0)
    assert said == "StepTimeout: step linger took longer than 1 s"
    if (late / "here-1").exists():
        await _gone(await _pid(late, 1))
    assert not [*tmp_path.rglob("survived")]  # noqa: ASYNC240  it is there or not


@pytest.mark.parametrize("place", ELSEWHERE)
async def test_what_cannot_travel_is_said(engine: Engine, place: str) -> None:
    @workflow(name=f"executors.unsendable.{place}")
    async def unsendable() -> None:
        await made(heavy.secret, place)(asyncio.get_running_loop())

    with pytest.raises(RunFailed, match="an argument of secret cannot be sent to another process"):
        await (await engine.start_run(unsendable)).result(timeout=60)
    lost = executors.Errand("tests.support.heavy", "nowhere", [], {}, StepInfo("run", "nowhere#1", 1))
    with pytest.raises(executors.CannotTravel, match="nowhere is not found in another process"):
        await executors.place(place).run(lost)


def test_a_process_does_not_outlive_who_has_started_it(tmp_path: Path) -> None:
    errand = f'Errand("tests.support.heavy", "linger", [{str(tmp_path)!r}], {{}}, StepInfo("r", "p", 1))'
    code = f"""
import asyncio
from windlass.executors.api import Errand, place
from windlass.kernel.stepping import StepInfo

if __name__ == "__main__":
    asyncio.run(place("processes").run({errand}))
"""
    main = tmp_path / "main.py"
    main.write_text(code)
    with subprocess.Popen([sys.executable, main], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) as parent:
        wait_until((tmp_path / "here-1").exists, what="the step")
        parent.kill()
    pid = int((tmp_path / "here-1").read_text())
    wait_until(lambda: not psutil.pid_exists(pid), what="its end")


def test_what_no_executor_can_run_is_refused() -> None:
    def local() -> None: ...

    async def waits() -> None: ...

    with pytest.raises(ValueError, match="there is no executor 'gpu', but processes, ray, threads"):
        made(heavy.large, "gpu")
    with pytest.raises(ValueError, match="another process finds functions of modules only"):
        made(local, "processes")
    with pytest.raises(TypeError, match="step waits: an executor takes a plain function"):
        made(waits, "processes")
    with pytest.raises(TypeError, match="step local: an executor takes a plain function without a transaction"):
        step(transactional=True, executor="ray")(local)  # type: ignore[arg-type]


async def _pid(folder: Path, attempt: int) -> int:
    file = folder / f"here-{attempt}"

    async def there() -> str:
        return file.read_text() if file.exists() else ""

    return int(await wait_until_async(there, what=f"attempt {attempt}"))


async def _gone(pid: int) -> None:
    await asyncio.to_thread(wait_until, lambda: not psutil.pid_exists(pid), what="its death")
