"""Artifacts through their door: put once, shared by content, verified, archived, contained in their folder."""

import asyncio
import hashlib
import io
import os
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.databases import ON_ONE_DATABASE
from windlass import signal, step, workflow
from windlass.bootstrap import Application, run_application
from windlass.contexts.artifacts.api import (
    Artifact,
    ArtifactNotFound,
    ChecksumMismatch,
    FileMissing,
    MimeRefused,
    NotAFile,
    OutsideRoot,
    RunNotFound,
    save_artifact,
)
from windlass.contexts.artifacts.tables import workflow_artifact_objects, workflow_artifact_uploads, workflow_artifacts
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor
from windlass.kernel.errors import ConfigError, TooLarge, Unavailable, ValidationFailed
from windlass.settings import Settings

MIB = 1024 * 1024
USER = Actor("ann", "ann")
ELSEWHERE: dict[str, Any] = {}


@workflow(name="artifacts.patient")
async def patient() -> None:
    await signal("go")


@step(name="artifacts.report", retries=2, backoff=0.001)
async def report(times: list[int]) -> list[str]:
    ELSEWHERE["ids"] = ids = ELSEWHERE.get("ids", [])
    ids.append((await save_artifact("report.txt", b"all is well", mime="text/plain")).artifact_id)
    if len(ids) < 3:
        raise RuntimeError("again")
    return [str(one) for one in ids]


@workflow(name="artifacts.reporting")
async def reporting() -> list[str]:
    return await report([1])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
async def running(database_url: str, root: Path) -> AsyncIterator[Application]:
    settings = Settings(database_url=database_url, lease_seconds=5.0, workflows_artifacts_dir=root)
    async with run_application(settings) as application:
        yield application


async def start(application: Application, **options: Any) -> str:
    return (await application.engine.start_run(patient, **options)).run_id


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


async def rows(application: Application, table: sa.Table) -> list[Any]:
    return list(await application.engine.read(lambda connection: connection.execute(sa.select(table)).all()))


