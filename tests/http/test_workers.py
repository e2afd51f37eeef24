"""Several workers of one server: as the seed starts them, with metrics that are right whichever answers."""

import json
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.support.service import running_asgi
from tests.support.waiting import wait_until
from tests.support.warmth import warm

BODY = {"source": "api", "category": "test", "payload": {"priority": 1}}
SAMPLE = re.compile(
    r'^windlass_http_requests_total\{method="POST",route="/records",status="201"\} (\S+)$', re.MULTILINE
)


@pytest.fixture(params=["sqlite", "postgres"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Settings with a database of each kind."""
    log = {"LOG_FILE": str(tmp_path / "logs" / "app.log")}
    if request.param == "sqlite":
        return log
    return log | {"DATABASE_URL": request.getfixturevalue("pg_dsn"), "AUTO_MIGRATE": "true"}


def test_four_workers_are_one_service(tmp_path: Path, environment: dict[str, str]) -> None:
    with running_asgi(tmp_path, "--workers", "4", environment=environment) as service:

        def work(number: int) -> tuple[int, str]:
            with httpx2.Client(base_url=service.url, timeout=60) as client:
                made = client.post("/records", json=BODY, headers={"X-Request-ID": f"request-{number}"}).json()
                done = client.post(f"/records/{made['id']}/process")
                return done.status_code, done.json()["status"]

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(work, range(60)))
        pages = [httpx2.get(f"{service.url}/metrics").text for _ in range(8)]
        total = httpx2.get(f"{service.url}/records?limit=1").json()["total"]

    assert answers == [(200, "processed")] * 60
    assert {float(match[1]) for page in pages if (match := SAMPLE.search(page))} == {60.0}
    assert all('windlass_records{status="processed"} 60.0' in page for page in pages)
    for page in pages:
        described = re.findall(r"^# (?:HELP|TYPE) \S+", page, re.MULTILINE)
        assert sorted(described) == sorted(set(described))
        assert "pid=" not in page
    assert total == 60
    lines = [json.loads(line) for line in Path(environment["LOG_FILE"]).read_text().splitlines()]
    ended = [line["request_id"] for line in lines if line["event"] == "request.end"]
    assert sorted(request_id for request_id in ended if request_id.startswith("request-")) == sorted(
        f"request-{number}" for number in range(60)
    )
    assert len({line["event"] for line in lines if line["event"].startswith("Started server process")}) == 4


def test_gunicorn_serves_with_a_uvicorn_worker(tmp_path: Path) -> None:
    with running_asgi(tmp_path, "--workers", "2", server="gunicorn") as service:
        log_file = tmp_path / "service.log"
        wait_until(lambda: log_file.read_text().count('"event":"started"') == 2, what="both workers")
        made = [httpx2.post(f"{service.url}/records", json=BODY).json() for _ in range(8)]
        done = [httpx2.post(f"{service.url}/records/{record['id']}/process", timeout=60).json() for record in made]
        pages = [httpx2.get(f"{service.url}/metrics").text for _ in range(4)]
        log = log_file.read_text()

    assert {record["status"] for record in done} == {"processed"}
    assert {float(match[1]) for page in pages if (match := SAMPLE.search(page))} == {8.0}
    events = [json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")]
    assert events.count("started") == 2
    assert "request.end" in events
    assert "Traceback" not in log


def test_standard_output_is_one_object_a_line(tmp_path: Path) -> None:
    with running_asgi(tmp_path) as service:
        httpx2.get(f"{service.url}/records")
        httpx2.get(f"{service.url}/nowhere")
        log = tmp_path / "service.log"
        wait_until(lambda: '"path":"/nowhere","status_code":404' in log.read_text(), what="the log line")

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"event", "level", "timestamp", "request_id"} <= set(line) for line in lines)


def test_what_is_no_http_is_answered_as_the_reference_says(tmp_path: Path) -> None:
    with running_asgi(tmp_path) as service:
        port = int(service.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as raw, raw.makefile("rb") as answers:
            raw.sendall(b"nonsense\r\n\r\n")
            head, _, body = answers.read().partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: text/plain" in head
    assert b"x-request-id" not in head.lower()
    assert body == b"Invalid HTTP request received."


def test_a_wrong_setting_stops_the_start_by_its_name(tmp_path: Path) -> None:
    for name, value, allowed in (
        ("PORT", "many", "an integer from 0 to 65535"),
        ("APP_ENV", "live", "dev, staging, prod"),
        ("LOG_FILE", ".", "cannot be written: Is a directory"),
    ):
        code, _, err = warm().run(["uvicorn", "windlass.http.app:app"], tmp_path, {**os.environ, name: value})

        assert code != 0
        assert f"{name}: " in err
        assert allowed in err
        assert "Traceback" not in err
