"""Artifacts over HTTP: streamed in and out, in parts, as an archive, and only to who owns the run."""

import hashlib
import io
import os
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apps import Served, serving
from tests.support.databases import ON_ONE_DATABASE
from windlass import signal, workflow
from windlass.contexts.artifacts.tables import workflow_artifacts
from windlass.http import artifacts as routes
from windlass.http.ranges import attachment
from windlass.kernel.actors import Actor

MIB = 1024 * 1024
BASE = "/api/v1/workflows"
TEXT = {"Content-Type": "text/plain"}
ANN = Actor("ann", "ann", permissions=frozenset({"workflows.runs.read", "workflows.runs.control"}))


@workflow(name="artifacts.http")
async def patient() -> None:
    await signal("go")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
async def served(database_url: str, root: Path) -> AsyncIterator[Served]:
    async with serving(database_url, workflows_artifacts_dir=root) as running:
        yield running


async def start(served: Served, **options: Any) -> str:
    return (await served.inside.engine.start_run(patient, **options)).run_id


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


async def send(served: Served, run_id: str, name: str, content: bytes, **headers: str) -> dict[str, Any]:
    answer = await served.client.post(
        f"{BASE}/runs/{run_id}/artifacts", params={"name": name}, content=content, headers=TEXT | headers
    )
    assert answer.status_code in {200, 201}, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_file_is_stored_listed_and_downloaded(served: Served, root: Path) -> None:
    run = f"{BASE}/runs/{await start(served)}/artifacts"
    assert (await served.client.get(run)).json() == []

    first = await served.client.put(run, params={"name": "a b.txt", "type": "report"}, content=b"hello", headers=TEXT)
    again = await served.client.post(run, params={"name": "a b.txt"}, content=b"hello", headers=TEXT)

    assert (first.status_code, again.status_code) == (201, 200)
    shown = first.json()
    [file] = files(root)
    assert shown | {"created_at": ""} == {
        "artifact_id": again.json()["artifact_id"],
        "type": "report",
        "uri": f"file://{file}",
        "size_bytes": 5,
        "mime_type": "text/plain",
        "checksum_sha256": hashlib.sha256(b"hello").hexdigest(),
        "metadata": {"name": "a b.txt"},
        "created_at": "",
        "step_run_id": None,
    }
    assert (await served.client.get(run)).json() == [shown]
    answer = await served.client.get(first.headers["location"])
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-length"] == "5"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == f'"{shown["checksum_sha256"]}"'
    assert answer.headers["content-disposition"] == 'attachment; filename="a b.txt"'
    head = await served.client.head(first.headers["location"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "5")


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "asked,part",
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=2-5", (2, 5)),
        ("bytes=5-", (5, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-30", (0, 9)),
        ("bytes=0-9", (0, 9)),
        ("BYTES=9-9", (9, 9)),
    ],
)
async def test_a_part_is_sent(served: Served, asked: str, part: tuple[int, int]) -> None:
    shown = await send(served, await start(served), "a.txt", b"0123456789")

    answer = await served.client.get(f"{BASE}/artifacts/{shown['artifact_id']}/download", headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == b"0123456789"[part[0] : part[1] + 1]
    assert answer.headers["content-range"] == f"bytes {part[0]}-{part[1]}/10"
    assert answer.headers["content-length"] == str(len(answer.content))


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "asked",
    ["bytes=0-10", "bytes=10-", "bytes=5-2", "bytes=-0", "bytes=-", "bytes=0-1,3-4", "bytes=a-b", "lines=0-1", "x", ""],
)
async def test_a_range_the_file_does_not_have_is_refused_with_its_size(served: Served, asked: str) -> None:
    shown = await send(served, await start(served), "a.txt", b"0123456789")

    answer = await served.client.get(f"{BASE}/artifacts/{shown['artifact_id']}/download", headers={"Range": asked})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */10"
    assert answer.json()["detail"] == "Invalid Range header"


async def test_conditions_are_kept(served: Served) -> None:
    shown = await send(served, await start(served), "a.txt", b"0123456789")
    url, etag = f"{BASE}/artifacts/{shown['artifact_id']}/download", f'"{shown["checksum_sha256"]}"'

    async def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await served.client.get(url, headers=named)).status_code

    assert await status(If_None_Match=etag) == 304
    assert await status(If_None_Match=f'"other", W/{etag}') == 304
    assert await status(If_None_Match="*") == 304
    assert await status(If_None_Match='"other"') == 200
    assert await status(Range="bytes=0-1", If_Range=etag) == 206
    assert await status(Range="bytes=0-1", If_Range='"other"') == 200
    assert await status(Range="bytes=0-1", If_Range="Wed, 21 Oct 2015 07:28:00 GMT") == 200
    assert await status(Range="bytes=50-60", If_Range='"other"') == 200


