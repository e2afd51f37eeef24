"""Workflows written as documents: in process beside the same in Python, and through HTTP with their events.

What bounds the runs of one tenant in production is set out of the way: the engine is measured, not its limits.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import load
from benchmarks.contender import Options, Outcome, Shape, main, p50_ms
from benchmarks.ours_http import asked, seen, server
from windlass import Engine, step, workflow
from windlass.bootstrap import run_application
from windlass.contexts.workflows.api import Order
from windlass.kernel.actors import Actor
from windlass.kernel.clock import from_iso
from windlass.settings import load as load_settings

RUNS = "/api/v1/workflows"
WITHOUT_LIMITS = {
    "WORKFLOWS_TENANT_CONCURRENCY": "10000",
    "WORKFLOWS_WORKFLOW_CONCURRENCY": "10000",
    "WORKFLOWS_DISABLE_QUOTAS": "true",
    "WORKFLOWS_DISABLE_RATE_LIMITS": "true",
}
_STEPS = 10
_DEV = Actor("dev", "dev", role="admin")
_SECOND = 1_000_000
_STREAMS = 1000
_STREAMS_A_RUN = 50
_EVENTS = 10
_APART_MS = 50
_log = logging.getLogger("windlass.workflows")


@step
async def note(message: str) -> dict[str, Any]:
    """Write a line to the log, as a ``log`` step does."""
    _log.info(message)
    return {"logged": True, "level": "info", "message": message}


@workflow(name="bench.notes")
async def notes(steps: int) -> int:
    """Write so many lines."""
    for number in range(steps):
        await note(f"line {number}")
    return steps


def logs(steps: int, name: str = "bench") -> dict[str, Any]:
    """Return a definition of so many ``log`` steps."""
    made = [{"id": f"s{n}", "type": "log", "config": {"message": f"line {n}"}} for n in range(steps)]
    return {"name": name, "steps": made}


async def _closed_loop(options: Options, one: Any) -> float:
    """Keep ``at_a_time`` calls open until ``size`` are done; return the seconds it took."""
    left = iter(range(options.size))

    async def one_after_another() -> None:
        for _ in left:
            await one()

    start = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(options.at_a_time)))
    return time.perf_counter() - start


def _in_process(*, written: bool) -> Shape:
    """Steps per second of workflows of ten ``log`` steps, ``written`` as a document or in Python."""

    async def measure(options: Options) -> Outcome:
        settings = load_settings(database_url=options.database, auto_migrate=True)
        async with run_application(settings) as application:
            engine: Engine = application.engine
            saved = await application.workflows.definitions.create(_DEV, logs(_STEPS))

            async def document() -> None:
                run = await application.workflows.runs.start_saved(_DEV, saved.id, Order())
                await engine.result(run.run_id, fresh=True)

            async def python() -> None:
                await (await engine.start_run(notes, _STEPS)).result()

            one = document if written else python
            for _ in range(3):
                await one()
            return Outcome(options.size * _STEPS / await _closed_loop(options, one))

    def run(options: Options) -> Outcome:
        os.environ.update(WITHOUT_LIMITS)
        return asyncio.run(measure(options))

    return run


def _through_http(options: Options) -> Outcome:
    """Steps per second of runs of a definition of five steps, each started and waited for by one request."""
    os.environ.update(WITHOUT_LIMITS)
    with server("windlass", options.database, options) as port:
        saved = _posted(port, RUNS, logs(5))
        request = load.request_bytes(port, f"{RUNS}/{saved['id']}/run?mode=sync", b"{}")
        asked(port, [request] * min(options.size, 50), options.at_a_time, "200")
        report = asked(port, [request] * options.size, options.at_a_time, "200")
        return Outcome(report.per_second * 5, {"requests": report.per_second, **seen(report)})


def _posted(port: int, path: str, body: dict[str, Any]) -> Any:
    status, said = load.fetch(port, path, json.dumps(body).encode())
    if not status.startswith("2"):
        raise RuntimeError(f"POST {path} was answered {status} {said[:500]!r}")
    return json.loads(said)


def _paced(events: int, first_ms: int) -> dict[str, Any]:
    """Return a definition whose steps end some way apart, the first so late that everybody follows by then."""
    made = [{"id": "first", "type": "delay", "config": {"milliseconds": first_ms}}]
    for n in range(events):
        made.append({"id": f"apart{n}", "type": "delay", "config": {"milliseconds": _APART_MS}})
        made.append({"id": f"told{n}", "type": "log", "config": {"message": "told"}})
    return {"name": "bench.paced", "steps": made}


class Heard(NamedTuple):
    """How long an event took to the client's socket, in seconds: from the moment it bears, and from its commit."""

    told: float
    committed: float


