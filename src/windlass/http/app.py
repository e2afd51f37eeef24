"""The ASGI application: ``uvicorn windlass.http.app:app``, with any number of workers."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from windlass import settings as configuration
from windlass.bootstrap import run_application
from windlass.http import (
    artifacts,
    audit,
    auth,
    callers,
    candidates,
    concurrency,
    cors,
    definitions,
    health,
    limits,
    members,
    oidc,
    operations,
    people,
    queues,
    rates,
    records,
    reports,
    run_live,
    runs,
    schedules,
    system,
    webhooks,
    workflow_bulk,
    workflow_history,
    workflow_runs,
    workflow_socket,
)
from windlass.http.access import GUARDED as GUARDED_PATHS
from windlass.http.access import NOBODY
from windlass.http.alone import served_alone
from windlass.http.compression import Compressed
from windlass.http.errors import answer_http, answer_windlass
from windlass.http.finding import Finder
from windlass.http.logs import Log, open_log
from windlass.http.metrics import Meter, share_with_siblings
from windlass.http.middleware import GUARDED, BodyLimit, Closed, Frame, Keyhole
from windlass.http.query import NO_NUL
from windlass.http.routing import ENVELOPES, DirectRoute
from windlass.http.tracing import Traced, tracer
from windlass.kernel.errors import ConfigError, WindlassError
from windlass.settings import Settings

SAMPLE_SECONDS = 1.0
SECURITY_SCHEMES: dict[str, Any] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
    "Login": {"type": "oauth2", "flows": {"password": {"tokenUrl": "/auth/login", "scopes": {}}}},
}
"""``Login`` is how people get a bearer token where they read the documentation."""
JSON_SCHEMAS: dict[str, Any] = {
    "JsonObject": {
        "type": "object",
        "title": "JSON object",
        "description": "Any JSON of at most 64 levels, without NUL characters and integers beyond 64 bits",
        "propertyNames": {"pattern": NO_NUL},
        "additionalProperties": {"$ref": "#/components/schemas/Json"},
    },
    "Json": {
        "anyOf": [
            {"type": "null"},
            {"type": "boolean"},
            {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
            {"type": "number"},
            {"type": "string", "pattern": NO_NUL},
            {"type": "array", "items": {"$ref": "#/components/schemas/Json"}},
            {"$ref": "#/components/schemas/JsonObject"},
        ]
    },
}


def create_app(settings: Settings, *, log: Log | None = None, worker: bool | None = None) -> FastAPI:
    """Return the application of some settings; its lifespan opens the database and starts the engine.

    Args:
        settings: the settings.
        log: where lines go; what the settings say by default.
        worker: whether it also runs workflows; what the settings say by default.
    """
    log = log or open_log(settings)
    meter = Meter(tracer(settings, log), settings.app_version)
    alone = served_alone(settings)
    counter = rates.counter(settings, lambda error: meter.event("rates.not_shared", error=error))
    app = _base()(
        title=settings.project_name if alone is None else alone.name,
        version=settings.app_version,
        description="Durable workflow automation: records in, processed once, reported on.",
        lifespan=_lifespan(settings, log, meter, worker),
        telemetry=None if any(name.startswith("OTEL_") for name in os.environ) else _NO_TELEMETRY,
        redirect_slashes=False,
    )
    app.state.settings, app.state.log, app.state.meter, app.state.probe = settings, log, meter, system.Probe()
    app.state.counter = counter
    app.state.admit, app.state.watch, app.state.reasons = callers.admit, health.Watch(), system.Reasons()
    app.router.routes[:0] = (
        [*workflow_socket.sockets(), *_routes()]
        if alone is None
        else [route for route in _routes() if alone.paths.fullmatch(route.path)]
    )
    app.router.routes.insert(0, Finder(app.router.routes))
    app.add_exception_handler(WindlassError, answer_windlass)
    app.add_exception_handler(HTTPException, answer_http)
    _surround(app, settings, log, meter)
    guarded = settings.api_key is not None
    known = guarded or settings.app_env != "dev"
    setattr(app, "openapi", _described(app, guarded=guarded, known=known))  # noqa: B010  as FastAPI documents
    return app


@cache
def _routes() -> list[DirectRoute]:
    """Return all routes. They know no application; describing them takes longer than making one."""
    parts = (
        records,
        reports,
        runs,
        queues,
        system,
        auth,
        audit,
        artifacts,
        schedules,
        people,
        webhooks,
        workflow_bulk,
        workflow_runs,
        workflow_history,
        definitions,
        health,
        operations,
        concurrency,
        limits,
        members,
        oidc,
        candidates,
        run_live,
    )
    found = [route for part in parts for route in part.routes()]
    return sorted(found, key=lambda route: route.path.startswith(definitions.ONE))  # these would hide others


def _surround(app: FastAPI, settings: Settings, log: Log, meter: Meter) -> None:
    """Put around the application what every request passes, the innermost first."""
    app.add_middleware(Traced, tracer=meter.tracer)
    app.add_middleware(
        BodyLimit,
        most=settings.max_body_bytes,
        exceptions={"/records/bulk": settings.max_bulk_bytes},
        patterns={artifacts.UPLOADS: settings.workflows_artifact_max_upload_bytes + artifacts.MARGIN},
    )
    if settings.api_key is not None:
        app.add_middleware(Keyhole, key=settings.api_key.get_secret_value())
    if settings.database.path is not None:
        app.add_middleware(Closed)
    if app.state.counter is not None:
        app.add_middleware(rates.Rates, counter=app.state.counter)
    if settings.compress_min_bytes:
        app.add_middleware(Compressed, least=settings.compress_min_bytes)
    allowed = cors.sites(settings)
    if allowed is not None:
        app.add_middleware(cors.Cors, origins=allowed[0], pattern=allowed[1])
    app.add_middleware(Frame, log=log, meter=meter, alone=served_alone(settings) is not None)


_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}


def _base() -> Callable[..., FastAPI]:
    """Return what makes the application: with documentation that needs no other host where that is installed."""
    try:
        from fastapi_offline import FastAPIOffline  # noqa: PLC0415  an extra
    except ImportError:
        return FastAPI
    made: Callable[..., FastAPI] = FastAPIOffline
    return made


def _lifespan(settings: Settings, log: Log, meter: Meter, worker: bool | None) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with run_application(settings, worker=worker, telemetry=meter) as running:
            app.state.application = running
            await running.identity.tell_of_development()
            sampling = asyncio.create_task(_sample(app), name="windlass-metrics")
            meter.providers.up(answers=True)
            log.events.info("started", database=str(settings.database), worker=running.engine.worker.claims)
            try:
                yield
            finally:
                meter.providers.up(answers=False)
                sampling.cancel()
                if app.state.counter is not None:
                    await app.state.counter.close()
                log.events.info("stopping")

    return lifespan


async def _sample(app: FastAPI) -> None:
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        system.sample(app.state.application, app.state.meter)


def _described(app: FastAPI, *, guarded: bool, known: bool) -> Callable[[], dict[str, Any]]:
    """Describe the API; ``guarded`` says that writes need the key, ``known`` that callers under /api/v1 are known."""

    product = {"type": "string", "enum": list(app.state.settings.providers_products)}

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = made.setdefault("components", {})
            components.setdefault("schemas", {}).update(JSON_SCHEMAS | ENVELOPES | {"Product": product})
            for path, operations in made["paths"].items():
                for method, operation in operations.items():
                    security = _security(app, path, method, guarded=guarded, known=known)
                    if security:
                        operation["security"] = security
            components["securitySchemes"] = SECURITY_SCHEMES
            app.openapi_schema = made
        return app.openapi_schema

    return openapi


def _security(app: FastAPI, path: str, method: str, *, guarded: bool, known: bool) -> list[dict[str, Any]]:
    routes = (route for route in app.router.routes if isinstance(route, DirectRoute) and route.path_format == path)
    access = next((route.access for route in routes if method.upper() in (route.methods or ())), NOBODY)
    if access.bearer:
        return [{"Login": []}, {"Bearer": []}]
    if path.startswith(GUARDED_PATHS):
        return [{"ApiKey": []}, {"Login": []}, {"Bearer": []}] if known and not access.public else []
    return [{"ApiKey": []}] if guarded and path.startswith(GUARDED) and method != "get" else []


def _serve() -> FastAPI:
    """Make the application of this process from its environment."""
    try:
        settings = configuration.load()
        log = open_log(settings)
    except ConfigError as error:
        sys.exit(f"windlass does not start:\n{error}")
    share_with_siblings()
    log.install()
    return create_app(settings, log=log)


def __getattr__(name: str) -> Any:
    """Make ``app`` when a server asks for it, not when the module is imported."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["app"] = _serve()
    return made