async def test_many_parts_of_a_file_hash_it_once(served: Served) -> None:
    shown = await send(served, await start(served), "a.txt", b"0123456789")

    for place in range(10):
        headers = {"Range": f"bytes={place}-{place}"}
        await served.client.get(f"{BASE}/artifacts/{shown['artifact_id']}/download", headers=headers)

    assert served.inside.artifacts.integrity.hashed == 1


@pytest.mark.parametrize(
    "name,header",
    [
        ("a.txt", "attachment; filename=a.txt"),
        ('a "b"; c.txt', 'attachment; filename="a \\"b\\"; c.txt"'),
        ("bär.txt", "attachment; filename=download; filename*=UTF-8''b%C3%A4r.txt"),
        ("日本.txt", "attachment; filename=download; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt"),
    ],
)
async def test_names_travel(served: Served, name: str, header: str) -> None:
    shown = await send(served, await start(served), name, b"x")

    answer = await served.client.get(f"{BASE}/artifacts/{shown['artifact_id']}/download")

    assert answer.headers["content-disposition"] == header == attachment(name)


async def test_a_form_is_streamed_too(served: Served, root: Path) -> None:
    run = f"{BASE}/runs/{await start(served)}/artifacts"
    content = os.urandom(3 * MIB)

    answer = await served.client.post(run, files={"file": ("bär.png", content, "image/png")})
    named = await served.client.post(run, params={"name": "b.png"}, files={"file": ("a.png", b"x", "image/png")})

    assert (answer.status_code, named.status_code) == (201, 201)
    assert answer.json()["metadata"] == {"name": "bär.png"}
    assert answer.json()["checksum_sha256"] == hashlib.sha256(content).hexdigest()
    assert (named.json()["metadata"], named.json()["mime_type"]) == ({"name": "b.png"}, "image/png")


async def test_a_wrong_form_is_refused_and_leaves_nothing(served: Served, root: Path) -> None:
    run = f"{BASE}/runs/{await start(served)}/artifacts"
    kind = "multipart/form-data; boundary=x"
    part = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nabc'
    )
    field = b'--x\r\nContent-Disposition: form-data; name="tags"\r\n\r\nabc\r\n--x--\r\n'
    bodies = {
        (part, kind): 400,
        (part + b"\r\n" + part + b"\r\n--x--\r\n", kind): 422,
        (part + b"\r\n" + field, kind): 422,
        (field, kind): 422,
        (b"--x--\r\n", kind): 422,
        (b"nonsense", kind): 400,
        (part + b"\r\n--x--\r\n", "multipart/form-data"): 400,
        (part.replace(b"form-data; name", b"form-data; " + b"y" * 20_000 + b"; name"), kind): 400,
    }

    for (body, said), status in bodies.items():
        answer = await served.client.post(run, params={"name": "a.txt"}, content=body, headers={"Content-Type": said})
        assert answer.status_code == status, (body[:200], answer.text)

    assert files(root) == []
    assert (await served.client.get(run)).json() == []


