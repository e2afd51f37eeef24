"""The pytest plugin, as somebody else's tests use it: with pytest-asyncio, with anyio, with neither."""

import os
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import entry_points

import pytest

from tests.support.paths import ROOT

pytest_plugins = ["pytester"]

ASYNCIO = ("-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function")

TESTS = """
from datetime import UTC, datetime

import pytest
from windlass import RunFailed, now, signal, sleep, workflow
from windlass.testing import NeverEnds, PromiseBroken


@workflow(name="plugin_month")
async def month(text):
    await sleep(days=30)
    return [text, now().month]


@workflow(name="plugin_waits")
async def waits():
    return await signal("go")


@pytest.fixture
def started(windlass):
    return lambda: windlass.start_run(month, "b")


MARK
@pytest.mark.windlass(start=datetime(2030, 1, 15, tzinfo=UTC))
async def test_async(windlass, started):
    assert await windlass.run(month, "a") == ["a", 2]
    assert await (await started()).result() == ["b", 3]
    handle = await windlass.start_run(waits)
    await windlass.until(handle.run_id)
    await windlass.signal(handle.run_id, "go", 7)
    assert await handle.result() == 7
    assert windlass.clock.today().month == 3


class TestInAClass:
    MARK
    async def test_it(self, windlass):
        assert await windlass.run(waits, signals=[("go", 1)]) == 1


MARK
async def test_never(windlass):
    with pytest.raises(NeverEnds):
        await windlass.run(waits)


@pytest.mark.windlass(start=datetime(2030, 5, 15, tzinfo=UTC))
def test_plain(windlass, crash_everywhere):
    assert windlass.run(month, "a") == ["a", 6]
    assert windlass.run(waits, signals=[("go", 1)]) == 1
    with pytest.raises(AttributeError, match="in async tests only"):
        windlass.start_run
    assert crash_everywhere(waits, signals=[("go", 1)]).result == 1
    with pytest.raises(PromiseBroken, match="waits for signal:go"):
        crash_everywhere(waits)
"""


@pytest.mark.parametrize(
    "options,mark",
    [
        ([*ASYNCIO, "-o", "asyncio_mode=auto"], ""),
        ([*ASYNCIO, "-o", "asyncio_mode=strict"], "@pytest.mark.asyncio"),
        (["-p", "no:asyncio", "-p", "anyio"], "@pytest.mark.anyio"),
        (["-p", "no:asyncio", "-p", "no:anyio"], ""),
    ],
    ids=["asyncio auto", "asyncio strict", "anyio", "neither"],
)
def test_somebody_elses_tests(pytester: pytest.Pytester, options: list[str], mark: str) -> None:
    pytester.makepyfile(test_mine=TESTS.replace("MARK", mark))
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")

    done = pytester.runpytest_inprocess(
        "-p", "windlass.testing.plugin", *options, "--strict-markers", "-p", "no:cacheprovider", "-p", "no:valkey"
    )

    done.assert_outcomes(passed=4)


def test_pytest_finds_it_by_its_entry_point_and_nobody_gets_it_twice(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert declared == {"windlass.testing.plugin": "windlass.testing.plugin"}
    folder = pytester.mkdir("kit-1.dist-info")
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: kit\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[pytest11]\nwindlass.testing.plugin = windlass.testing.plugin\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), str(ROOT / "src")]))
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
    pytester.makepyfile("def test_it(windlass, crash_everywhere):\n    assert callable(crash_everywhere)\n")
    others = {found.name for found in entry_points(group="pytest11")} - {*declared}
    quick = [part for name in [*others, "cacheprovider"] for part in ("-p", f"no:{name}")]

    pytester.runpytest_subprocess(*quick).assert_outcomes(passed=1)
    monkeypatch.setenv("PYTEST_PLUGINS", "windlass.testing.plugin")
    pytester.runpytest_subprocess(*quick, "-p", "windlass.testing.plugin").assert_outcomes(passed=1)


def test_nothing_is_loaded_before_a_test_asks() -> None:
    program = """
    import sys, windlass.testing.plugin
    print(sorted(name for name in sys.modules if name.startswith("windlass") or name in {"pydantic", "sqlalchemy"}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['windlass', 'windlass.testing', 'windlass.testing.plugin']"
