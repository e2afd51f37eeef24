"""How doorbells are said between processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from windlass.engine.ports import Ring

HELLO = "hello"
"""What a process that begins to listen says, so that the others know they are not alone."""
MAX_PAYLOAD = 7900
"""Bytes of a notification of PostgreSQL, nearly; a datagram could hold more."""
_WITH_RUN = frozenset({"news", "follow"})


def spoken(ring: Ring) -> str:
    """Return what is said of a doorbell that is not meant for one holder."""
    return f"{ring.kind}:{ring.run_id}" if ring.kind in _WITH_RUN else ring.kind


def pieces(news: Iterable[str]) -> Iterator[str]:
    """Yield the news joined by commas, in pieces that a notification can hold."""
    piece = ""
    for item in news:
        if len(piece) + len(item) > MAX_PAYLOAD:
            yield piece
            piece = ""
        piece = f"{piece},{item}" if piece else item
    if piece:
        yield piece
