"""Spans of distributed traces: the port, and what stands there while nobody traces.

A trace is carried by its ``traceparent``, the header of W3C Trace Context, whether anybody traces here or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol
from urllib.parse import urlsplit

TRACEPARENT = "traceparent"
_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_NOTHING: AbstractContextManager[None] = nullcontext()


class Spans(Protocol):
    """Makes spans."""

    enabled: bool
    """Whether anybody traces; ask before anything is gathered for a span."""

    def span(
        self, name: str, attributes: Mapping[str, str | int | float | bool], *, parent: str | None = None
    ) -> AbstractContextManager[None]:
        """Open a span for a block; what fails there is noted. ``parent`` is a traceparent for a block with no span."""
        ...

    def event(self, name: str, attributes: Mapping[str, str | int | float | bool]) -> None:
        """Add an event to the current span."""
        ...

    def traceparent(self) -> str | None:
        """Return the traceparent of the current span, if there is one."""
        ...


class NoSpans:
    """Nobody traces."""

    enabled = False

    def span(
        self,
        name: str,  # noqa: ARG002
        attributes: Mapping[str, str | int | float | bool],  # noqa: ARG002
        *,
        parent: str | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Open nothing."""
        return _NOTHING

    def event(self, name: str, attributes: Mapping[str, str | int | float | bool]) -> None:
        """Add nothing."""

    def traceparent(self) -> str | None:
        """Return nothing."""
        return None


NO_SPANS = NoSpans()


def plain_url(url: str) -> str:
    """Return an address without what may be secret in it: who asks, the query, the fragment."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def checked_traceparent(text: str | None) -> str | None:
    """Return a traceparent that somebody sent; None for what is none, as the standard asks."""
    return text if text is not None and _FORM.fullmatch(text) else None
