"""Health checks for whoever watches the service: is it alive, and may it be sent work? Contract 1.10.

They ask for no credential. A live service answers even while its database is away; a ready one can take work.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from windlass.bootstrap import Application
from windlass.contexts.workflows.api import QUEUE
from windlass.http.access import NOBODY
from windlass.http.logs import Log
from windlass.http.query import read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, Handler, application, route
from windlass.http.shapes import answer
from windlass.kernel.clock import to_iso
from windlass.storage.migrate import newest
from windlass.storage.stats import QueueState, queue_state, schema_version

SECONDS = 1.5
"""How long the database may take to answer."""
API = "/api/v1"
Answers = dict[int, type[BaseModel] | dict[str, Any]]
_DB = {
    "ok": {"type": "boolean"},
    "backend": {"type": "string"},
    "schema_version": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "expected_version": {"type": "integer"},
    "error": {"type": "string"},
}
_ENGINE = {name: {"type": "integer"} for name in ("queue_depth", "active_tenants", "active_workflows")}
_READY = {
    "ready": {"type": "boolean"},
    "status": {"type": "string"},
    "engine": {"type": "object", "properties": _ENGINE},
    "db": {"type": "object", "properties": _DB},
    "time": {"type": "string"},
}
_ALIVE = {"status": {"type": "string"}, "time": {"type": "string"}}


class Watch:
    """Looks at the database, once at a time however many want to know."""

    def __init__(self) -> None:
        self._looking: asyncio.Future[tuple[QueueState, int | None]] | None = None

    async def look(self, running: Application) -> tuple[QueueState, int | None]:
        """Return the state of the queue of workflows, and the version of the tables.

        Raises:
            TimeoutError: the database does not answer in time.
            Exception: whatever the driver says.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(running.backend.read, _look))
            self._looking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        return await asyncio.wait_for(asyncio.shield(self._looking), SECONDS)


def _look(connection: Any) -> tuple[QueueState, int | None]:
    return queue_state(connection, QUEUE), schema_version(connection)


def _now(request: Request) -> str:
    return to_iso(application(request).engine.clock.now())


def _backend(running: Application) -> str:
    return "sqlite" if running.settings.database.path is not None else "postgres"


async def _state(request: Request) -> dict[str, Any]:
    """Return what is known of readiness; ``ready`` says it in a word."""
    running = application(request)
    watch: Watch = request.app.state.watch
    queue, expected = QueueState(0, 0, 0), int(newest())
    db: dict[str, Any] = {"ok": True, "backend": _backend(running), "schema_version": None}
    try:
        queue, db["schema_version"] = await watch.look(running)
    except Exception as error:  # noqa: BLE001  whatever it is, the database does not answer
        log: Log = request.app.state.log
        log.events.error("database_error", error=f"{type(error).__name__}: {error}")
        away = "the database does not answer in time" if isinstance(error, TimeoutError) else "the database is away"
        db |= {"ok": False, "error": away}
    db["expected_version"] = expected
    engine = {
        "queue_depth": queue.depth,
        "active_tenants": queue.active_tenants,
        "active_workflows": queue.active_workflows,
    }
    return {
        "ready": db["ok"] and db["schema_version"] == expected and not running.engine.worker.stopping,
        "engine": engine,
        "db": db,
        "time": _now(request),
    }


async def healthz(request: Request) -> Response:
    """Say that the process answers, and how many runs of workflows wait for a place."""
    read_query(request, ())
    found = await _state(request)
    return Json({"status": "ok", "queue_depth": found["engine"]["queue_depth"], "time": found["time"]})


async def readyz(request: Request) -> Response:
    """Say whether the service can take work: its database answers and is at this program's version."""
    read_query(request, ())
    found = await _state(request)
    return Json(found, 200 if found["ready"] else 503)


async def live(request: Request) -> Response:
    """Say that the process answers."""
    read_query(request, ())
    return Json({"status": "alive", "time": _now(request)})


async def health_ready(request: Request) -> Response:
    """Say whether the service can take work, in a word too."""
    read_query(request, ())
    found = await _state(request)
    status = "ready" if found["ready"] else "not_ready"
    return Json({"status": status, **found}, 200 if found["ready"] else 503)


async def ready(request: Request) -> Response:
    """Say whether to send work here; not while the process shuts down."""
    read_query(request, ())
    running = application(request)
    if running.engine.worker.stopping:
        return Json({"status": "not_ready", "reason": "shutdown_in_progress"}, 503)
    found = await _state(request)
    db = found["db"]
    answered = {
        "status": "ready" if found["ready"] else "not_ready",
        "database": "connected" if db["ok"] else "disconnected",
        "workflows_db": {name: db[name] for name in ("schema_version", "expected_version")},
        "engine": found["engine"],
        "time": found["time"],
    }
    return Json(answered, 200 if found["ready"] else 503)


def routes() -> list[DirectRoute]:
    """Return the routes of health checks, at the root and below ``/api/v1``."""
    alive: Answers = {200: answer("It answers", _ALIVE)}
    depth: Answers = {200: answer("It answers", {**_ALIVE, "queue_depth": {"type": "integer"}})}
    state: Answers = {200: answer("It can", _READY), 503: answer("It cannot", _READY)}
    simple = {"status": {"type": "string"}, "database": {"type": "string"}, "reason": {"type": "string"}}
    brief: Answers = {200: answer("It can", simple), 503: answer("It cannot", simple)}
    both: list[tuple[str, Handler, Answers]] = [
        ("/healthz", healthz, depth),
        ("/readyz", readyz, state),
        ("/health/live", live, alive),
        ("/health/ready", health_ready, state),
    ]
    places = [(f"{prefix}{path}", handler, said) for prefix in ("", API) for path, handler, said in both]
    return [
        route("GET", path, handler, tag="health", answers=said, errors=(422,), access=NOBODY)
        for path, handler, said in [*places, ("/ready", ready, brief)]
    ]
