"""What is counted of the provider registration service, by the names of its contract.

Of requests those count that are the service's own: candidates, logins and health checks, wherever they are served.
"""

from __future__ import annotations

from typing import Any

OWN = ("/candidates", "/api/providers", "/auth", "/health")
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
COUNTED = {
    "provider_service_billing_calls": ("Calls of billing that have ended.", ("action", "outcome")),
    "provider_service_approvals": ("Approvals that have ended.", ("outcome",)),
}
"""What the context counts, by name: its meaning and labels."""


class ProviderMeter:
    """Counts requests, and says whether the service is up.

    Args:
        prometheus: the library.
        registry: where the metrics are kept.
    """

    def __init__(self, prometheus: Any, registry: Any) -> None:
        self._prometheus = prometheus
        self._registry = registry
        self._up: Any = None
        self._requests = prometheus.Counter(
            "provider_service_requests", "Requests answered.", ("method", "endpoint", "status_code"), registry=registry
        )
        self._seconds = prometheus.Histogram(
            "provider_service_request_duration_seconds", "Time to answer.", ("method", "endpoint"), buckets=BUCKETS,
            registry=registry,
        )  # fmt: skip

    def up(self, *, answers: bool) -> None:
        """Say whether the service answers; a process that never says so, a worker, has no such figure."""
        if self._up is None:
            self._up = self._prometheus.Gauge(
                "provider_service_up", "1 while the service answers; 0 once it takes no connection any more.",
                registry=self._registry, multiprocess_mode="livemax",
            )  # fmt: skip
        self._up.set(int(answers))

    def children(self, method: str, endpoint: str, status: str) -> tuple[tuple[Any, Any], ...]:
        """Return the counter and the histogram of such requests, none where they are not the service's own.

        Args:
            method: of HTTP.
            endpoint: the template of the route.
            status: the code of the answer.
        """
        if not endpoint.startswith(OWN):
            return ()
        return ((self._requests.labels(method, endpoint, status), self._seconds.labels(method, endpoint)),)
