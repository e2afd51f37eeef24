"""Artifacts against real processes: the commands, and a server that is killed while files come in."""

import asyncio
import hashlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.commands import Windlass, started
from tests.support.service import Service, running_service
from tests.support.waiting import wait_until

MIB = 1024 * 1024
FLOWS = '''
"""A workflow that waits."""

from windlass import signal, workflow


@workflow(name="patient")
async def patient() -> None:
    await signal("go")
'''
MIME = {"WORKFLOWS_ARTIFACT_ALLOWED_MIME": "*/*"}


@pytest.fixture(params=["migrated_sqlite_url", "migrated_pg_dsn"], ids=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database of each kind."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flows.py").write_text(FLOWS)
    return tmp_path


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, **MIME}


@pytest.fixture
def service(folder: Path, environment: dict[str, str]) -> Iterator[Service]:
    with running_service(folder, "--app", "flows", environment=environment) as running:
        yield running


def files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "Databases" / "artifacts").rglob("*") if path.is_file())


def listed(service: Service, run_id: str) -> Any:
    return httpx2.get(f"{service.url}/api/v1/workflows/runs/{run_id}/artifacts").raise_for_status().json()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("remote", [True, False], ids=["server", "database"])
def test_the_commands_store_list_fetch_and_verify(folder: Path, migrated_sqlite_url: str, remote: bool) -> None:
    environment = {"DATABASE_URL": migrated_sqlite_url, **MIME}
    run_id = asyncio.run(started(migrated_sqlite_url, "patient"))
    content = os.urandom(9 * MIB)
    (folder / "data.bin").write_bytes(content)
    with running_service(folder, "--app", "flows", environment=environment) as service:
        windlass = Windlass(folder, environment, ("--url", service.url) if remote else ())

        stored = windlass("artifacts", "put", run_id, "data.bin", "--type", "report", "--json").json
        windlass("artifacts", "put", run_id, "-", "--name", "in.txt", stdin=b"from stdin")
        rows = windlass("artifacts", "list", run_id, "--json").json

        assert [(row["metadata"]["name"], row["type"]) for row in rows] == [("data.bin", "report"), ("in.txt", "file")]
        windlass("artifacts", "get", stored["artifact_id"], "-o", "copy.bin")
        assert (folder / "copy.bin").read_bytes() == content
        refused = windlass("artifacts", "get", stored["artifact_id"], code=2)
        assert "data.bin is there already" in refused.err
        assert windlass("artifacts", "get", rows[1]["artifact_id"], "-o", "-").out == "from stdin"
        windlass("artifacts", "list", "nobody", code=3)

        [file] = [file for file in files(folder) if file.read_bytes() == content]
        file.write_bytes(b"damaged")
        found = windlass("artifacts", "verify", run_id, code=1)
        assert "1 of 2 files are not what was stored" in found.err
        assert [line.split()[1:] for line in found.out.splitlines()[1:]] == [["data.bin", "mismatch"], ["in.txt", "ok"]]


@pytest.mark.timeout(300)
def test_old_artifacts_are_removed_by_command(service: Service, folder: Path, environment: dict[str, str]) -> None:
    run_id = asyncio.run(started(environment["DATABASE_URL"], "patient"))
    (folder / "a.txt").write_bytes(b"a")
    windlass = Windlass(folder, {**environment, "WORKFLOWS_ARTIFACT_RETENTION_DAYS": "0"})
    windlass("artifacts", "put", run_id, "a.txt")

    kept = windlass("artifacts", "gc", "--json").json
    httpx2.post(f"{service.url}/runs/{run_id}/cancel").raise_for_status()
    wait_until(lambda: httpx2.get(f"{service.url}/runs/{run_id}").json()["status"] == "cancelled")
    gone = windlass("artifacts", "gc", "--json").json

    assert (kept["artifacts"], kept["kept"]) == (0, 1)
    assert (gone["artifacts"], gone["objects"]) == (1, 1)
    assert files(folder) == []


@pytest.mark.timeout(300)
def test_a_server_killed_while_files_come_in_leaves_whole_ones_or_nothing(
    folder: Path, environment: dict[str, str], database_url: str
) -> None:
    content = {f"{number}.bin": os.urandom(700_000 + number) for number in range(6)}
    acknowledged: dict[str, str] = {}
    run_id = ""
    for turn in range(2):
        with running_service(folder, "--app", "flows", environment=environment) as service:
            run_id = run_id or asyncio.run(started(database_url, "patient"))
            half = _send_half(service, run_id, os.urandom(MIB))
            for name in list(content)[turn:]:
                said = _put(service, run_id, f"{turn}-{name}", content[name])
                acknowledged[f"{turn}-{name}"] = said["checksum_sha256"]
                if name == f"{turn + 1}.bin":
                    break
            open_uploads = [_send_half(service, run_id, os.urandom(MIB)) for _ in range(3)]
            service.process.send(signal.SIGKILL)
            service.process.wait_ended()
            for one in (half, *open_uploads):
                one.close()

    with running_service(folder, "--app", "flows", environment=environment) as service:
        rows = {row["metadata"]["name"]: row for row in listed(service, run_id)}
        assert rows.keys() == acknowledged.keys()
        for name, checksum in acknowledged.items():
            assert (
                checksum == hashlib.sha256(content[name.partition("-")[2]]).hexdigest() == rows[name]["checksum_sha256"]
            )
        manifest = httpx2.get(
            f"{service.url}/api/v1/workflows/runs/{run_id}/artifacts/manifest", params={"verify": "true"}
        ).json()
        assert manifest["integrity_summary"] == {"mismatch_count": 0}
        left = [path for path in files(folder) if path.parent.name == "incoming"]
        assert left
        whole = {row["checksum_sha256"] for row in rows.values()}
        assert {path.name[:64] for path in files(folder) if path not in left} == whole
        for path in left:
            os.utime(path, (1, 1))
        Windlass(folder, environment)("artifacts", "gc")
        assert {path.name[:64] for path in files(folder)} == whole


def _put(service: Service, run_id: str, name: str, content: bytes) -> Any:
    answer = httpx2.put(
        f"{service.url}/api/v1/workflows/runs/{run_id}/artifacts",
        params={"name": name},
        content=content,
        headers={"Content-Type": "application/x-test"},
    )
    return answer.raise_for_status().json()


def _send_half(service: Service, run_id: str, content: bytes) -> socket.socket:
    """Begin an upload and leave it in the middle, once the server has taken some of it."""
    place = urlsplit(service.url)
    before = len(files(service.folder))
    connection = socket.create_connection((str(place.hostname), int(place.port or 0)))
    path = f"/api/v1/workflows/runs/{run_id}/artifacts?name=half"
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content) * 2}\r\nContent-Type: text/plain\r\n\r\n"
    connection.sendall(head.encode() + content)
    wait_until(lambda: len(files(service.folder)) > before)
    return connection
