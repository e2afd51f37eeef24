"""Garbage of artifacts goes, in bounded batches; what an open run needs, or somebody is putting right now, stays."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.waiting import wait_until_async
from windlass import signal, workflow
from windlass.bootstrap import Application, run_application
from windlass.contexts.artifacts import collecting
from windlass.contexts.artifacts.api import Artifact
from windlass.contexts.artifacts.tables import workflow_artifact_objects, workflow_artifact_uploads, workflow_artifacts
from windlass.engine.types import Status
from windlass.kernel.clock import SECOND
from windlass.kernel.errors import Unavailable
from windlass.kernel.telemetry import Silent
from windlass.settings import Settings

LONG_AGO = "2020-01-01T00:00:00.000000Z"
TABLES = (workflow_artifacts, workflow_artifact_objects, workflow_artifact_uploads)


@workflow(name="artifacts.quick")
async def quick() -> None:
    """End at once."""


@workflow(name="artifacts.open")
async def stays_open() -> None:
    await signal("go")


@workflow(name="artifacts.parent")
async def parent() -> None:
    await middle()
    await signal("go")


@workflow(name="artifacts.middle")
async def middle() -> None:
    await quick()


class Heard(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def settings(database_url: str, root: Path) -> Settings:
    return Settings(database_url=database_url, lease_seconds=5.0, workflows_artifacts_dir=root)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def running(settings: Settings, heard: Heard) -> AsyncIterator[Application]:
    async with run_application(settings, telemetry=heard) as application:
        yield application


@pytest.fixture
async def other(settings: Settings, running: Application) -> AsyncIterator[Application]:
    """Another process's view of the same database and folder."""
    async with run_application(settings, worker=False) as application:
        yield application


async def ended(application: Application) -> str:
    handle = await application.engine.start_run(quick)
    await handle.result(timeout=30)
    return handle.run_id


async def put(application: Application, run_id: str, name: str, content: bytes) -> Artifact:
    return (await application.artifacts.put(run_id, name, content, mime="text/plain")).artifact


async def age(application: Application, *tables: sa.Table) -> None:
    """Make every row as if written long ago."""
    for table in tables or TABLES:
        aged = sa.update(table).values(created_at=LONG_AGO)
        await application.engine.transact(lambda tx, aged=aged: tx.connection.execute(aged) and None)  # type: ignore[misc]


