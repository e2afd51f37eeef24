"""Choosing who answers: the server at ``--url``, or the database itself."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from windlass.cli.client.protocol import Client


def open_client(url: str | None, api_key: str | None, *, creates: bool = False) -> AbstractAsyncContextManager[Client]:
    """Open a client.

    Args:
        url: the server's address, or None for the database of DATABASE_URL.
        api_key: the server's key.
        creates: whether a SQLite file that is not there is made.
    """
    if url is not None:
        from windlass.cli.client.http import open_http

        return open_http(url, api_key)
    from windlass.cli.client.direct import open_direct

    return open_direct(creates=creates)