def _followed(streams: int, runs: int, events: int, first_ms: int, options: Options) -> list[Heard]:
    """Return how long every event of every stream took."""
    os.environ.update(WITHOUT_LIMITS)
    with server("windlass", options.database, options) as port:
        _commits(port)
        body = {"definition": _paced(events, first_ms), "inputs": {}}
        ids = [_posted(port, f"{RUNS}/run", body)["run_id"] for _ in range(runs)]
        followed = asyncio.run(_follow_all(port, [ids[n % runs] for n in range(streams)]))
        committed = _commits(port)
    if any(len(one.arrived) != events for one in followed):
        raise RuntimeError(f"a stream told of {min(len(one.arrived) for one in followed)} of {events} steps")
    return [
        Heard(
            arrived - from_iso(told["created_at"]) / _SECOND, arrived - committed[f"{one.run_id}/{told['event_seq']}"]
        )
        for one in followed
        for told, arrived in one.arrived
    ]


def _commits(port: int) -> dict[str, float]:
    """Return when events were committed; the server notes it from the first time on that it is asked."""
    found: dict[str, float] = json.loads(load.fetch(port, "/bench/commits", method="GET")[1])
    return found


async def _follow_all(port: int, run_ids: Sequence[str]) -> list[_Follower]:
    loop = asyncio.get_running_loop()
    followers = [_Follower(run_id, loop.create_future()) for run_id in run_ids]

    async def follow(one: _Follower) -> None:
        transport, _ = await loop.create_connection(lambda: one, "127.0.0.1", port)
        await one.ended
        transport.close()

    await asyncio.gather(*map(follow, followers))
    return followers


class _Follower(asyncio.Protocol):
    """A client that follows a run; it takes the time as soon as its socket has something, and reads it then."""

    def __init__(self, run_id: str, ended: asyncio.Future[None]) -> None:
        self.run_id = run_id
        self.ended = ended
        self.arrived: list[tuple[dict[str, Any], float]] = []
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        """Ask for the events."""
        path = f"{RUNS}/runs/{self.run_id}/events/stream"
        transport.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Note when each step of the kind that is looked for was heard of."""
        now = time.time()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"event: end") and not self.ended.done():
                self.ended.set_result(None)
            if line.startswith(b"data: ") and b"step_completed" in line:
                told = json.loads(line[6:])
                if told["payload"]["type"] == "log":
                    self.arrived.append((told, now))

    def connection_lost(self, _exc: Exception | None) -> None:
        """Wait for no more."""
        if not self.ended.done():
            self.ended.set_result(None)


def _stream(options: Options) -> Outcome:
    """Median milliseconds from the end of a step, before its commit, to the socket of the client that follows.

    The detail says how many of them have passed since that commit.
    """
    found = _followed(1, 1, options.size, 500, options)
    return Outcome(p50_ms([one.told for one in found]), {"from_commit_ms": p50_ms([one.committed for one in found])})


def _streams(options: Options) -> Outcome:
    """The same with so many streams open on one process, all of whose runs go on at the same time."""
    runs = max(1, options.size // _STREAMS_A_RUN)
    found = _followed(options.size, runs, _EVENTS, 3000 if options.size >= _STREAMS else 500, options)
    told = [one.told for one in found]
    return Outcome(p50_ms(told), {"slowest_ms": max(told) * 1000, "events": len(told)})


SHAPES: dict[str, Shape] = {
    "logs-definition": _in_process(written=True),
    "logs-python": _in_process(written=False),
    "five-logs": _through_http,
    "stream": _stream,
    "streams": _streams,
}

if __name__ == "__main__":
    main(SHAPES)
