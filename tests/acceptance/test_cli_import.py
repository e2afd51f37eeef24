"""An import that breaks off, at either end, is finished without storing anything twice."""

import json
import signal
from pathlib import Path

import httpx2

from tests.support.commands import Windlass
from tests.support.ports import free_port
from tests.support.service import running_service
from tests.support.waiting import wait_until

RECORDS = 12_000
HALF = RECORDS // 2


def lines(first: int, last: int) -> bytes:
    """Records with the numbers from `first` up to `last`."""
    line = b'{"source":"test","category":"c","payload":{"n":%d}}\n'
    return b"".join(line % number for number in range(first, last))


def stored(url: str) -> int:
    """How many records the server has."""
    total: int = httpx2.get(f"{url}/reports/summary", timeout=30).json()["totals"]["all"]
    return total


def each_is_there_once(windlass: Windlass) -> bool:
    """Whether the numbers come out as they went in."""
    exported = windlass("records", "export").out.splitlines()
    return [json.loads(line)["payload"]["n"] for line in exported] == list(range(RECORDS))


def test_an_import_that_is_killed_is_finished_by_repeating_it(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        windlass = Windlass(tmp_path, {}, ("--url", service.url))
        with windlass.running("records", "import", "-") as broken:
            broken.feed(lines(0, HALF), last=False)
            wait_until(lambda: stored(service.url), 60, "the first records")

        repeated = windlass("records", "import", "-", "--json", stdin=lines(0, RECORDS)).json

        assert repeated["accepted"] == RECORDS
        assert 0 < repeated["already_there"] <= HALF
        assert each_is_there_once(windlass)


def test_an_import_stops_at_once_when_it_is_interrupted(tmp_path: Path) -> None:
    windlass = Windlass(tmp_path, {})
    with windlass.running("records", "import", "-", "--patience", "0") as importing:
        importing.feed(lines(0, HALF) + b"nonsense\n" * 2000, last=False)
        importing.says("line 6001: invalid JSON")

        assert importing.stop(signal.SIGINT) == 130
    assert importing.err.endswith("stopped; the same command goes on where this one was\n")
    assert importing.out == ""


def test_an_import_outlives_its_server(tmp_path: Path) -> None:
    port = ("--port", str(free_port()))
    windlass = Windlass(tmp_path, {}, ("--url", f"http://127.0.0.1:{port[1]}"))
    server = Windlass(tmp_path, {})
    with windlass.running("records", "import", "-", "--json") as importing:
        with server.running("up", *port) as first:
            first.says("Windlass is up")
            importing.feed(lines(0, HALF), last=False)
            wait_until(lambda: stored(windlass.options[1]), 60, "the first records")
            first.stop(signal.SIGKILL)
        importing.feed(lines(HALF, RECORDS), last=True)
        importing.says("waiting, then sending line")
        with server.running("up", *port) as second:
            second.says("Windlass is up")
            assert importing.wait() == 0, importing.err + second.out + second.err
            assert json.loads(importing.out)["accepted"] == RECORDS
            assert each_is_there_once(windlass)
