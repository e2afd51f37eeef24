"""Log lines: whole, in order, rotated, whoever writes them."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from tests.support.apps import Lines
from windlass.http.logs import REQUEST_ID, Log, RotatedFile, Sink


@pytest.fixture
def installed() -> Iterator[Lines]:
    """A log installed for the whole process, taken out afterwards."""
    handlers, level = logging.root.handlers, logging.root.level
    lines = Lines()
    Log(lines).install()
    yield lines
    logging.root.handlers, logging.root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_lines_of_every_logger_have_one_form(installed: Lines) -> None:
    token = REQUEST_ID.set("r7")
    try:
        structlog.get_logger().info("from structlog", answer=42)
        logging.getLogger("library").warning("from %s", "a library")
        try:
            raise ValueError("oh\nno")
        except ValueError:
            logging.getLogger("library").exception("it failed")
        logging.getLogger("library").debug("unheard")
        logging.getLogger("uvicorn.access").info("unheard")
    finally:
        REQUEST_ID.reset(token)

    first, second, third = installed.events()
    assert [list(line)[:4] for line in (first, second, third)] == [["event", "level", "timestamp", "request_id"]] * 3
    assert {line["request_id"] for line in (first, second, third)} == {"r7"}
    assert (first["event"], first["level"], first["answer"]) == ("from structlog", "info", 42)
    assert (second["event"], second["level"], second["logger"]) == ("from a library", "warning", "library")
    assert third["level"] == "error"
    assert "ValueError: oh\nno" in third["exception"]
    assert all(line.count(b"\n") == 1 for line in installed.raw)


def test_the_file_is_rotated(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "logs" / "app.log", size=100, backups=2)

    for number in range(40):
        file.write(b"%02d %s\n" % (number, b"x" * 26))
    file.close()

    files = {path.name: path.read_text().splitlines() for path in (tmp_path / "logs").iterdir()}
    assert set(files) == {"app.log", "app.log.1", "app.log.2", "app.log.lock"}
    kept = [line[:2] for name in ("app.log.2", "app.log.1", "app.log") for line in files[name]]
    assert kept == [f"{number:02d}" for number in range(40 - len(kept), 40)]
    assert all(len(lines) == 3 for name, lines in files.items() if name.startswith("app.log."[:8]) and name[-1] in "12")


def test_without_backups_the_file_begins_anew(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "app.log", size=50, backups=0)
    for _ in range(10):
        file.write(b"x" * 29 + b"\n")
    file.close()

    assert (tmp_path / "app.log").stat().st_size == 30


def test_processes_share_a_file_without_losing_or_mixing_lines(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom windlass.http.logs import RotatedFile\n"
        "file = RotatedFile(Path(sys.argv[1]), 20_000, 50)\n"
        "for n in range(1000): file.write(b'%s %d %s\\n' % (sys.argv[2].encode(), n, b'.' * 50))\n"
    )
    path = tmp_path / "app.log"
    processes = [subprocess.Popen([sys.executable, "-c", script, path, name]) for name in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]

    lines = [line for file in tmp_path.glob("app.log*") for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name} {n} {'.' * 50}" for name in "abc" for n in range(1000))


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    sink = Sink(stream=None, file=RotatedFile(tmp_path / "app.log", 10_000_000, 1))
    log = Log(sink)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: log.request("request.end", f"r{n}", n=n), range(500)))
    log.close()

    read = [json.loads(line) for line in (tmp_path / "app.log").read_text().splitlines()]
    assert sorted(line["n"] for line in read) == list(range(500))


def test_a_full_disk_does_not_stop_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        Log(Sink(stream=full)).request("request.end", "r1")
    finally:
        os.close(full)

    assert "a log line was lost" in capsys.readouterr().err
