"""Services that can be served alone: which of all routes are theirs, and what they say of themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from windlass.settings import Settings
from windlass.settings.serving import PROVIDERS


@dataclass(frozen=True, slots=True)
class Alone:
    """A service: its name, its paths (the whole of them, as a regular expression), and where things are in it."""

    name: str
    paths: re.Pattern[str]
    places: Mapping[str, str]


SERVICES: Mapping[str, Alone] = {
    PROVIDERS: Alone(
        "provider-registration-service",
        re.compile(r"/|/health|/healthz|/readyz|/metrics|/(auth|candidates|api/providers)(/.*)?"),
        {
            "/docs": "the API, to read and to try",
            "/openapi.json": "the same for machines",
            "/candidates": "the companies that want to become providers",
            "/health": "whether the service and its database answer",
            "/readyz": "whether it can take work",
            "/metrics": "figures for Prometheus",
        },
    )
}
"""By the name of ``SERVE_ONLY``."""


def served_alone(settings: Settings) -> Alone | None:
    """Return the service that is served alone; None when everything is served."""
    return None if settings.serve_only is None else SERVICES[settings.serve_only]
