"""The processes that stay: what they say, how they are told, how they end."""

import asyncio
import json
import signal
import socket
from pathlib import Path

import httpx2
import pytest

from tests.support.commands import Windlass
from tests.support.commands import started as run_started
from tests.support.databases import migrate
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

OWN = '''
"""A processor of the user's."""

from windlass.contexts.records.api import processor


@processor("own")
def judge(payload: dict) -> dict:
    return {"classification": "mine"}
'''


STUCK = '''
"""A step that never returns."""

import threading
from pathlib import Path

from windlass import step, workflow


@step
def hang():
    Path("begun").touch()
    threading.Event().wait()


@workflow(name="stuck")
async def stuck():
    await hang()
'''


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_says_where_to_look_and_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "own.py").write_text(OWN)
    windlass = Windlass(tmp_path, {"EMBED_WORKER": "false", "LOG_FILE": "logs/app.log"})
    with windlass.running("up", "--port", "0", "--app", "own") as server:
        server.says("Windlass is up")
        [url] = [line.split()[2] for line in server.err.splitlines() if line.startswith("Start page")]

        body = {"source": "s", "category": "own", "payload": {}}
        record = httpx2.post(f"{url}records", json=body).json()
        processed = httpx2.post(f"{url}records/{record['id']}/process", timeout=30).json()
        assert (processed["status"], processed["classification"]) == ("processed", "mine")

        assert server.stop(number) == 0

    assert "curl -X POST" in server.err
    events = [json.loads(line)["event"] for line in server.out.splitlines()]
    assert {"started", "request.end", "stopping"} <= set(events)
    assert (tmp_path / "logs" / "app.log").exists()


def test_the_provider_service_is_served_alone(tmp_path: Path) -> None:
    port = free_port()
    windlass = Windlass(tmp_path, {"APP_PORT": str(port), "APP_HOST": "127.0.0.1", "ENVIRONMENT": "development"})
    with windlass.running("serve", "providers") as server:
        server.says("Windlass is up")
        [url] = [line.split()[1] for line in server.err.splitlines() if line.startswith("Candidates")]
        assert url == f"http://localhost:{port}/candidates"
        assert "Login       admin@example.com / admin123, an administrator in development alone" in server.err
        assert f"curl -X POST {url}" in server.err
        body = json.loads(server.err.rpartition("-d '")[2].rpartition("'")[0])
        made = httpx2.post(url, json=body, timeout=30)
        assert (made.status_code, made.json()["status"]) == (httpx2.codes.CREATED, "pending")
        health = httpx2.get(f"http://localhost:{port}/health", timeout=30).json()
        assert (health["service"], health["database"]) == ("provider-registration-service", "connected")
        assert httpx2.get(f"http://localhost:{port}/records", timeout=30).status_code == httpx2.codes.NOT_FOUND

        assert server.stop() == 0

    events = {event["event"]: event for event in map(json.loads, server.out.splitlines())}
    assert events["identity.development_login"]["username"] == "admin@example.com"
    assert events["started"]["worker"] is True
    done = windlass("serve", "records", code=2)
    assert "'records' is not" in done.err


def test_a_worker_shows_its_figures_where_it_is_asked_to(tmp_path: Path) -> None:
    windlass, port = Windlass(tmp_path, {}), free_port()
    address, database = f"http://127.0.0.1:{port}", f"sqlite:///{tmp_path / 'workflow.db'}"
    with windlass.running("worker", "--metrics-port", str(port)) as worker:
        worker.says("Windlass works on")
        assert f"Figures are at {address}/metrics" in worker.err
        asyncio.run(run_started(database, "webhooks.redeliver", dlq_id=1, source="nobody"))

        def figures() -> str:
            return httpx2.get(f"{address}/metrics", timeout=30).text

        ended = 'windlass_runs_ended_total{status="succeeded",workflow="webhooks.redeliver"} 1.0'
        wait_until(lambda: ended in figures(), 60, ended)
        assert 'windlass_build_info{version="' in figures()
        ready = httpx2.get(f"{address}/readyz", timeout=30)
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert httpx2.get(f"{address}/healthz", timeout=30).json()["status"] == "ok"
        assert httpx2.get(f"{address}/records", timeout=30).status_code == httpx2.codes.NOT_FOUND
        taken = windlass("worker", "--metrics-port", str(port), code=5)
        assert "choose another with --metrics-port" in taken.err

        assert worker.stop() == 0


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_process_ends_although_its_database_is_away(tmp_path: Path, private_pg: PostgresServer, command: str) -> None:
    migrate(private_pg.dsn)
    windlass = Windlass(tmp_path, {"DATABASE_URL": private_pg.dsn})
    with windlass.running(command, *(["--port", "0"] if command == "serve" else [])) as server:
        server.says('"event":"started"' if command == "worker" else "Windlass is up")
        private_pg.crash()

        server.stop()

    assert "lease.not_ended" in server.out


