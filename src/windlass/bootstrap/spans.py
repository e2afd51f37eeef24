"""Spans by OpenTelemetry, where the environment asks for them with an ``OTEL_…`` variable."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from windlass.engine.errors import Suspend, Withheld
from windlass.kernel.errors import ConfigError
from windlass.kernel.spans import NO_SPANS, TRACEPARENT, Spans

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

NAME = "windlass"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_OFF = frozenset({"none", "false"})


def open_spans() -> Spans:
    """Return who makes spans.

    With an endpoint in the environment they are sent there by OTLP over HTTP, unless this process has a provider of its
    own already; with other ``OTEL_…`` variables they go to that provider.

    Raises:
        ConfigError: they are to be sent, and the extra for it is missing.
    """
    if not wanted(os.environ):
        return NO_SPANS
    from opentelemetry import trace  # noqa: PLC0415  takes a moment, and is rarely wanted

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider) and any(os.environ.get(name) for name in ENDPOINTS):
        _export()
    return OtelSpans(trace.get_tracer(NAME))


def wanted(environment: Mapping[str, str]) -> bool:
    """Say whether an environment asks for spans."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "").lower() in _OFF:
        return False
    return any(name.startswith("OTEL_") for name in environment)


def _export() -> None:
    from opentelemetry import trace  # noqa: PLC0415  see open_spans

    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"{ENDPOINTS[1]} needs the extra otel: pip install 'windlass[otel]'") from error
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


class OtelSpans:
    """``kernel.spans.Spans`` over a tracer of OpenTelemetry."""

    enabled = True

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry import propagate, trace  # noqa: PLC0415  see open_spans

        self._trace, self._propagate = trace, propagate
        self._tracer = tracer

    @contextmanager
    def span(
        self, name: str, attributes: Mapping[str, str | int | float | bool], *, parent: str | None = None
    ) -> Iterator[None]:
        """Open a span; one that is left because its run waits, or is stopped, has not failed.

        Of an error only its code is told, or its type: a message may hold anything.
        """
        trace = self._trace
        above = None
        if parent is not None and not trace.get_current_span().get_span_context().is_valid:
            above = self._propagate.extract({TRACEPARENT: parent})
        with self._tracer.start_as_current_span(
            name, above, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except (Suspend, Withheld, asyncio.CancelledError):
                raise
            except BaseException as error:
                span.set_status(trace.Status(trace.StatusCode.ERROR, getattr(error, "code", type(error).__name__)))
                raise

    def event(self, name: str, attributes: Mapping[str, str | int | float | bool]) -> None:
        """Add an event to the current span."""
        self._trace.get_current_span().add_event(name, attributes)

    def traceparent(self) -> str | None:
        """Return the traceparent of the current span."""
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier)
        return carrier.get(TRACEPARENT)
