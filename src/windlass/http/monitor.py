"""What a process that answers nobody else shows of itself: its figures, and whether it is well."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route

from windlass.bootstrap import Application
from windlass.http import health, system
from windlass.http.logs import Log
from windlass.http.metrics import Meter
from windlass.settings import Settings


def create_monitor(settings: Settings, log: Log, meter: Meter, running: Application) -> Starlette:
    """Return an application with ``/metrics``, ``/healthz`` and ``/readyz``, as a server has them.

    Args:
        settings: of the process.
        log: where its lines go.
        meter: what it counts.
        running: what it carries runs out with.
    """
    paths = {"/metrics": system.metrics, "/healthz": health.healthz, "/readyz": health.readyz}
    app = Starlette(routes=[Route(path, handler, methods=["GET"]) for path, handler in paths.items()])
    app.state.settings, app.state.log, app.state.meter, app.state.application = settings, log, meter, running
    app.state.watch, app.state.reasons = health.Watch(), system.Reasons()
    return app