async def pieces(block: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield block


async def foreign(application: Application, run_id: str, uri: str, **columns: Any) -> str:
    """A row that somebody else wrote."""
    name = f"foreign-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"
    row = {
        "artifact_id": name, "run_id": run_id, "type": "file", "uri": uri, "mime_type": "text/plain",
        "created_at": "2026-01-01T00:00:00.000000Z", **columns,
    }  # fmt: skip

    def insert(tx: Transaction) -> None:
        tx.insert_rows(workflow_artifacts, list(row), [list(row.values())])

    await application.engine.transact(insert)
    return name


async def everything(application: Application, run_id: str) -> list[Artifact]:
    return [artifact async for artifact in await application.artifacts.list(run_id)]


async def content(application: Application, artifact_id: str) -> bytes:
    file = await application.artifacts.open(artifact_id)
    try:
        return b"".join([block async for block in file.opened.chunks(0, file.opened.size)])
    finally:
        file.opened.close()


async def test_what_is_put_is_there_with_its_hash(running: Application, root: Path) -> None:
    run_id = await start(running, owner="ann")

    saved = await running.artifacts.put(run_id, "a.txt", b"hello", mime="Text/Plain; charset=utf-8", metadata={"n": 1})

    digest = hashlib.sha256(b"hello").hexdigest()
    [found] = await everything(running, run_id)
    assert saved == (found, True)
    assert (found.name, found.mime_type, found.size_bytes, found.checksum_sha256) == ("a.txt", "text/plain", 5, digest)
    assert found.metadata == {"n": 1, "name": "a.txt"}
    assert (found.run_id, found.tenant_id, found.owned_by, found.type) == (run_id, "default", "ann", "file")
    [file] = files(root)
    assert file.read_bytes() == b"hello"
    assert file.name.startswith(digest)
    assert running.artifacts.shown(found)["uri"] == f"file://{file}"
    assert await rows(running, workflow_artifact_uploads) == []


async def test_the_same_content_is_kept_once_and_the_same_artifact_is_one(running: Application, root: Path) -> None:
    one, two = await start(running), await start(running)

    first = await running.artifacts.put(one, "a.txt", b"same")
    again = await running.artifacts.put(one, "a.txt", b"same")
    other_name = await running.artifacts.put(one, "b.txt", b"same")
    other_run = await running.artifacts.put(two, "a.txt", b"same")
    other_step = await running.artifacts.put(one, "a.txt", b"same", step="s")
    other_text = await running.artifacts.put(one, "a.txt", b"else")

    assert again == (first.artifact, False)
    ids = {saved.artifact.artifact_id for saved in (first, other_name, other_run, other_step, other_text)}
    assert len(ids) == 5
    assert len(files(root)) == 2
    assert len(await rows(running, workflow_artifact_objects)) == 2
    assert len(await everything(running, one)) == 4


async def test_a_step_that_runs_again_saves_the_same_artifact(running: Application) -> None:
    ELSEWHERE.clear()

    handle = await running.engine.start_run(reporting)
    ids = await handle.result(timeout=30)

    assert len(ids) == 3
    [found] = await everything(running, handle.run_id)
    assert set(ids) == {found.artifact_id}
    assert found.step_run_id is not None
    assert found.step_run_id.startswith(f"{handle.run_id}:artifacts.report")
    with pytest.raises(RuntimeError, match="inside a step"):
        await save_artifact("report.txt", b"")


async def test_many_artifacts_are_listed_in_the_order_they_came(running: Application) -> None:
    run_id = await start(running)
    page = running.artifacts.list.__globals__["PAGE"]
    names = [f"{number}.txt" for number in range(7)]
    running.artifacts.list.__globals__["PAGE"] = 3
    try:
        for name in names:
            await running.artifacts.put(run_id, name, b"x")
        found = await everything(running, run_id)
    finally:
        running.artifacts.list.__globals__["PAGE"] = page

    assert [artifact.name for artifact in found] == names


async def test_who_does_not_own_the_run_finds_nothing(running: Application) -> None:
    run_id = await start(running, owner="bob")
    other_tenant = await start(running, owner="ann", tenant_id="other")
    saved = await running.artifacts.put(run_id, "a.txt", b"secret", mime="text/plain")

    for unseen in (run_id, other_tenant, "nobody", "", "\x00", "x" * 500):
        with pytest.raises(RunNotFound):
            await running.artifacts.list(unseen, USER)
        with pytest.raises(RunNotFound):
            await running.artifacts.put(unseen, "b.txt", b"", actor=USER)
    for missing in (saved.artifact.artifact_id, "nobody", "\x00"):
        with pytest.raises(ArtifactNotFound):
            await running.artifacts.open(missing, USER)
    assert (
        await running.artifacts.get(saved.artifact.artifact_id, Actor("root", "root", role="admin"))
    ).name == "a.txt"


@ON_ONE_DATABASE
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\x00b", "a\nb", " a", "x" * 256, "\ud800"])
async def test_a_wrong_name_is_refused(running: Application, name: str) -> None:
    run_id = await start(running)

    with pytest.raises(ValidationFailed):
        await running.artifacts.put(run_id, name, b"")


async def test_sizes_and_types_are_kept(running: Application, root: Path) -> None:
    run_id = await start(running, owner="ann")
    object.__setattr__(running.artifacts.limits, "max_upload", 10)

    with pytest.raises(TooLarge):
        await running.artifacts.put(run_id, "a.txt", pieces(b"xxx", 4))
    with pytest.raises(MimeRefused):
        await running.artifacts.put(run_id, "a.exe", b"", mime="application/x-dosexec", actor=USER)
    with pytest.raises(MimeRefused):
        await running.artifacts.put(run_id, "a.txt", b"", mime="nonsense")

    assert files(root) == []
    assert await rows(running, workflow_artifacts) == []


async def test_a_large_file_goes_through_in_constant_memory(running: Application, root: Path) -> None:
    run_id = await start(running)
    block = os.urandom(64 * 1024)
    expected = hashlib.sha256(block * 1024).hexdigest()
    tracemalloc.start()
    try:
        saved = await running.artifacts.put(run_id, "big.bin", pieces(block, 1024))
        file = await running.artifacts.open(saved.artifact.artifact_id)
        largest = 0
        async for part in file.opened.chunks(0, file.opened.size):
            largest = max(largest, len(part))
        file.opened.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert saved.artifact.size_bytes == 64 * MIB
    assert saved.artifact.checksum_sha256 == expected
    assert largest <= 256 * 1024
    assert peak < 8 * MIB


async def test_an_archive_has_every_file_and_takes_constant_memory(running: Application, tmp_path: Path) -> None:
    run_id = await start(running)
    block = os.urandom(MIB)
    object.__setattr__(running.artifacts.limits, "mimes", ("*/*",))
    for name, said in (("a.txt", b"1"), ("A.txt", b"2"), ("a.txt", b"3"), ("b", b""), ("ü.txt", b"4")):
        await running.artifacts.put(run_id, name, said)
    await running.artifacts.put(run_id, "big.bin", pieces(block, 32))
    target = (tmp_path / "archive.zip").open("wb")
    tracemalloc.start()
    try:
        async for part in await running.artifacts.zip(run_id):
            target.write(part)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        target.close()

    assert peak < 8 * MIB
    with zipfile.ZipFile(target.name) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.txt", "A-2.txt", "a-3.txt", "b", "ü.txt", "big.bin"]
        assert archive.read("A-2.txt") == b"2"
        assert archive.getinfo("big.bin").file_size == 32 * MIB


async def test_an_archive_leaves_out_what_cannot_be_downloaded(running: Application, root: Path) -> None:
    run_id = await start(running)
    with pytest.raises(ArtifactNotFound, match="No artifacts for run"):
        await running.artifacts.zip(run_id)
    await running.artifacts.put(run_id, "a.bin", b"no", mime="application/x-no")
    await foreign(running, run_id, "file:///etc/passwd")
    await foreign(running, run_id, "s3://bucket/key")
    await foreign(running, run_id, f"file://{root}/missing.txt")
    with pytest.raises(ArtifactNotFound, match="No eligible"):
        await running.artifacts.zip(run_id)
    await running.artifacts.put(run_id, "a.txt", b"yes", mime="text/plain")

    data = b"".join([part async for part in await running.artifacts.zip(run_id)])
    object.__setattr__(running.artifacts.limits, "max_bulk", 2)

    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["a.txt"]
    with pytest.raises(TooLarge):
        await running.artifacts.zip(run_id)


async def test_a_file_that_changed_is_found_out(running: Application, root: Path) -> None:
    run_id = await start(running)
    loose = await start(running, attributes={"validation_mode": "non-block"})
    saved = await running.artifacts.put(run_id, "a.txt", b"hello", mime="text/plain")
    same = await running.artifacts.put(loose, "a.txt", b"hello", mime="text/plain")
    whole = saved.artifact.artifact_id
    for _ in range(5):
        assert await content(running, whole) == b"hello"
    assert running.artifacts.integrity.hashed == 1

    [file] = files(root)
    file.write_bytes(b"HELLO!")

    with pytest.raises(ChecksumMismatch):
        await running.artifacts.open(whole)
    with pytest.raises(ChecksumMismatch):
        await running.artifacts.zip(run_id)
    assert await content(running, same.artifact.artifact_id) == b"HELLO!"
    calculated = hashlib.sha256(b"HELLO!").hexdigest()
    manifest = [one async for one in await running.artifacts.manifest(run_id, verify=True)]
    assert [integrity for _, integrity in manifest] == [{"ok": False, "calculated": calculated}]
    [result] = await running.artifacts.verify_batch(run_id, [(whole, None)])
    assert (result["ok"], result["calculated"], result["recorded"]) == (
        False,
        calculated,
        saved.artifact.checksum_sha256,
    )


async def test_only_artifacts_of_the_run_are_verified(running: Application, root: Path) -> None:
    one, two = await start(running), await start(running)
    mine = (await running.artifacts.put(one, "a.txt", b"mine")).artifact
    other = (await running.artifacts.put(two, "a.txt", b"theirs")).artifact
    gone = await foreign(running, one, f"file://{root}/missing.txt")
    outside = await foreign(running, one, "file:///etc/passwd")
    remote = await foreign(running, one, "s3://bucket/key")

    asked: list[tuple[str, str | None]] = [
        (mine.artifact_id, None), (mine.artifact_id, "0" * 64), (mine.artifact_id, str(mine.checksum_sha256).upper()),
        (other.artifact_id, None), (gone, None), (outside, None), (remote, None),
    ]  # fmt: skip
    found = await running.artifacts.verify_batch(one, asked)

    assert [result["ok"] for result in found] == [True, False, True, False, False, False, False]
    errors = ["not_found", "file_missing", "path_outside_allowed_dir", "unsupported_uri"]
    assert [result.get("error") for result in found] == [None, None, None, *errors]
    assert found[3]["calculated"] is None
    assert found[3]["recorded"] is None


async def test_nothing_outside_the_folder_is_opened(running: Application, root: Path, tmp_path: Path) -> None:
    run_id = await start(running)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    saved = await running.artifacts.put(run_id, "a.txt", b"mine", mime="text/plain")
    (root / "plain.txt").write_text("plain")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "folder").symlink_to(outside)
    astray = [
        "file:///etc/passwd", f"file://{root}/../outside/secret.txt", f"file://{root}/%2e%2e/outside/secret.txt",
        f"file://{root}/link.txt", f"file://{root}/folder/secret.txt", f"file://{root}", f"file://{root}/",
    ]  # fmt: skip

    for uri in astray:
        with pytest.raises(OutsideRoot):
            await running.artifacts.open(await foreign(running, run_id, uri))
    for uri in ("s3://bucket/key", "https://x/y", "file://host/x", "text"):
        with pytest.raises(NotAFile):
            await running.artifacts.open(await foreign(running, run_id, uri))
    with pytest.raises(FileMissing):
        await running.artifacts.open(await foreign(running, run_id, f"file://{root}/objects"))
    assert await content(running, await foreign(running, run_id, f"file://{root}/plain.txt")) == b"plain"
    [file] = files(root / "objects")
    file.unlink()
    file.symlink_to(outside / "secret.txt")
    with pytest.raises(OutsideRoot):
        await running.artifacts.open(saved.artifact.artifact_id)