async def test_what_is_wrong_is_named(served: Served, root: Path) -> None:
    run = f"{BASE}/runs/{await start(served)}/artifacts"

    async def detail(status: int, headers: dict[str, str] | None = None, **params: str) -> Any:
        answer = await served.client.post(
            run, params=params, content=b"x", headers=TEXT if headers is None else headers
        )
        assert answer.status_code == status, answer.text
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        return answer.json()["detail"]

    assert (await detail(422))[0]["loc"] == ["query", "name"]
    assert (await detail(422, name="a/b"))[0]["loc"] == ["name"]
    assert (await detail(422, name="a", type="no type"))[0]["loc"] == ["type"]
    assert (await detail(422, name="a", colour="red"))[0]["loc"] == ["query", "colour"]
    assert await detail(415, {"Content-Type": "text/html"}, name="a") == "MIME not allowed: text/html"
    assert await detail(415, {}, name="a") == "MIME not allowed: application/octet-stream"
    assert "Content-Encoding" in await detail(400, TEXT | {"Content-Encoding": "gzip"}, name="a")
    assert (await served.client.get(run, params={"limit": 3})).status_code == 422
    assert files(root) == []


async def test_what_is_not_there_or_not_mine_is_not_found(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    bobs = await start(served, owner="bob")
    theirs = await start(served, owner="ann", tenant_id="other")
    shown = await send(served, bobs, "a.txt", b"x")

    async def ann(request: object) -> Actor:
        return ANN

    monkeypatch.setattr(routes, "caller", ann)
    for run_id in (bobs, theirs, "nobody"):
        run = f"{BASE}/runs/{run_id}/artifacts"
        asked = [
            await served.client.get(run),
            await served.client.get(f"{run}/manifest"),
            await served.client.get(f"{run}/download"),
            await served.client.post(f"{run}/verify-batch", json={"items": []}),
            await served.client.post(run, params={"name": "a"}, content=b"", headers=TEXT),
        ]
        assert [(answer.status_code, answer.json()["detail"]) for answer in asked] == [(404, "Run not found")] * 5
    for artifact_id in (shown["artifact_id"], "nobody"):
        answer = await served.client.get(f"{BASE}/artifacts/{artifact_id}/download")
        assert (answer.status_code, answer.json()["detail"]) == (404, "Artifact not found")


async def test_permissions_are_asked_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    run = f"{BASE}/runs/{await start(served, owner='eve')}/artifacts"

    async def eve(request: object) -> Actor:
        return Actor("eve", "eve")

    monkeypatch.setattr(routes, "caller", eve)
    read = await served.client.get(run)
    write = await served.client.put(run, params={"name": "a"}, content=b"", headers=TEXT)

    assert (read.status_code, read.json()["detail"]) == (403, "Permission denied: missing workflows.runs.read")
    assert (write.status_code, write.json()["detail"]) == (403, "Permission denied: missing workflows.runs.control")


async def test_reads_need_the_key_too(database_url: str, root: Path) -> None:
    async with serving(database_url, api_key="s3cret-key", workflows_artifacts_dir=root) as guarded:
        run = f"{BASE}/runs/{await start(guarded)}/artifacts"
        assert (await guarded.client.get(run)).status_code == 401
        assert (await guarded.client.post(run, content=b"")).status_code == 401
        assert (await guarded.client.get(run, headers={"X-API-Key": "s3cret-key"})).status_code == 200


async def test_a_manifest_says_what_has_changed(served: Served, root: Path) -> None:
    run_id = await start(served)
    run = f"{BASE}/runs/{run_id}/artifacts"
    assert (await served.client.get(f"{run}/manifest")).json() == {"artifacts": []}
    await send(served, run_id, "a.txt", b"good")
    await send(served, run_id, "b.txt", b"bad")
    columns = ["artifact_id", "run_id", "type", "uri", "checksum_sha256", "created_at"]
    rows = [["out", run_id, "file", "file:///etc/passwd", "0" * 64, "2999-01-01T00:00:00.000000Z"]]
    await served.inside.engine.transact(lambda tx: tx.insert_rows(workflow_artifacts, columns, rows))
    [bad] = [file for file in files(root) if file.read_bytes() == b"bad"]
    bad.write_bytes(b"worse")

    plain = (await served.client.get(f"{run}/manifest")).json()
    verified = (await served.client.get(f"{run}/manifest", params={"verify": "true"})).json()

    assert plain.keys() == {"artifacts"}
    assert "step_run_id" not in plain["artifacts"][0]
    assert [one["metadata"].get("name") for one in plain["artifacts"]] == ["a.txt", "b.txt", None]
    assert [one["integrity"] for one in verified["artifacts"]] == [
        {"ok": True},
        {"ok": False, "calculated": hashlib.sha256(b"worse").hexdigest()},
        {"ok": False, "error": "path_outside_allowed_dir"},
    ]
    assert verified["integrity_summary"] == {"mismatch_count": 2}
    assert (await served.client.get(f"{run}/manifest?verify=maybe")).status_code == 422


async def test_a_batch_is_verified_within_the_run_alone(served: Served) -> None:
    run_id, other = await start(served), await start(served)
    mine, theirs = await send(served, run_id, "a.txt", b"a"), await send(served, other, "b.txt", b"b")
    items = [{"artifact_id": mine["artifact_id"], "expected_sha256": mine["checksum_sha256"]},
             {"artifact_id": theirs["artifact_id"]}]  # fmt: skip

    answer = await served.client.post(f"{BASE}/runs/{run_id}/artifacts/verify-batch", json={"items": items})

    checksum = mine["checksum_sha256"]
    assert answer.json()["results"] == [
        {"artifact_id": mine["artifact_id"], "ok": True, "calculated": checksum, "expected": checksum,
         "recorded": checksum},
        {"artifact_id": theirs["artifact_id"], "ok": False, "calculated": None, "expected": None, "recorded": None,
         "error": "not_found"},
    ]  # fmt: skip


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "body,loc",
    [
        ([], ["body"]),
        ({}, ["body", "items"]),
        ({"items": 1}, ["body", "items"]),
        ({"items": [{"artifact_id": "x"}] * 1001}, ["body", "items"]),
        ({"items": [], "more": 1}, ["body", "more"]),
        ({"items": [1]}, ["body", "items", 0]),
        ({"items": [{}]}, ["body", "items", 0, "artifact_id"]),
        ({"items": [{"artifact_id": "x", "n": 1}]}, ["body", "items", 0, "n"]),
        ({"items": [{"artifact_id": "x", "expected_sha256": "12"}]}, ["body", "items", 0, "expected_sha256"]),
    ],
)
async def test_a_wrong_batch_is_refused_by_its_field(served: Served, body: object, loc: list[object]) -> None:
    answer = await served.client.post(f"{BASE}/runs/{await start(served)}/artifacts/verify-batch", json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == loc


async def test_an_archive_is_sent(served: Served) -> None:
    run_id = await start(served)
    none = await served.client.get(f"{BASE}/runs/{run_id}/artifacts/download")
    for name, content in (("a.txt", b"1"), ("b.txt", b"2"), ("a.txt", b"3")):
        await send(served, run_id, name, content)

    answer = await served.client.get(f"{BASE}/runs/{run_id}/artifacts/download")

    assert (none.status_code, none.json()["detail"]) == (404, "No artifacts for run")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f"attachment; filename=artifacts_{run_id}.zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a.txt": b"1", "b.txt": b"2", "a-2.txt": b"3",
        }  # fmt: skip


