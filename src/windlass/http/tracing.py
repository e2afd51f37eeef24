"""Extra log lines for as long as somebody looks for a fault: WORKFLOWS_DEBUG and its two sisters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windlass.contexts.workflows.api import RUN
from windlass.http.logs import REQUEST_ID, Log
from windlass.settings import Settings

BELOW = "/api/v1/workflows/"
TOPICS = {"artifacts": "/artifacts", "dlq": "/webhooks/dlq"}


@dataclass(frozen=True, slots=True)
class Tracer:
    """Writes the lines that are wanted.

    They are written whatever LOG_LEVEL says: who asks for them wants to see them.
    """

    log: Log
    runs: bool = False
    artifacts: bool = False
    dlq: bool = False

    def run(self, event: str, workflow: str, **fields: object) -> None:
        """Tell of a run or a step of a definition."""
        if self.runs and workflow == RUN:
            self.log.request(event, REQUEST_ID.get() or "", **fields)

    def counted(self, name: str, labels: Mapping[str, str]) -> None:
        """Tell of an attempt to deliver a webhook."""
        if self.dlq and name == "workflows_webhook_deliveries":
            self.log.request("workflows.webhook.attempt", REQUEST_ID.get() or "", **labels)

    def topic(self, path: str) -> str | None:
        """Return of what a request is that is to be told, if it is one."""
        if path.startswith(BELOW):
            for topic, part in TOPICS.items():
                if getattr(self, topic) and part in path:
                    return topic
        return None


def tracer(settings: Settings, log: Log) -> Tracer:
    """Return what the settings want."""
    return Tracer(log, settings.workflows_debug, settings.workflows_artifacts_debug, settings.workflows_dlq_debug)


class Traced:
    """Tells of requests about artifacts and undelivered webhooks, where that is wanted."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        topic = self._tracer.topic(scope["path"]) if scope["type"] == "http" else None
        if topic is None:
            await self._app(scope, receive, send)
            return
        asked = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"range"), None)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: dict[str, Any] = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
                self._tracer.log.request(
                    f"workflows.{topic}.request",
                    REQUEST_ID.get() or "",
                    method=scope["method"],
                    path=scope["path"],
                    query=scope["query_string"].decode("latin-1"),
                    range=asked,
                    status_code=message["status"],
                    content_range=headers.get("content-range"),
                )
            await send(message)

        await self._app(scope, receive, told)