def test_several_processes_serve_one_port_and_end_together(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})
    port = free_port()
    with windlass.running("serve", "--port", str(port), "--workers", "2", "--no-worker") as server:
        server.says("Windlass is up")
        assert "Runs are left to `windlass worker`." in server.err
        pids = wait_until(lambda: sorted(set(started(server.out))), 60, "both processes")
        wait_until(lambda: len(set(started(server.out))) == 2, 60, f"two processes, not {pids}")
        assert httpx2.get(f"http://127.0.0.1:{port}/health", timeout=30).status_code == httpx2.codes.OK

        assert server.stop() == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    "command,word",
    [
        (("up", "--port", "0"), "Windlass is up"),
        (("serve", "--port", "0", "--workers", "2"), "Windlass is up"),
        (("worker",), "Windlass works on"),
    ],
)
def test_a_step_that_never_returns_does_not_keep_its_process(
    tmp_path: Path, command: tuple[str, ...], word: str
) -> None:
    (tmp_path / "own.py").write_text(STUCK)
    address = f"sqlite:///{tmp_path / 'windlass.db'}"
    with Windlass(tmp_path, {"DATABASE_URL": address}).running(*command, "--app", "own") as server:
        server.says(word)
        asyncio.run(run_started(address, "stuck"))
        wait_until((tmp_path / "begun").exists, 60, "the step to begin")

        assert server.stop() == 0


def started(log: str) -> list[str]:
    """The processes that say in the log that they have started."""
    events = [json.loads(line)["event"] for line in log.splitlines() if line.endswith("}")]
    return [event for event in events if event.startswith("Started server process")]


@pytest.mark.parametrize(
    "settings,arguments,code,complaint",
    [
        ({"WORKER_CONCURRENCY": "0"}, ("up",), 2, "WORKER_CONCURRENCY: Input should be greater than or equal to 1"),
        ({}, ("serve", "--app", "no_such_module"), 2, "module 'no_such_module' cannot be imported"),
        ({"DATABASE_URL": "postgresql://x:y@127.0.0.1:9/z"}, ("worker",), 5, "cannot be reached"),
        ({"AUTO_MIGRATE": "false"}, ("serve",), 2, "is empty, this version needs"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(
    tmp_path: Path, settings: dict[str, str], arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    done = Windlass(tmp_path, settings)(*arguments, code=code)

    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert complaint in done.err


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = Windlass(tmp_path, {})("serve", "--port", str(port), code=5)

    assert done.err == (
        f"windlass: cannot listen on 127.0.0.1:{port}: Address already in use"
        " (choose another with --port; --port 0 takes a free one)\n"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a..b", "::zz"])
def test_a_host_that_is_none_of_this_machine_is_said(tmp_path: Path, host: str) -> None:
    done = Windlass(tmp_path, {"HOST": host})("serve", "--port", "0", code=2)

    assert done.err.startswith(f"windlass: HOST: cannot listen on {host}: ")
    assert "--host takes an address of this machine" in done.err
    assert "--port" not in done.err


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("serve", "--port", "0", "--workers", "2"), ("worker",)])
def test_a_log_file_that_cannot_be_written_is_said(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    for path, reason in ((".", f"Is a directory: {tmp_path}"), ("file/app.log", f"File exists: {tmp_path / 'file'}")):
        done = Windlass(tmp_path, {"LOG_FILE": path})(*command, code=2)

        assert done.err.splitlines()[-1] == f"windlass: LOG_FILE: {path} cannot be written: {reason}"
