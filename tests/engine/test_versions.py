"""Runs stay with the version of their workflow that they were started with."""

import pytest

from tests.engine.lab import Lab, parked
from windlass import Engine, Registry, UnknownWorkflow, signal, step, workflow
from windlass.kernel.checks import BadName


@step
async def packs(how: str) -> str:
    return how


def warehouse(*versions: str) -> Registry:
    """What a release knows: a workflow that calls another one, each in these versions."""
    registry = Registry()
    for version in versions:

        @workflow(name="versions.parcel", version=version, registry=registry)
        async def parcel(version: str = version) -> str:
            return await packs(f"parcel {version}")

        @workflow(name="versions.order", version=version, registry=registry)
        async def order(version: str = version, parcel=parcel) -> list[str]:  # type: ignore[no-untyped-def]
            first = await packs(f"order {version}")
            await signal("go")
            return [first, await packs(f"order {version}"), await parcel()]

    return registry


def told(version: str) -> list[str]:
    return [f"order {version}", f"order {version}", f"parcel {version}"]


async def test_a_rolling_restart_with_two_versions_loses_no_run_and_gives_none_to_the_wrong_code(lab: Lab) -> None:
    old, other = [await lab.engine(registry=warehouse("1"), concurrency=8) for _ in range(2)]
    before = [await old.start_run("versions.order") for _ in range(6)]
    for handle in before[:3]:
        await parked(handle)
    await lab.crash(other)
    new = await lab.engine(registry=warehouse("1", "2"), concurrency=8)
    during = [(engine, await engine.start_run("versions.order")) for engine in (old, new) for _ in range(3)]
    for handle in before[:2] + [handle for _, handle in during]:
        await new.signal(handle.run_id, "go")
    await lab.stop(old)

    for engine, handle in during:
        version = "1" if engine is old else "2"
        assert await new.result(handle.run_id, 20) == told(version)
        assert (await new.get_run(handle.run_id)).interface_version == version
    newest = await lab.engine(registry=warehouse("2"), concurrency=8)
    await lab.stop(new)
    for handle in before[2:]:
        await newest.signal(handle.run_id, "go")
    after = await newest.start_run("versions.order")
    await newest.signal(after.run_id, "go")
    assert await after.result(20) == told("2")
    assert {(await newest.get_run(handle.run_id)).holder for handle in before[2:]} == {None}

    last = await lab.engine(registry=warehouse("1", "2"))
    assert [await last.result(handle.run_id, 20) for handle in before] == [told("1")] * 6


async def test_a_run_started_where_its_workflow_is_unknown_is_bound_by_whoever_takes_it(lab: Lab) -> None:
    stranger = await lab.engine(registry=Registry(), worker=False)
    handle = await stranger.start_run("versions.order")
    await stranger.signal(handle.run_id, "go")
    assert (await handle.status()).interface_version == ""
    await lab.engine(registry=warehouse("2", "10", "9"))

    assert await handle.result(20) == told("10")
    assert (await handle.status()).interface_version == "10"


def define(registry: Registry, version: str, *, current: bool = False) -> None:
    @workflow(name="versions.chosen", version=version, current=current, registry=registry)
    async def chosen() -> str:
        return version


async def test_new_runs_get_the_highest_version_unless_one_is_said_to_be_current(lab: Lab) -> None:
    registry = Registry()
    engine: Engine = await lab.engine(registry=registry)
    for version, current, expected in (
        ("2", False, "2"), ("1", False, "2"), ("10", False, "10"), ("2024-b", False, "2024-b"), ("9", True, "9"),
        ("3000", False, "9"),
    ):  # fmt: skip
        define(registry, version, current=current)
        assert await (await engine.start_run("versions.chosen")).result(10) == expected
    assert await (await engine.start_run(registry.get("versions.chosen", "10"))).result(10) == "10"
    assert list(registry) == ["versions.chosen"]

    with pytest.raises(ValueError, match="current"):
        define(registry, "11", current=True)
    with pytest.raises(ValueError, match=r"named 'versions\.chosen@10'"):

        @workflow(name="versions.chosen", version="10", registry=registry)
        async def imposter() -> None:
            return None

    for wrong in ("", "1,2", "a b", "x@y", "v" * 65, 2):
        with pytest.raises(BadName, match="no version"):
            define(registry, wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownWorkflow, match=r"versions\.chosen@77"):
        registry.get("versions.chosen", "77")
    foreign = Registry()
    define(foreign, "78")
    with pytest.raises(UnknownWorkflow, match=r"versions\.chosen@78"):
        await engine.start_run(foreign.get("versions.chosen"))
