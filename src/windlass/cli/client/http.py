"""Asking a server over HTTP."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import orjson

from windlass.cli.client.protocol import RecordFilter, ReportFilter, Row, RunQuery, Stored
from windlass.cli.client.results import given, stored
from windlass.cli.exits import bad_input
from windlass.kernel.errors import Kind, TooLarge, Unavailable, WindlassError

TIMEOUT = httpx2.Timeout(120.0, connect=10.0)
PAGE = 200
WORKFLOWS = "/api/v1/workflows"
TOO_LARGE = 413
_KINDS = {
    400: Kind.INVALID,
    401: Kind.UNAUTHORIZED,
    403: Kind.FORBIDDEN,
    404: Kind.NOT_FOUND,
    405: Kind.INVALID,
    409: Kind.CONFLICT,
    412: Kind.STALE,
    422: Kind.VALIDATION,
}
_LATER = frozenset({429, 502, 503, 504})


class Refusal(WindlassError):
    """The server's error, as it told it."""

    def __init__(self, status: int, code: str, message: str, issues: Sequence[Row] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.kind = _KINDS.get(status, Kind.INTERNAL)
        self.issues = issues


class HttpClient:
    """See ``protocol.Client``."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self.name = url

    async def store(self, body: bytes, key: str) -> Stored:
        """Store records."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/x-ndjson"}
        params = {"results": "failed"}
        return stored(await self._ask("POST", "/records/bulk", params=params, content=body, headers=headers))

    async def export(self, wanted: RecordFilter, fmt: str) -> AsyncIterator[bytes]:
        """Yield records."""
        params = {**given(wanted), "format": fmt}
        try:
            async with self._client.stream("GET", "/records/export", params=params) as response:
                if response.is_error:
                    await response.aread()
                    raise refusal(self.name, response)
                async for data in response.aiter_bytes():
                    yield data
        except httpx2.TransportError as error:
            raise away(self.name, error) from error

    async def process_many(self, wanted: RecordFilter, limit: int | None) -> Row:
        """Start a run over many records."""
        body = given(wanted) | ({} if limit is None else {"limit": limit})
        return await self._ask("POST", "/records/process", json=body)

    async def process(self, record_id: str, *, retry: bool) -> Row:
        """Process one record."""
        found = await self._ask("POST", f"/records/{segment(record_id)}/{'retry' if retry else 'process'}")
        return found if "id" in found else {"id": record_id, "run_id": found["run_id"]}

    async def get_record(self, record_id: str) -> Row:
        """Return a record."""
        return await self._ask("GET", f"/records/{segment(record_id)}")

    async def summary(self, wanted: ReportFilter) -> Row:
        """Return the summary."""
        return await self._ask("GET", "/reports/summary", params=given(wanted))

    async def list_runs(self, query: RunQuery) -> list[Row]:
        """Return runs."""
        items: list[Row] = []
        params: dict[str, Any] = given(query)
        while len(items) < query.limit:
            params["limit"] = min(query.limit - len(items), PAGE)
            page = await self._ask("GET", "/runs", params=params)
            items += page["items"]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        return items

    async def get_run(self, run_id: str) -> Row:
        """Return a run."""
        return await self._ask("GET", f"/runs/{segment(run_id)}")

    async def explain(self, run_id: str) -> Row:
        """Say why a run stands where it does."""
        return await self._ask("GET", f"/runs/{segment(run_id)}/explain")

    async def events(self, run_id: str, since: int, limit: int) -> list[Row]:
        """Return events."""
        params = {"since": since, "limit": limit}
        page = await self._ask("GET", f"/runs/{segment(run_id)}/events", params=params)
        items: list[Row] = page["items"]
        return items

    async def control(self, run_id: str, action: str, reason: str | None) -> Row:
        """Control a run."""
        body = {} if reason is None else {"reason": reason}
        return await self._ask("POST", f"/runs/{segment(run_id)}/{action}", json=body)

    async def queues(self) -> list[Row]:
        """Return the queues."""
        items: list[Row] = (await self._ask("GET", "/queues"))["items"]
        return items

    async def set_queue(self, queue: str, changes: Row) -> Row:
        """Change a queue."""
        return await self._ask("PATCH", f"/queues/{segment(queue)}", json=changes)

    async def limits(self) -> list[Row]:
        """Return the limits."""
        items: list[Row] = (await self._ask("GET", "/api/v1/workflows/limits"))["limits"]
        return items

    async def set_limit(self, name: str, changes: Row | None) -> Row:
        """Set or clear a limit."""
        path = f"/api/v1/workflows/limits/{segment(name)}"
        return await self._ask("DELETE", path) if changes is None else await self._ask("PUT", path, json=changes)

    async def drain_queue(self, queue: str) -> Row:
        """Pause a queue."""
        return await self._ask("POST", f"/queues/{segment(queue)}/drain")

    async def inbox(self, *, everybody: bool, limit: int) -> list[Row]:
        """Return questions."""
        items: list[Row] = []
        params: dict[str, Any] = {"scope": "all" if everybody else "mine"}
        while len(items) < limit:
            params["limit"] = min(limit - len(items), PAGE)
            page = await self._ask("GET", f"{WORKFLOWS}/inbox", params=params)
            items += page["items"]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        return items

    async def decide(
        self, run_id: str, step_id: str, decision: str, comment: str | None, edited_fields: Row | None
    ) -> None:
        """Answer a question."""
        body = {"comment": comment, "edited_fields": edited_fields}
        await self._ask("POST", f"{_step(run_id, step_id)}/{decision}", json=body)

    async def reassign(self, run_id: str, step_id: str, assigned_to: Sequence[str]) -> None:
        """Ask others."""
        await self._ask("POST", f"{_step(run_id, step_id)}/reassign", json={"assigned_to": list(assigned_to)})

    async def workers(self) -> Sequence[Row] | None:
        """Return nothing: the server does not say."""
        return None

    async def _ask(self, method: str, path: str, **kwargs: Any) -> Row:
        answer: Row = await self.ask(method, path, dict, **kwargs)
        return answer

    async def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Ask for a path and return the JSON of the answer, whatever it is; see ``ask``."""
        return await self.ask(method, path, object, **kwargs)

    async def ask(self, method: str, path: str, shape: type, **kwargs: Any) -> Any:
        """Return what the server answers to a request.

        Args:
            method: the HTTP method.
            path: what is asked for.
            shape: what its JSON is, a list or an object.
            kwargs: the rest of the request.

        Raises:
            Refusal: it refuses, or is no Windlass.
            Unavailable: it does not answer.
        """
        try:
            response = await self._client.request(method, path, **kwargs)
        except httpx2.TransportError as error:
            raise away(self.name, error) from error
        if response.is_error:
            raise refusal(self.name, response)
        answer = _json(response)
        if answer is None or not isinstance(answer, shape):
            raise _no_windlass(self.name, response)
        return answer


@asynccontextmanager
async def open_http(url: str, api_key: str | None) -> AsyncIterator[HttpClient]:
    """Open a client to the server at ``url``."""
    if not url.startswith(("http://", "https://")):
        bad_input(f"--url {url} is no address", "it begins with http:// or https://")
    base = url.rstrip("/")
    headers = {"X-API-Key": api_key} if api_key else {}
    async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=TIMEOUT) as client:
        yield HttpClient(client, base)


def _step(run_id: str, step_id: str) -> str:
    return f"{WORKFLOWS}/runs/{segment(run_id)}/steps/{segment(step_id)}"


def segment(name: str) -> str:
    """Return a name as one part of a path."""
    from urllib.parse import quote

    return quote(name, safe="") or "%20"


def refusal(url: str, response: httpx2.Response) -> WindlassError:
    """Return the error that a server answered."""
    answer = _json(response)
    if isinstance(answer, Mapping) and "detail" in answer and "code" in answer:
        return _detailed(url, response, answer)
    error = answer.get("error") if isinstance(answer, Mapping) else None
    if not isinstance(error, Mapping):
        if response.status_code in _LATER:
            return Unavailable(
                f"{url} is not available: it answered {response.status_code}", retry_after=_after(response)
            )
        return _no_windlass(url, response)
    message = str(error.get("message"))
    details = error.get("details")
    if isinstance(details, list):
        message = "; ".join(f"{'.'.join(map(str, issue['loc'][1:]))}: {issue['msg']}" for issue in details) or message
    if response.status_code in _LATER:
        return Unavailable(f"{url}: {message}", retry_after=_after(response))
    if response.status_code == TOO_LARGE:
        return TooLarge(message)
    return Refusal(response.status_code, str(error.get("code")), message)


def _detailed(url: str, response: httpx2.Response, answer: Mapping[str, Any]) -> WindlassError:
    """Return the error of an answer of ``/api/v1``."""
    detail = answer["detail"]
    issues = detail if isinstance(detail, list) else (answer.get("data") or {}).get("issues", ())
    message = str(detail)
    if isinstance(detail, list):
        message = "; ".join(f"{'.'.join(map(str, issue['loc'][1:]))}: {issue['msg']}" for issue in detail)
    if response.status_code in _LATER:
        return Unavailable(f"{url}: {message}", retry_after=_after(response))
    if response.status_code == TOO_LARGE:
        return TooLarge(message, issues=issues)
    return Refusal(response.status_code, str(answer["code"]), message, issues)


def away(url: str, error: httpx2.TransportError) -> Unavailable:
    """Return the error of a server that does not answer."""
    reason = _reason(error) or str(error) or type(error).__name__
    return Unavailable(f"no answer from {url}: {reason}; start a server with `windlass up`, or leave --url out")


def _reason(error: BaseException) -> str | None:
    """Return what the operating system said, which the layers above it keep to themselves."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno) if cause.errno > 0 else cause.strerror
        cause = cause.__cause__ or cause.__context__
    return None


def _json(response: httpx2.Response) -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


def _after(response: httpx2.Response) -> float:
    text = response.headers.get("retry-after", "1")
    return float(text) if text.isdigit() else 1.0


def _no_windlass(url: str, response: httpx2.Response) -> Refusal:
    return Refusal(400, "BAD_REQUEST", f"{url} answered {response.status_code}, but not as a Windlass server does")
