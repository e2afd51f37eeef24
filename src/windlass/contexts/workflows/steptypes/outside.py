"""What steps that speak to other hosts are lent."""

from __future__ import annotations

from dataclasses import dataclass, field

from windlass.contexts.outbound.api import Outbound
from windlass.contexts.webhooks.api import Secrets
from windlass.kernel.clock import Clock
from windlass.kernel.spans import NO_SPANS, Spans


@dataclass(frozen=True, slots=True)
class Outside:
    """The way out. Times are seconds; the credentials are the operator's, for requests that name none."""

    client: Outbound
    clock: Clock
    secrets: Secrets = field(default_factory=Secrets, repr=False)
    timeout: float = 10.0
    notify_timeout: float = 10.0
    redirects: int = 5
    bearer_token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    spans: Spans = NO_SPANS
