"""Approving candidates while everything goes wrong: billing fails one call in five, its worker is killed twice.

Four processes: a server that only answers, a worker that only works and is killed with ``kill -9`` once a third and
once two thirds are approved, a billing service with faults, and the clients here, who ask again when the answer is that
billing was away. Afterwards the providers in billing's own store are compared with the candidates that were approved.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks import load
from benchmarks.contender import Options, Outcome, Shape, main
from benchmarks.ours_http import READY, Process, process, server
from windlass.bootstrap import run_application
from windlass.kernel.actors import Actor
from windlass.settings import load as load_settings

_KILLS = 2
_ADMIN = "admin@bench.example.com"
_WORD = "correct horse battery staple"
_SETTINGS: dict[str, Any] = {
    "embed_worker": False,
    "lease_seconds": 1.0,
    "rate_limits_enabled": False,
    "jwt_secret_key": "benchmarks-sign-with-this-key-and-nobody-else",
}
_FAULTS = {"fail": "mixed", "share": 0.2, "seed": 4}
_OPERATOR = Actor("operator", "bench", role="admin", kind="operator")
_POLL = 0.05


async def _candidates(options: Options) -> dict[str, str]:
    """Register so many candidates and somebody to approve them; return their names by id."""
    made: dict[str, str] = {}
    left = iter(range(options.size))
    settings = load_settings(database_url=options.database, auto_migrate=True, **_SETTINGS)
    async with run_application(settings) as application:
        await application.identity.add_user(_OPERATOR, _ADMIN, _WORD, role="admin")

        async def some() -> None:
            for number in left:
                fields = {
                    "company_name": f"Company {number}",
                    "contact_email": f"company{number}@example.com",
                    "products": ["apples"],
                    "truck_count": 3,
                    "capacity_tons_per_day": 10,
                }
                one = await application.providers.candidates.create("default", fields)
                made[one.candidate_id] = one.company_name

        await asyncio.gather(*(some() for _ in range(options.at_a_time)))
    return made


def _token(port: int) -> str:
    form = urlencode({"username": _ADMIN, "password": _WORD}).encode()
    status, answer = load.fetch(port, "/auth/login", form, kind="application/x-www-form-urlencoded")
    if status != "200":
        raise RuntimeError(f"the administrator cannot log in: {status} {answer[:500]!r}")
    token: str = json.loads(answer)["access_token"]
    return token


class _Client:
    """One connection that is kept alive, one request at a time."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, method: str, path: str) -> tuple[int, bytes]:
        """Return the status and body of an answer."""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}".encode())
        buffer = await self._reader.readuntil(b"\r\n\r\n")
        whole = load.answer_length(buffer)
        while whole is None:
            more = await self._reader.read(65_536)
            if not more:
                raise ConnectionError(f"the server hung up after {buffer[:200]!r}")
            buffer += more
            whole = load.answer_length(buffer)
        return int(buffer[9:12]), buffer.partition(b"\r\n\r\n")[2]

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()


class _Workers:
    """The worker, at work by now; another one follows when it is killed, once a share of the approvals is reached."""

    def __init__(self, options: Options, billing: str, stack: ExitStack) -> None:
        settings = {**_SETTINGS, "billing_service_url": billing}
        self._arguments = ["worker", "--database", options.database, "--settings", json.dumps(settings)]
        self._path = options.folder / "worker.log"
        self._stack = stack
        self._path.touch()
        self._marks = [options.size * (number + 1) // (_KILLS + 1) for number in range(_KILLS)]
        self.settings = settings
        self.killed = 0
        self._begin()
        while READY not in self._path.read_text():
            time.sleep(_POLL)

    def _begin(self) -> None:
        self._worker: Process = self._stack.enter_context(process(self._arguments, self._path))

    def reached(self, approved: int) -> None:
        """Kill the worker if it is time to."""
        if self.killed < _KILLS and approved >= self._marks[self.killed]:
            self.killed += 1
            self._worker.kill()
            self._begin()


async def _approve(client: _Client, candidate_id: str, answers: Counter[str]) -> None:
    """Approve a candidate, as often as billing's failures make that necessary."""
    path = f"/candidates/{candidate_id}"
    while True:
        status, body = await client.ask("POST", f"{path}/approve")
        answers[str(status)] += 1
        if status == 200:
            return
        if status == 202:
            while True:
                await asyncio.sleep(_POLL)
                seen = json.loads((await client.ask("GET", path))[1])
                if seen["status"] == "approved":
                    return
                if seen["approval"] is None:
                    break
                if seen["approval"]["state"] == "needs_review":
                    raise RuntimeError(f"a person must check {seen}")
        elif status != 502:
            raise RuntimeError(f"an approval was answered {status}: {body[:500]!r}")


async def _all(
    port: int, options: Options, wanted: list[str], workers: _Workers
) -> tuple[list[float], Counter[str], float]:
    """Return how long each approval took, how often which answer came, and how long all of it took, in seconds."""
    token = _token(port)
    left, took, answers = iter(wanted), list[float](), Counter[str]()

    async def one_after_another() -> None:
        client = _Client(port, token)
        await client.open()
        for candidate_id in left:
            start = time.perf_counter()
            await _approve(client, candidate_id, answers)
            took.append(time.perf_counter() - start)
            workers.reached(len(took))
        client.close()

    begun = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(options.at_a_time)))
    return took, answers, time.perf_counter() - begun


async def _approved(options: Options) -> dict[str, int]:
    """Return the provider of each candidate, as the candidates say it."""
    found: dict[str, int] = {}
    settings = load_settings(database_url=options.database, **_SETTINGS)
    async with run_application(settings) as application:
        candidates = await application.engine.read(
            lambda connection: connection.exec_driver_sql(
                "SELECT id, provider_id FROM candidates WHERE status = 'approved'"
            ).all()
        )
    found.update((str(row[0]), int(row[1])) for row in candidates)
    return found


def _wrong(names: dict[str, str], approved: dict[str, int], store: Path) -> int:
    """Return how many candidates have no provider, another's, or more than one, by what billing itself has."""
    with sqlite3.connect(store) as connection:
        rows = connection.execute("SELECT id, name FROM providers").fetchall()
    by_id = dict(rows)
    wrong: int = sum(by_id.get(approved.get(one, 0)) != name for one, name in names.items())
    return wrong + abs(len(rows) - len(names)) + len(approved) - len(set(approved.values()))


def _measured(options: Options) -> Outcome:
    """Approvals per second."""
    names = asyncio.run(_candidates(options))
    store = options.folder / "billing.db"
    with ExitStack() as stack:
        billing = stack.enter_context(server("billing", str(store), options, _FAULTS))
        workers = _Workers(options, f"http://127.0.0.1:{billing}", stack)
        port = stack.enter_context(server("windlass", options.database, options, workers.settings))
        took, answers, seconds = asyncio.run(_all(port, options, list(names), workers))
    wrong = _wrong(names, asyncio.run(_approved(options)), store)
    if wrong or workers.killed != _KILLS:
        raise RuntimeError(
            f"{wrong} providers are missing or there twice; the worker was killed {workers.killed} times"
        )
    cuts = statistics.quantiles(took, n=100)
    detail: dict[str, object] = {"p50_ms": cuts[49] * 1000, "p95_ms": cuts[94] * 1000, "worst_ms": max(took) * 1000}
    return Outcome(len(took) / seconds, {**detail, "wrong": wrong, "kills": workers.killed, "answers": dict(answers)})


SHAPES: dict[str, Shape] = {"approve": _measured}

if __name__ == "__main__":
    main(SHAPES)