async def test_sizes_are_kept(database_url: str, root: Path) -> None:
    sizes: dict[str, Any] = {
        "max_body_bytes": 1024,
        "workflows_artifact_max_upload_bytes": 300_000,
        "workflows_artifact_max_download_bytes": 100_000,
        "workflows_artifact_bulk_max_bytes": 200_000,
    }
    async with serving(database_url, workflows_artifacts_dir=root, **sizes) as small:
        run_id = await start(small)
        run = f"{BASE}/runs/{run_id}/artifacts"
        shown = await send(small, run_id, "big.txt", b"x" * 300_000)
        url = f"{BASE}/artifacts/{shown['artifact_id']}/download"
        for size in (300_001, 500_000):
            over = await small.client.post(run, params={"name": "b"}, content=b"x" * size, headers=TEXT)
            assert (over.status_code, over.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
        verify = await small.client.post(f"{run}/verify-batch", content=b" " * 2000)
        whole, zipped = await small.client.get(url), await small.client.get(f"{run}/download")
        part = await small.client.get(url, headers={"Range": "bytes=0-99999"})

        assert [verify.status_code, whole.status_code, zipped.status_code, part.status_code] == [413, 413, 413, 206]
        assert len(files(root)) == 1


async def test_a_large_file_passes_in_constant_memory(served: Served, root: Path) -> None:
    run_id = await start(served)
    block = os.urandom(64 * 1024)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(1024):
            yield block

    tracemalloc.start()
    try:
        answer = await served.client.post(
            f"{BASE}/runs/{run_id}/artifacts", params={"name": "big.txt"}, content=body(), headers=TEXT
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer.json()["size_bytes"] == 64 * MIB
    assert peak < 8 * MIB


async def test_a_damaged_file_is_refused_or_only_logged(database_url: str, root: Path) -> None:
    for strict, status in ((True, 409), (False, 200)):
        given: dict[str, Any] = {"workflows_artifacts_dir": root, "workflows_artifact_validate_strict": strict}
        async with serving(database_url, **given) as running:
            content = f"strict {strict}".encode()
            shown = await send(running, await start(running), "a.txt", content)
            [file] = [file for file in files(root) if file.read_bytes() == content]
            file.write_bytes(b"damaged")
            answer = await running.client.get(f"{BASE}/artifacts/{shown['artifact_id']}/download")
            assert answer.status_code == status
            assert len(running.lines.events("artifacts.mismatch")) == (not strict)
            file.unlink()
            gone = await running.client.get(f"{BASE}/artifacts/{shown['artifact_id']}/download")
            assert (gone.status_code, gone.json()["detail"]) == (404, "File not found")


async def test_addresses_elsewhere_are_refused(served: Served) -> None:
    run_id = await start(served)
    columns = ["artifact_id", "run_id", "type", "uri", "mime_type", "created_at"]
    at = "2026-01-01T00:00:00.000000Z"
    rows = [["s3", run_id, "file", "s3://b/k", "text/plain", at], ["out", run_id, "file", "file:///etc/passwd", "", at]]
    await served.inside.engine.transact(lambda tx: tx.insert_rows(workflow_artifacts, columns, rows))

    remote = await served.client.get(f"{BASE}/artifacts/s3/download")
    outside = await served.client.get(f"{BASE}/artifacts/out/download")

    assert (remote.status_code, remote.json()["detail"]) == (400, "Only file artifacts are downloadable")
    assert (outside.status_code, outside.json()["detail"]) == (400, "Invalid artifact path scope")


async def test_debugging_says_what_is_asked_for(database_url: str, root: Path) -> None:
    given: dict[str, Any] = {"workflows_artifacts_dir": root, "workflows_artifacts_debug": True}
    async with serving(database_url, **given) as running:
        shown = await send(running, await start(running), "a.txt", b"abc")
        url = f"{BASE}/artifacts/{shown['artifact_id']}/download"
        await running.client.get(url, headers={"Range": "bytes=0-1"})

        stored, sent = running.lines.events("artifacts.debug")
        assert (stored["call"], stored["artifact_id"]) == ("stored", shown["artifact_id"])
        assert (sent["call"], sent["uri"], sent["range"]) == ("download", shown["uri"], "bytes=0-1")
