"""Asking for artifacts: from a server over HTTP, or in this process from the database and the folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
from typing import Any, NamedTuple, Protocol

import httpx2
import orjson

from windlass.cli.client.http import TIMEOUT, away, refusal, segment
from windlass.cli.client.protocol import Row
from windlass.cli.exits import bad_input
from windlass.contexts.artifacts.api import ANY_MIME, FILE, Artifacts

PREFIX = "/api/v1/workflows"
PART = 4 * 1024 * 1024
"""How many bytes are asked for at a time: a server limits what it sends in one answer."""


class Fetched(NamedTuple):
    """An artifact's file on its way: its name, the hash that was stored, and its pieces."""

    name: str
    checksum: str | None
    pieces: AsyncIterator[bytes]


class Shelf(Protocol):
    """Where artifacts are."""

    async def of_run(self, run_id: str) -> list[Row]:
        """Return the artifacts of a run."""
        ...

    async def manifest(self, run_id: str) -> list[Row]:
        """Return the artifacts of a run with their ``integrity``."""
        ...

    async def get(self, artifact_id: str) -> Fetched:
        """Return an artifact's file."""
        ...

    async def put(self, run_id: str, name: str, kind: str | None, mime: str, pieces: AsyncIterator[bytes]) -> Row:
        """Store a file."""
        ...


class DirectShelf:
    """See ``Shelf``."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def of_run(self, run_id: str) -> list[Row]:
        """Return the artifacts of a run."""
        return [self._artifacts.shown(one) async for one in await self._artifacts.list(run_id)]

    async def manifest(self, run_id: str) -> list[Row]:
        """Return the artifacts of a run with their integrity."""
        found = await self._artifacts.manifest(run_id, verify=True)
        return [self._artifacts.shown(one) | {"integrity": integrity} async for one, integrity in found]

    async def get(self, artifact_id: str) -> Fetched:
        """Return an artifact's file."""
        artifact, opened = await self._artifacts.open(artifact_id)
        return Fetched(artifact.name, artifact.checksum_sha256, opened.chunks(0, opened.size))

    async def put(self, run_id: str, name: str, kind: str | None, mime: str, pieces: AsyncIterator[bytes]) -> Row:
        """Store a file."""
        saved = await self._artifacts.put(run_id, name, pieces, mime=mime or ANY_MIME, type=kind or FILE)
        return self._artifacts.shown(saved.artifact)


class HttpShelf:
    """See ``Shelf``."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def of_run(self, run_id: str) -> Any:
        """Return the artifacts of a run."""
        return orjson.loads((await self._ask("GET", f"{PREFIX}/runs/{segment(run_id)}/artifacts")).content)

    async def manifest(self, run_id: str) -> Any:
        """Return the artifacts of a run with their integrity."""
        path = f"{PREFIX}/runs/{segment(run_id)}/artifacts/manifest"
        return orjson.loads((await self._ask("GET", path, params={"verify": "true"})).content)["artifacts"]

    async def get(self, artifact_id: str) -> Fetched:
        """Return an artifact's file, asked for in parts."""
        path = f"{PREFIX}/artifacts/{segment(artifact_id)}/download"
        first = await self._ask("GET", path, headers={"Range": "bytes=0-0"}, taken=(416,))
        size = int(first.headers["content-range"].rpartition("/")[2])
        etag = first.headers.get("etag")
        return Fetched(_name(first, artifact_id), None if etag is None else etag.strip('"'), self._parts(path, size))

    async def _parts(self, path: str, size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, PART):
            headers = {"Range": f"bytes={start}-{min(start + PART, size) - 1}"}
            yield (await self._ask("GET", path, headers=headers)).content

    async def put(self, run_id: str, name: str, kind: str | None, mime: str, pieces: AsyncIterator[bytes]) -> Row:
        """Store a file."""
        params = {"name": name} | ({} if kind is None else {"type": kind})
        path = f"{PREFIX}/runs/{segment(run_id)}/artifacts"
        answer = await self._ask("PUT", path, params=params, content=pieces, headers={"Content-Type": mime})
        row: Row = orjson.loads(answer.content)
        return row

    async def _ask(self, method: str, path: str, taken: tuple[int, ...] = (), **kwargs: Any) -> httpx2.Response:
        try:
            response = await self._client.request(method, path, **kwargs)
        except httpx2.TransportError as error:
            raise away(self._url, error) from error
        if response.is_error and response.status_code not in taken:
            raise refusal(self._url, response)
        return response


def _name(response: httpx2.Response, otherwise: str) -> str:
    said = Message()
    said["Content-Disposition"] = response.headers.get("content-disposition", "")
    return said.get_filename() or otherwise


@asynccontextmanager
async def open_shelf(url: str | None, api_key: str | None) -> AsyncIterator[Shelf]:
    """Open the artifacts of the server at ``url``, or of DATABASE_URL without one."""
    if url is None:
        from windlass.cli.client.direct import open_direct

        async with open_direct(creates=False) as direct:
            yield DirectShelf(direct.application.artifacts)
        return
    if not url.startswith(("http://", "https://")):
        bad_input(f"--url {url} is no address", "it begins with http:// or https://")
    base = url.rstrip("/")
    headers = {"X-API-Key": api_key} if api_key else {}
    async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=TIMEOUT) as client:
        yield HttpShelf(client, base)