def age_files(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


async def count(application: Application, table: sa.Table) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    return int(await application.engine.read(lambda connection: connection.execute(query).scalar()))


async def content(application: Application, artifact: Artifact) -> bytes:
    file = await application.artifacts.open(artifact.artifact_id)
    try:
        return b"".join([block async for block in file.opened.chunks(0, file.opened.size)])
    finally:
        file.opened.close()


async def test_what_is_past_its_time_goes_and_what_an_open_run_needs_stays(
    running: Application, root: Path, heard: Heard
) -> None:
    done = await ended(running)
    still = (await running.engine.start_run(stays_open)).run_id
    family = (await running.engine.start_run(parent)).run_id

    async def grandchild() -> str | None:
        runs = [run for run in await running.engine.list_runs() if run.status == Status.SUCCEEDED and run.parent_run_id]
        return next((run.run_id for run in runs if len(runs) == 2 and run.name == "artifacts.quick"), None)

    below = await wait_until_async(grandchild)
    old = await put(running, done, "old.txt", b"old")
    shared = await put(running, done, "shared.txt", b"shared")
    kept = [
        await put(running, still, "shared.txt", b"shared"),
        await put(running, below or "", "below.txt", b"below"),
        await put(running, family, "family.txt", b"family"),
    ]
    await age(running)
    fresh = await put(running, done, "fresh.txt", b"fresh")

    found = await running.artifacts.gc()

    assert (found.artifacts, found.kept, found.objects) == (2, 3, 1)
    assert await count(running, workflow_artifacts) == 4
    assert [await content(running, one) for one in [*kept, fresh]] == [b"shared", b"below", b"family", b"fresh"]
    assert len(files(root)) == 4
    notes = {fields["artifact_id"]: fields for name, fields in heard.events if name == "artifact_gc"}
    assert notes.keys() == {old.artifact_id, shared.artifact_id}
    assert (notes[old.artifact_id]["file_deleted"], notes[shared.artifact_id]["file_deleted"]) == (True, False)
    assert (await running.artifacts.gc()).removed == 0


async def test_a_run_that_was_opened_again_meanwhile_keeps_its_artifacts(running: Application) -> None:
    still = (await running.engine.start_run(stays_open)).run_id
    artifact = await put(running, still, "a.txt", b"a")

    gone, keys = await running.engine.submit(collecting.DROP, collecting.Drop([artifact], {still: [still, ""]}))

    assert (gone, keys) == ([], [])
    assert await content(running, artifact) == b"a"


async def test_batches_are_bounded_and_reach_the_end(
    running: Application, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "BATCH", 3)
    still = (await running.engine.start_run(stays_open)).run_id
    done = await ended(running)
    for number in range(8):
        await put(running, still if number % 2 else done, f"{number}.txt", b"%d" % number)
    await age(running)

    found = await running.artifacts.gc()

    assert (found.artifacts, found.kept, found.objects) == (4, 4, 4)
    assert len(files(root)) == 4


async def test_a_deleted_run_takes_its_artifacts_along(running: Application, root: Path) -> None:
    done, other_run = await ended(running), await ended(running)
    await put(running, done, "a.txt", b"alone")
    await put(running, done, "b.txt", b"shared")
    kept = await put(running, other_run, "b.txt", b"shared")

    await running.engine.transact(lambda tx: tx.execute("DELETE FROM workflow_runs WHERE run_id = :id", {"id": done}))
    found = await running.artifacts.gc()

    assert (found.objects, await count(running, workflow_artifacts), len(files(root))) == (1, 1, 1)
    assert await content(running, kept) == b"shared"


async def test_files_that_nobody_names_go_after_an_hour(running: Application, root: Path) -> None:
    kept = await put(running, await ended(running), "a.txt", b"a")
    [named] = files(root)
    orphan = named.with_name("0" * 64 + "-orphan")
    orphan.write_bytes(b"orphan")
    half = root / "incoming" / "half"
    half.write_bytes(b"half")
    beside = root / "mine.txt"
    beside.write_bytes(b"not ours")

    young = await running.artifacts.gc()
    age_files(root)
    old = await running.artifacts.gc()

    assert young.removed == 0
    assert (old.orphans, old.uploads) == (1, 1)
    assert files(root) == sorted([named, beside])
    assert await content(running, kept) == b"a"


async def test_a_crash_after_the_rows_are_gone_leaves_a_file_for_the_next_round(
    running: Application, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(running, await ended(running), "a.txt", b"a")
    await age(running)

    async def crash(key: str) -> bool:
        raise RuntimeError("the process ended here")

    with monkeypatch.context() as patched:
        patched.setattr(running.artifacts._store, "delete", crash)
        with pytest.raises(RuntimeError):
            await running.artifacts.gc()
    assert (await count(running, workflow_artifacts), len(files(root))) == (0, 1)
    age_files(root)

    assert (await running.artifacts.gc()).orphans == 1
    assert files(root) == []


async def test_an_upload_that_took_too_long_stores_nothing(
    running: Application, other: Application, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await ended(running)
    settle = running.artifacts._store.settle

    async def frozen(staged: Any, key: str) -> None:
        await settle(staged, key)
        await age(other, workflow_artifact_uploads)
        age_files(root)
        assert (await other.artifacts.gc()).uploads == 1

    monkeypatch.setattr(running.artifacts._store, "settle", frozen)
    with pytest.raises(Unavailable, match="took too long"):
        await put(running, run_id, "a.txt", b"a")

    assert [await count(running, table) for table in TABLES] == [0, 0, 0]
    assert files(root) == []


async def test_garbage_may_be_collected_at_any_moment_of_a_put(
    running: Application, other: Application, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content is that of an artifact past its time, which another process removes between two steps of the put."""
    done = await ended(running)
    still = (await running.engine.start_run(stays_open)).run_id

    calls: list[int] = []

    def first(moment: int, work: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def with_garbage(*args: Any, **kwargs: Any) -> Any:
            calls.append(moment)
            if len(calls) == moment:
                await other.artifacts.gc()
            return await work(*args, **kwargs)

        return with_garbage

    for moment in range(1, 6):
        await put(running, done, f"{moment}.txt", b"shared")
        await age(running)
        calls.clear()
        with monkeypatch.context() as patched:
            for owner, name in (
                (running.engine, "transact"), (running.artifacts._store, "settle"),
                (running.artifacts._store, "receive"), (running.artifacts.integrity, "holds"),
            ):  # fmt: skip
                patched.setattr(owner, name, first(moment, getattr(owner, name)))
            mine = await put(running, still, f"{moment}.txt", b"shared")
        assert len(calls) >= min(moment, 3)
        assert await content(running, mine) == b"shared"
        await running.artifacts.gc()
        assert await content(running, mine) == b"shared"
        await running.engine.transact(lambda tx: tx.execute("DELETE FROM workflow_artifacts"))
        await running.artifacts.gc()
        assert files(root) == []


async def test_puts_and_garbage_of_two_processes_do_not_hurt_each_other(
    running: Application, other: Application, root: Path
) -> None:
    done = await ended(running)
    still = (await running.engine.start_run(stays_open)).run_id
    mine: list[Artifact] = []
    for number in range(12):
        shared = b"shared %d" % (number % 2)
        await put(running, done, f"{number}.txt", shared)
        await age(running)
        first, second, *_ = await asyncio.gather(
            put(running, still, f"{number}.txt", shared),
            put(other, still, f"{number}-other.txt", shared),
            other.artifacts.gc(),
            running.artifacts.gc(),
        )
        mine += [first, second]

    await age(running)
    age_files(root)
    await other.artifacts.gc()

    assert {await content(running, artifact) for artifact in mine} == {b"shared 0", b"shared 1"}
    assert await count(running, workflow_artifact_objects) == len(files(root)) == 2
    assert await count(running, workflow_artifact_uploads) == 0


async def test_only_files_below_the_folder_are_deleted(running: Application, root: Path, tmp_path: Path) -> None:
    done = await ended(running)
    kept = await put(running, (await running.engine.start_run(stays_open)).run_id, "a.txt", b"kept")
    outside = tmp_path / "outside.txt"
    outside.write_text("outside")
    (root / "mine.txt").write_text("mine")
    (root / "link.txt").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    uris = [
        f"file://{outside}", f"file://{root}/mine.txt", f"file://{root}/link.txt", f"file://{root}/folder/outside.txt",
        f"file://{root}/../outside.txt", running.artifacts.shown(kept)["uri"], "s3://bucket/key", f"file://{root}/gone",
    ]  # fmt: skip
    columns = ["artifact_id", "run_id", "type", "uri", "created_at"]
    rows = [[f"row-{place}", done, "file", uri, LONG_AGO] for place, uri in enumerate(uris)]
    await running.engine.transact(lambda tx: tx.insert_rows(workflow_artifacts, columns, rows))

    found = await running.artifacts.gc()

    assert (found.artifacts, await count(running, workflow_artifacts)) == (len(uris), 1)
    assert outside.read_text() == "outside"
    assert (root / "link.txt").is_symlink()
    assert not (root / "mine.txt").exists()
    assert await content(running, kept) == b"kept"


async def test_a_process_collects_by_itself_where_that_is_wanted(
    settings: Settings, running: Application, root: Path, heard: Heard
) -> None:
    await put(running, await ended(running), "a.txt", b"a")
    await age(running)
    wanted = {"workflows_artifact_gc_enabled": True, "workflows_artifact_gc_interval_sec": 1.0}

    async with run_application(settings.model_copy(update=wanted), worker=False, telemetry=heard):
        await wait_until_async(lambda: "artifacts.collected" in [name for name, _ in heard.events])

    assert files(root) == []


async def test_retention_is_what_the_settings_say(settings: Settings, root: Path) -> None:
    async with run_application(settings.model_copy(update={"workflows_artifact_retention_days": 0.0})) as application:
        run_id = await ended(application)
        await put(application, run_id, "a.txt", b"a")
        now = application.engine.clock.now()
        assert application.artifacts.limits.retention * SECOND < now

        assert (await application.artifacts.gc()).artifacts == 1
