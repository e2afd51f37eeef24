"""Windlass through HTTP, and what its intake is measured against: servers of ``served`` under ``load``.

A server is a process of its own, as in production: its log lines go to a file, its database is on disk.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from benchmarks import bare, load
from benchmarks.contender import Options, Outcome, Shape, main
from benchmarks.samples import bodies

FORKS = "BENCH_FORKS"
"""The variable that lets servers be forks of the process that measures them."""
READY = "works now"
"""What a worker says once it is at work."""
_STARTUP = 60.0
_WARM = 200


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass(frozen=True)
class Process:
    """A process of ``served``: whether it has ended, and how it is killed on the spot."""

    ended: Callable[[], bool]
    kill: Callable[[], None]


@contextmanager
def server(
    app: str, database: str, options: Options, settings: Mapping[str, object] = MappingProxyType({})
) -> Iterator[int]:
    """Serve an application, with settings beside its database, and yield its port once it answers."""
    port = _free_port()
    arguments = [app, "--database", database, "--port", str(port), "--settings", json.dumps(dict(settings))]
    for name in ("style", "pool"):
        if name in options.settings:
            arguments += [f"--{name}", options.settings[name]]
    path = options.folder / f"{app}-{port}.log"
    with process(arguments, path) as running:
        deadline = time.monotonic() + _STARTUP
        while not _answers(port):
            if running.ended() or time.monotonic() > deadline:
                raise RuntimeError(f"{app} does not serve:\n{path.read_text()[-3000:]}")
            time.sleep(0.05)
        yield port


@contextmanager
def process(arguments: Sequence[str], path: Path) -> Iterator[Process]:
    """Run a process of ``served``, which writes its log to a path; in a quick run it is a fork, which loads nothing."""
    if FORKS in os.environ:
        forked = multiprocessing.get_context("fork").Process(target=_forked, args=(arguments, path))
        forked.start()
        try:
            yield Process(lambda: forked.exitcode is not None, forked.kill)
        finally:
            forked.terminate()
            forked.join(30)
        return
    command = [sys.executable, "-m", "benchmarks.served", *arguments]
    with path.open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as started:
        try:
            yield Process(lambda: started.poll() is not None, started.kill)
        finally:
            started.terminate()
            started.wait(30)


def _forked(arguments: Sequence[str], path: Path) -> None:
    served = import_module("benchmarks.served")  # it loads the product, which whoever only asks does not need
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    served.main(arguments)


def _answers(port: int) -> bool:
    try:
        load.fetch(port, "/health", method="GET")
    except OSError:
        return False
    return True


def asked(port: int, requests: Sequence[bytes], connections: int, status: str) -> load.Report:
    """Send a load and return its report; every answer must have the status."""
    report = load.run(port, requests, connections)
    if set(report.statuses) != {status}:
        raise RuntimeError(f"not every answer was {status}: {report.statuses}")
    return report


def seen(report: load.Report) -> dict[str, object]:
    """Return what goes into an outcome's detail."""
    return {"p50_ms": report.p50_ms, "p99_ms": report.p99_ms, "client_busy": report.busy}


def run_flow(port: int, flow: str, argument: int, runs: int, connections: int) -> load.Report:
    """Start runs through the server and wait for their results."""
    request = load.request_bytes(port, f"/bench/{flow}", str(argument).encode())
    return asked(port, [request] * runs, connections, "200")


def _ten_steps(options: Options) -> Outcome:
    """Steps per second of 10-step workflows."""
    with server("windlass", options.database, options) as port:
        run_flow(port, "chain", 10, min(options.size, _WARM), options.at_a_time)
        report = run_flow(port, "chain", 10, options.size, options.at_a_time)
        return Outcome(report.per_second * 10, seen(report))


def _one_step(options: Options) -> Outcome:
    """Workflows per second, of one step each."""
    with server("windlass", options.database, options) as port:
        run_flow(port, "chain", 1, min(options.size, _WARM), options.at_a_time)
        report = run_flow(port, "chain", 1, options.size, options.at_a_time)
        return Outcome(report.per_second, seen(report))


def _idle(options: Options) -> Outcome:
    """Median milliseconds from request to result of a 1-step workflow, one at a time."""
    with server("windlass", options.database, options) as port:
        run_flow(port, "chain", 1, 5, 1)
        report = run_flow(port, "chain", 1, options.size, 1)
        return Outcome(report.p50_ms, seen(report))


def _children(options: Options) -> Outcome:
    """Seconds for one parent with ``size`` children."""
    with server("windlass", options.database, options) as port:
        run_flow(port, "parent", 10, 2, 1)
        report = run_flow(port, "parent", options.size, 1, 1)
        return Outcome(1 / report.per_second, seen(report))


def post_records(port: int, path: str, count: int, connections: int) -> load.Report:
    """Post records one by one."""
    requests = [load.request_bytes(port, path, body) for body in bodies(count)]
    return asked(port, requests, connections, "201")


def _posts(app: str, path: str) -> Callable[[Options], Outcome]:
    def measure(options: Options) -> Outcome:
        if app == "session":
            bare.make_tables(options.database)
        with server(app, options.database, options) as port:
            post_records(port, path, min(options.size, _WARM), options.at_a_time)
            report = post_records(port, path, options.size, options.at_a_time)
            return Outcome(report.per_second, {**options.settings, **seen(report)})

    return measure


def _bulk(options: Options) -> Outcome:
    """Records per second in one request to ``POST /records/bulk``."""
    with server("windlass", options.database, options) as port:
        lines = b"\n".join(bodies(options.size))
        start = time.perf_counter()
        status, answer = load.fetch(port, "/records/bulk?results=failed", lines, kind="application/x-ndjson")
        seconds = time.perf_counter() - start
        if status != "200" or json.loads(answer)["created"] != options.size:
            raise RuntimeError(f"the import was answered {status} {answer[:500]!r}")
        return Outcome(options.size / seconds)


SHAPES: dict[str, Shape] = {
    "ten-steps": _ten_steps,
    "one-step": _one_step,
    "idle": _idle,
    "children": _children,
    "post-record": _posts("windlass", "/records"),
    "post-nothing": _posts("windlass", "/bench/nothing"),
    "post-session": _posts("session", "/records"),
    "bulk": _bulk,
}

if __name__ == "__main__":
    main(SHAPES)
