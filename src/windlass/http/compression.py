"""Answers made smaller on their way, where the client takes that: those that are whole, never a stream."""

from __future__ import annotations

import asyncio
import re
import zlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windlass.http.middleware import header

LEVEL = 5
THREAD_BYTES = 128 * 1024
"""Larger ones are compressed on a thread: the event loop would stand still for milliseconds."""
_GZIP = re.compile(rb"(?:^|,)\s*(gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?(?=,|$)", re.IGNORECASE)
_TEXT = re.compile(rb"(text/|application/(json|[\w.-]+\+json|x-ndjson|javascript)|image/svg)", re.IGNORECASE)


class Compressed:
    """Compresses answers of a known length from a size on, unless they hold secrets (``no-store``) or are a part.

    Args:
        app: what is behind.
        least: the size in bytes.
    """

    def __init__(self, app: ASGIApp, least: int) -> None:
        self._app = app
        self._least = least

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        accepted = header(scope, b"accept-encoding") if scope["type"] == "http" else None
        if accepted is None or not _takes_gzip(accepted):
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def smaller(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and self._fits(message):
                held = message
                return
            if held is not None:
                start, held = held, None
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    message = {**message, "body": await _gzipped(message["body"])}
                    start = _told(start, len(message["body"]))
                await send(start)
            await send(message)

        await self._app(scope, receive, smaller)

    def _fits(self, start: Message) -> bool:
        headers = dict(start["headers"])
        length = headers.get(b"content-length", b"")
        return (
            length.isdigit()
            and int(length) >= self._least
            and start["status"] != 206
            and b"content-encoding" not in headers
            and b"content-range" not in headers
            and b"no-store" not in headers.get(b"cache-control", b"")
            and _TEXT.match(headers.get(b"content-type", b"")) is not None
        )


def _told(start: Message, length: int) -> Message:
    kept = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    added = [(b"content-encoding", b"gzip"), (b"content-length", b"%d" % length), (b"vary", b"Accept-Encoding")]
    return {**start, "headers": [*kept, *added]}


async def _gzipped(body: bytes) -> bytes:
    return await asyncio.to_thread(_compress, body) if len(body) >= THREAD_BYTES else _compress(body)


def _compress(body: bytes) -> bytes:
    made = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return made.compress(body) + made.flush()


def _takes_gzip(accepted: bytes) -> bool:
    """Say whether a client takes gzip: what it says of it by name counts before what it says of all others."""
    found = [(match[1] == b"*", match[2] is None or match[2].strip(b"0.") != b"") for match in _GZIP.finditer(accepted)]
    named = [takes for others, takes in found if not others]
    return any(named or (takes for _, takes in found))