async def test_a_file_somebody_removed_is_put_back_by_its_content(running: Application, root: Path) -> None:
    run_id = await start(running)
    saved = await running.artifacts.put(run_id, "a.txt", b"hello")
    [file] = files(root)
    file.unlink()
    with pytest.raises(FileMissing):
        await running.artifacts.open(saved.artifact.artifact_id)

    again = await running.artifacts.put(run_id, "a.txt", b"hello")

    assert again == (saved.artifact, False)
    assert await content(running, saved.artifact.artifact_id) == b"hello"


async def test_a_file_somebody_changed_is_put_back_by_its_content(running: Application, root: Path) -> None:
    run_id = await start(running)
    first = await running.artifacts.put(run_id, "a.txt", b"hello")
    [file] = files(root)
    file.write_bytes(b"hallo")
    with pytest.raises(ChecksumMismatch):
        await running.artifacts.open(first.artifact.artifact_id)

    other = await running.artifacts.put(run_id, "b.txt", b"hello")

    assert await content(running, other.artifact.artifact_id) == b"hello"
    assert await content(running, first.artifact.artifact_id) == b"hello"
    assert [file.read_bytes() for file in files(root)] == [b"hello"]


async def test_a_folder_that_cannot_be_written_stores_nothing(running: Application, root: Path) -> None:
    run_id = await start(running)
    await asyncio.to_thread(root.write_text, "a file in its place")

    with pytest.raises(Unavailable, match="the artifact folder cannot be used"):
        await running.artifacts.put(run_id, "a.txt", b"hello")

    assert await rows(running, workflow_artifacts) == []


