"""The whole example in one command: convert an index, import it through a server, process it, print the report.

    python -m examples.debian.run Packages.xz
    python -m examples.debian.run Packages.xz --kill

With `--kill` the server is killed with SIGKILL once in the middle of the import and once in the middle of processing,
and started again each time; nothing else is done about it. At the end every record is compared with its entry. The
exit code is 0 when each entry is there once and was processed once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from examples.debian import convert
from examples.debian.packages import UNREADABLE

ROOT = Path(__file__).resolve().parents[2]
WINDLASS = Path(sys.executable).with_name("windlass")
START_SECONDS = 60.0


class Server:
    """`windlass up` with the example's processor, on a port of its own.

    Args:
        folder: where it works.
        database: the address of its database; a new SQLite file in the folder when left out.
    """

    def __init__(self, folder: Path, database: str | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.environment = {
            **os.environ,
            "DATABASE_URL": database or f"sqlite:///{folder / 'debian.db'}",
            "AUTO_MIGRATE": "true",
            "PYTHONPATH": str(ROOT),
        }
        self._http = httpx2.Client(base_url=self.url, timeout=30)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return when it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [WINDLASS, "up", "--port", str(self.port), "--app", "examples.debian.app"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start; see {self.folder / 'server.log'}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it on the spot."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a `windlass` command against it."""
        return subprocess.Popen(
            [WINDLASS, *arguments, "--url", self.url],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def summary(self) -> dict[str, Any]:
        """Return the report."""
        found: dict[str, Any] = self._http.get("/reports/summary").raise_for_status().json()
        return found

    def _answers(self) -> bool:
        try:
            return self._http.get("/health").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    """Print how long something took."""
    begun = time.monotonic()
    yield
    seconds = time.monotonic() - begun
    print(f"{what:<12}{count:>8,} records in {seconds:6.1f} s{count / seconds:>10,.0f}/s", flush=True)


def interrupt(server: Server, reached: Callable[[dict[str, int]], bool]) -> None:
    """Kill the server as soon as its totals say so, and start it again."""
    while not reached(totals := server.summary()["totals"]):
        time.sleep(0.05)
    server.kill()
    print(
        f"{'kill -9':<12}{totals['all']:>8,} stored, {totals['processed'] + totals['failed']:,} processed", flush=True
    )
    server.start()


def ended(command: subprocess.Popen[str]) -> str:
    """Return what a command printed.

    Raises:
        RuntimeError: it failed.
    """
    printed, _ = command.communicate()
    if command.returncode:
        raise RuntimeError(f"{command.args!r} ended with {command.returncode}")
    return printed


def read_lines(text: str) -> list[dict[str, Any]]:
    """Return the objects of an NDJSON text."""
    return [json.loads(line) for line in text.split("\n") if line]


def do_the_job(server: Server, file: Path, count: int, *, kill: bool) -> None:
    """Import and process a file of records."""
    server.start()
    with timed("import", count):
        importing = server.command("records", "import", str(file), "--json")
        if kill:
            interrupt(server, lambda totals: totals["all"] >= count // 3)
        ended(importing)
    with timed("process", count):
        run = ended(server.command("records", "process", "--no-wait", "--json"))
        if kill:
            interrupt(server, lambda totals: totals["processed"] + totals["failed"] >= count // 3)
        ended(server.command("runs", "wait", json.loads(run)["run_id"]))


def faults(entries: list[dict[str, Any]], records: list[dict[str, Any]], summary: dict[str, Any]) -> list[str]:
    """Compare what was to be stored with the records, and the report with them; return what does not fit."""
    found = []
    if Counter(map(_said, records)) != Counter(map(_said, entries)):
        found.append("the records are not the entries of the index, each once")
    if len({record["id"] for record in records}) != len(records):
        found.append("an id is there twice")
    if {record["attempts"] for record in records} != {1}:
        found.append("a record was not processed exactly once")
    statuses = Counter(record["status"] for record in records)
    wanted = {"all": len(records), "pending": 0, "processed": statuses["processed"], "failed": statuses["failed"]}
    if summary["totals"] != wanted:
        found.append(f"the report says {summary['totals']}, the records {wanted}")
    reasons = Counter(record["error"] for record in records if record["status"] == "failed")
    if {row["reason"]: row["count"] for row in summary["failure_reasons"]} != reasons:
        found.append("the reasons in the report are not those of the records")
    if sum(row["count"] for row in summary["by_category"]) != len(records):
        found.append("the categories do not add up")
    return found


def _said(record: dict[str, Any]) -> str:
    return json.dumps([record["category"], record["payload"]], sort_keys=True)


def tell(summary: dict[str, Any]) -> None:
    """Print the report."""
    totals = summary["totals"]
    print(f"\n{totals['processed']:,} processed, {totals['failed']:,} failed ({totals['failed'] / totals['all']:.1%}):")
    for row in summary["failure_reasons"]:
        print(f"{row['count']:>8,}  {row['reason']}")


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(description="Convert, import, process and report on a Debian package index.")
    parser.add_argument("index", type=Path, help="a Packages file: plain, gz, xz or lz4")
    parser.add_argument("--kill", action="store_true", help="kill the server twice while it works")
    parser.add_argument("--database", metavar="URL", help="an empty database; a new SQLite file when left out")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="windlass-debian-") as name:
        folder = Path(name)
        file = folder / "debian.ndjson"
        if convert.main([str(options.index), "--output", str(file)]):
            return 1
        entries = read_lines(file.read_text(encoding="utf-8"))
        server = Server(folder, options.database)
        try:
            do_the_job(server, file, len(entries), kill=options.kill)
            summary = server.summary()
            tell(summary)
            found = faults(entries, read_lines(ended(server.command("records", "export"))), summary)
        except (*UNREADABLE, httpx2.HTTPError) as error:
            found = [str(error)]
        finally:
            server.stop()
    print(
        "\n" + ("\n".join(found) if found else "every entry is there once and was processed once; the report adds up")
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
