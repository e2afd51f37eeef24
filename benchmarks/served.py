"""The servers that the HTTP benchmarks ask, each a process with one uvicorn worker on uvloop.

``windlass`` is the product's own application with three routes beside it: ``/bench/{workflow}`` starts a run and
answers its result, ``/bench/nothing`` does all of ``POST /records`` but the storing, ``/bench/commits`` answers when
events were committed. ``session`` is the yardstick of ``session_app``, ``billing`` the demo billing. ``worker`` answers
nobody: it carries out the runs of a database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from collections.abc import Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.loops.auto import auto_loop_factory

from benchmarks.ours import chain, parent
from benchmarks.ours_http import READY
from benchmarks.session_app import async_app, sync_app
from windlass import Workflow
from windlass.bootstrap import run_application
from windlass.contexts.records.intake import read_draft
from windlass.contexts.records.model import fresh
from windlass.demo.billing.faults import Faults, Switch
from windlass.demo.billing.server import Server
from windlass.demo.billing.store import Store
from windlass.engine.ports import Ring
from windlass.engine.types import Event
from windlass.http.app import create_app
from windlass.http.logs import Told, open_log
from windlass.http.query import read_query
from windlass.http.responses import Json
from windlass.http.routing import application, route
from windlass.settings import load
from windlass.storage.committer import Committer

_FLOWS: dict[str, Workflow[[int], int]] = {"chain": chain, "parent": parent}


async def start(request: Request) -> Response:
    """Start a run with the number in the body, wait for it, and answer its result."""
    flow = _FLOWS[request.path_params["flow"]]
    handle = await application(request).engine.start_run(flow, int(await request.body()))
    return Json(await handle.result())


async def nothing(request: Request) -> Response:
    """Read and check a record, and answer it as if it had been stored."""
    read_query(request, ())
    records = application(request).records
    draft = read_draft(await request.body(), records.limits.max_payload)
    made = fresh(*records.stamp(), draft)
    return Json(made.view(), 201, {"Location": f"/records/{made.id}"})


async def commits(request: Request) -> Response:
    """Answer when each event was on disk whose commit came after the first request, by run and number."""
    noted: dict[str, float] | None = getattr(request.app.state, "noted", None)
    committer = application(request).engine.commits
    if noted is None and isinstance(committer, Committer):
        noted = request.app.state.noted = {}
        hand_on = committer.on_rings

        def note(rings: Sequence[Ring], written: Sequence[Event]) -> None:
            now = time.time()
            noted.update((f"{event.run_id}/{event.seq}", now) for event in written)
            hand_on(rings, written)

        committer.on_rings = note
    return Json(noted)


def windlass_app(database: str, **given: Any) -> FastAPI:
    """Return the product's application, with the routes of the benchmarks."""
    settings = load(database_url=database, auto_migrate=True, **given)
    log = open_log(settings)
    log.install()
    app = create_app(settings, log=log)
    answers: dict[int, type[BaseModel] | dict[str, Any]] = {200: {"description": "The result"}}
    app.router.routes.append(route("POST", "/bench/nothing", nothing, tag="bench", answers=answers))
    app.router.routes.append(route("GET", "/bench/commits", commits, tag="bench", answers=answers))
    app.router.routes.append(route("POST", "/bench/{flow}", start, tag="bench", answers=answers))
    return app


def work(database: str, **given: Any) -> None:
    """Carry out the runs of a database until killed, as ``windlass worker`` does."""
    settings = load(database_url=database, **given)
    log = open_log(settings)

    async def go() -> None:
        async with run_application(settings, worker=True, telemetry=Told(log)):
            log.events.info(READY)
            await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=auto_loop_factory(use_subprocess=False)) as runner:
        runner.run(go())


def bill(database: str, port: int, **faults: object) -> None:
    """Serve the demo billing with faults from the start."""
    store = Store(database)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        Server(store, Switch(Faults.model_validate(faults))).run([listener])


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the application that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("app", choices=("windlass", "session", "billing", "worker"))
    parser.add_argument("--database", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--style", default="sync")
    parser.add_argument("--pool", type=int, default=5)
    parser.add_argument("--settings", type=json.loads, default={}, help="settings, or faults of billing, as JSON")
    given = parser.parse_args(arguments)
    if given.app == "billing":
        bill(given.database, given.port, **given.settings)
        return
    if given.app == "worker":
        work(given.database, **given.settings)
        return
    if given.app == "windlass":
        app = windlass_app(given.database, **given.settings)
    else:
        app = (sync_app if given.style == "sync" else async_app)(given.database, given.pool)
    config = uvicorn.Config(app, port=given.port, lifespan="on", log_config=None, access_log=False, backlog=2048)
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
