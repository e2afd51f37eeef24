"""Routes for operators: what the workflows module is told to do, and its figures as JSON."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from windlass.http import system
from windlass.http.access import needs
from windlass.http.query import read_query
from windlass.http.responses import Json
from windlass.http.routing import DirectRoute, application, route
from windlass.http.shapes import answer
from windlass.kernel.actors import WORKFLOWS_ADMIN
from windlass.kernel.clock import to_iso
from windlass.settings import Settings

_OBJECT: dict[str, Any] = {"type": "object"}
_PARTS = ("backend", "rate_limits", "engine", "egress", "webhooks", "artifacts")


async def config(request: Request) -> Response:
    """Show what the workflows module is told to do; secrets are not shown."""
    read_query(request, ())
    return Json(effective(request.app.state.settings))


def effective(settings: Settings) -> dict[str, Any]:
    """Return the settings in force, in the contract's words (section 1.7); null where there is no such limit."""
    s = settings
    return {
        "backend": {"type": "sqlite" if s.database.path is not None else "postgres"},
        "rate_limits": {
            "ingress_source": "settings",
            "disabled": s.workflows_disable_rate_limits,
            "run_adhoc_per_min": s.workflows_rate_run_adhoc_per_min,
            "run_saved_per_min": s.workflows_rate_run_saved_per_min,
            "quotas_disabled": s.workflows_disable_quotas,
            "quota_daily_cap_source": "settings",
            "quota_burst_per_min": s.workflows_quota_burst_per_min,
            "quota_daily_per_user": s.workflows_quota_daily_per_user,
            "queue_depth": s.workflows_queue_depth,
            "queue_depth_per_tenant": s.workflows_queue_depth_per_tenant,
        },
        "engine": {
            "tenant_concurrency": _said(s, "workflows_tenant_concurrency"),
            "workflow_concurrency": _said(s, "workflows_workflow_concurrency"),
        },
        "egress": {
            "profile": "(auto)" if s.workflows_egress_profile == "auto" else s.workflows_egress_profile,
            "allowed_ports": list(s.workflows_egress_allowed_ports),
            "allowlist": [*s.egress_allowlist, *s.workflows_egress_allowlist],
            "block_private": s.workflows_egress_block_private,
        },
        "webhooks": {
            "completion_disabled": s.workflows_disable_completion_webhooks,
            "secret_set": bool(s.webhook_secrets()),
            "dlq_enabled": s.workflows_webhook_dlq_enabled,
            "allowlist": list(s.workflows_webhook_allowlist),
            "denylist": list(s.workflows_webhook_denylist),
        },
        "artifacts": {
            "validate_strict": s.workflows_artifact_validate_strict,
            "encryption_enabled": s.workflows_artifact_encryption,
            "gc_enabled": s.workflows_artifact_gc_enabled,
            "retention_days": s.workflows_artifact_retention_days,
        },
    }


def _said(settings: Settings, name: str) -> Any:
    return getattr(settings, name, None)


async def metrics(request: Request) -> Response:
    """Show the figures of `/metrics` as JSON: of each metric its name, kind, meaning and samples."""
    read_query(request, ())
    text = await system.measured(request)
    now = to_iso(application(request).engine.clock.now())
    return Json({"metrics": request.app.state.meter.as_json(text), "time": now})


def routes() -> list[DirectRoute]:
    """Return the routes for operators."""
    shown = answer("What is in force", dict.fromkeys(_PARTS, _OBJECT))
    figures = answer("Figures", {"metrics": {"type": "array", "items": _OBJECT}, "time": {"type": "string"}})
    access = needs(WORKFLOWS_ADMIN)
    return [
        route("GET", "/api/v1/workflows/config", config, tag="workflows", answers={200: shown}, errors=(422,),
              access=access),
        route("GET", "/api/v1/metrics", metrics, tag="system", answers={200: figures}, errors=(422,), access=access),
    ]  # fmt: skip
