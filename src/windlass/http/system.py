"""Routes about the service itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from html import escape
from typing import Any

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from windlass.bootstrap import Application
from windlass.contexts.records.api import read_filter
from windlass.contexts.workflows.api import QUEUE
from windlass.http.alone import served_alone
from windlass.http.logs import Log
from windlass.http.metrics import CONTENT_TYPE, Meter
from windlass.http.query import read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.schemas import HealthAnswer, UnhealthyAnswer, VersionAnswer
from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.errors import WindlassError
from windlass.settings import Settings
from windlass.storage.reasons import count_reasons
from windlass.storage.stats import open_runs, queue_state

HEALTH_SECONDS = 1.5
"""How long the database may take to answer a health check."""
REASON_SECONDS = 10
"""How old the counts of reasons may be: they cost more than one look at an index."""

PLACES = {
    "/docs": "the API, to read and to try",
    "/openapi.json": "the same for machines",
    "/health": "whether the service and its database answer",
    "/readyz": "whether it can take work",
    "/version": "what runs",
    "/metrics": "figures for Prometheus",
    "/records": "the records",
    "/reports/summary": "the report on them",
    "/runs": "the durable runs behind them",
}
_TRY = """curl -X POST {url}records -H 'Content-Type: application/json' \\
  -d '{{"source": "me", "category": "test", "payload": {{"priority": 8, "impact": 5}}}}'"""
_REGISTER = """curl -X POST {url}candidates -H 'Content-Type: application/json' \\
  -d '{{"company_name": "Fresh Fruit Ltd", "contact_email": "me@example.com", "products": ["apples"],
       "truck_count": 3, "capacity_tons_per_day": 12}}'"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #222 }}
h1 {{ font-size: 1.4rem }} dt {{ font-weight: 600; margin-top: .6rem }} dd {{ margin: 0; color: #555 }}
a {{ color: #0a58a8 }} pre {{ background: #f4f4f4; padding: 1rem; overflow-x: auto }}
</style></head>
<body><h1>{name} {version}</h1>
<p>{about}. Where things are:</p><dl>{places}</dl>
<p>{words}</p><pre>{example}</pre></body></html>
"""


class Probe:
    """Asks the database whether it is there, one question at a time, however many want to know."""

    def __init__(self) -> None:
        self._asking: asyncio.Future[None] | None = None

    async def ask(self, running: Application) -> None:
        """Return when the database has answered.

        Raises:
            TimeoutError: it has not, in time.
            Exception: whatever the driver says.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(asyncio.to_thread(running.backend.read, _select_one))
            self._asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        await asyncio.wait_for(asyncio.shield(self._asking), HEALTH_SECONDS)


class Reasons:
    """Knows how many runs wait for which reason, and asks again when it was told longer ago than ``REASON_SECONDS``."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._asked: int | None = None

    async def get(self, running: Application) -> dict[str, int]:
        """Return the counts.

        Raises:
            Unavailable: the database is away.
        """
        now = running.engine.clock.now()
        if self._asked is None or now - self._asked >= REASON_SECONDS * SECOND:
            self._known, self._asked = await count_reasons(running.engine), now
        return self._known


def _select_one(connection: Any) -> None:
    connection.execute(sa.select(sa.literal(1)))


async def index(request: Request) -> Response:
    """Say where things are."""
    read_query(request, ())
    settings: Settings = request.app.state.settings
    alone = served_alone(settings)
    if alone is not None:
        said = {"service": alone.name, "version": settings.app_version, "endpoints": alone.places}
        example = _REGISTER.format(url=request.base_url)
        words = ("Registration of providers", "Register a candidate:")
        return _page(request, alone.name, alone.places, words, {**said, "example": example})
    example = _TRY.format(url=request.base_url)
    said = {"name": settings.project_name, "version": settings.app_version, "links": PLACES}
    words = ("Durable workflow automation", "Store a record:")
    return _page(request, settings.project_name, PLACES, words, {**said, "example": example})


def _page(
    request: Request, name: str, places: Mapping[str, str], words: tuple[str, str], said: dict[str, Any]
) -> Response:
    """Return what is said of a service: as it is, or as a page when a browser asks."""
    if "text/html" not in request.headers.get("accept", ""):
        return Json(said)
    listed = "".join(f'<dt><a href="{path}">{path}</a></dt><dd>{what}</dd>' for path, what in places.items())
    shown = {"name": escape(name), "version": escape(said["version"]), "example": escape(said["example"], quote=False)}
    return HTMLResponse(_PAGE.format(**shown, about=words[0], words=words[1], places=listed))


async def health(request: Request) -> Response:
    """Say within two seconds whether the service and its database answer."""
    read_query(request, ())
    probe: Probe = request.app.state.probe
    settings: Settings = request.app.state.settings
    alone = served_alone(settings)
    of = {} if alone is None else {"service": alone.name, "version": settings.app_version}
    now = to_iso(application(request).engine.clock.now())
    try:
        await probe.ask(application(request))
    except Exception as error:  # noqa: BLE001  whatever it is, the database does not answer
        log: Log = request.app.state.log
        log.events.error("database unavailable", error=f"{type(error).__name__}: {error}")
        reason = "the database does not answer in time" if isinstance(error, TimeoutError) else "the database is away"
        gone = {"status": "unhealthy", **of, "database": "disconnected", "timestamp": now, "error": reason}
        return Json(gone, 503)
    return Json({"status": "healthy", **of, "database": "connected", "timestamp": now})


async def version(request: Request) -> Response:
    """Say what runs."""
    read_query(request, ())
    settings: Settings = request.app.state.settings
    return Json({"version": settings.app_version, "commit": settings.git_commit, "environment": settings.app_env})


async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    read_query(request, ())
    return Response(await measured(request), media_type=CONTENT_TYPE)


async def measured(request: Request) -> bytes:
    """Return every figure in Prometheus's text format."""
    running, meter = application(request), request.app.state.meter
    known: dict[str, dict[str, int]] = {}
    depth: int | None = None
    answers = True
    try:
        totals = await running.records.report("totals", read_filter(None, None, None, None))
        known["records"] = {status: count for status, count in totals[0].items() if status != "all"}
        known["open_runs"] = await running.engine.read(open_runs)
        known["runs_waiting"] = await request.app.state.reasons.get(running)
        depth = (await running.engine.read(lambda connection: queue_state(connection, QUEUE))).depth
    except WindlassError as error:
        log: Log = request.app.state.log
        log.events.error("database unavailable", error=str(error))
        answers = False
    sample(running, meter)
    text: bytes = meter.text(known, depth, database=answers)
    return text


def sample(running: Application, meter: Meter) -> None:
    """Take the committer's counts into the metrics."""
    commits = running.commits
    meter.committed(commits.batches, commits.units, commits.waiting)


def routes() -> list[DirectRoute]:
    """Return the routes about the service."""
    tag = "system"
    page = {"description": "Where things are", "content": {"text/html": {}, "application/json": {}}}
    text = {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return [
        route("GET", "/", index, tag=tag, answers={200: page}, errors=(422,)),
        route("GET", "/health", health, tag=tag, answers={200: HealthAnswer, 503: UnhealthyAnswer}, errors=(422,)),
        route("GET", "/version", version, tag=tag, answers={200: VersionAnswer}, errors=(422,)),
        route("GET", "/metrics", metrics, tag=tag, answers={200: text}, errors=(422,)),
    ]