async def test_metadata_is_encrypted_with_the_key_alone(database_url: str, root: Path) -> None:
    common: dict[str, Any] = {"database_url": database_url, "lease_seconds": 5.0, "workflows_artifacts_dir": root}
    sealed = {**common, "workflows_artifact_encryption": True, "workflows_artifact_enc_key": "a passphrase"}
    async with run_application(Settings(**sealed)) as application:
        run_id = await start(application)
        saved = await application.artifacts.put(run_id, "secret.txt", b"x", metadata={"patient": "Ann"})
        assert saved.artifact.metadata == {"patient": "Ann", "name": "secret.txt"}
        [row] = await rows(application, workflow_artifacts)
        assert row.encryption == "aesgcm:v1"
        assert "Ann" not in str(row.metadata_json)
        assert "secret.txt" not in str(row.metadata_json)
    async with run_application(Settings(**common)) as application:
        [found] = await everything(application, run_id)
        assert found.metadata == {"_encrypted": True}
    turned = {**sealed, "workflows_artifact_enc_key": "another", "jobs_crypto_secondary_key": "a passphrase"}
    async with run_application(Settings(**turned)) as application:
        [found] = await everything(application, run_id)
        assert found.metadata["patient"] == "Ann"


async def test_encryption_needs_its_key_and_its_package(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"database_url": database_url, "workflows_artifact_encryption": True}
    with pytest.raises(ConfigError, match="WORKFLOWS_ARTIFACT_ENC_KEY"):
        async with run_application(Settings(**given)):
            pass
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigError, match=r"windlass\[crypto\]"):
        async with run_application(Settings(**given, workflows_artifact_enc_key="k")):
            pass
