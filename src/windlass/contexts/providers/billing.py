"""The client of the billing service: it creates a provider under a key, and looks one up by its name.

One call is one request; what to do after it failed, and when, is for the caller, who keeps it durable. Nothing of the
database is held meanwhile. The address is the operator's own, so the policy for addresses that users name is not
asked; redirects are not followed and proxies of the environment not used.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2
import orjson

from windlass.kernel.clock import from_iso
from windlass.kernel.errors import Kind, WindlassError
from windlass.kernel.telemetry import Telemetry

CONNECTIONS = 100
KEPT_CONNECTIONS = 20
MOST_BYTES = 64 * 1024
"""Of an answer; a longer one is none."""
MOST_TOLD = 500
"""Characters of an answer that are told to people."""
MOST_RETRY_AFTER = 3600.0
MOST_ID = 2**63 - 1
CALLS = "provider_service_billing_calls"
_UNCLEAR = frozenset({408, 429})
_NO_LOOKUP = frozenset({404, 405, 501})
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "windlass"}
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class BillingError(WindlassError):
    """A call of billing came to nothing."""

    code = "BILLING_FAILED"
    kind = Kind.UNAVAILABLE


class BillingRefused(BillingError):
    """Billing says no, and will say so again; ``status`` is its answer, ``detail`` its reason in its own words."""

    code = "BILLING_REFUSED"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"billing answered {status}: {detail}", status=status)
        self.status = status
        self.detail = detail


class NameTaken(BillingError):
    """Billing has a provider of this name: another's, or the one that an earlier call made."""

    code = "BILLING_NAME_TAKEN"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BillingDown(BillingError):
    """Billing gave no answer that says what became of the call; it may be repeated under the same key.

    ``reason`` says it in words, ``status`` and ``detail`` are what billing answered, if it did, ``retry_after`` the
    seconds that it asks for, and ``sent`` is False where the request has certainly not left.
    """

    code = "BILLING_DOWN"

    def __init__(
        self,
        reason: str,
        retry_after: float | None = None,
        *,
        sent: bool = True,
        status: int | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(reason, status=status)
        self.reason = reason
        self.retry_after = retry_after
        self.sent = sent
        self.status = status
        self.detail = detail or reason


class LookupNotOffered(BillingError):
    """Billing does not tell which provider has a name."""

    code = "BILLING_LOOKUP_NOT_OFFERED"

    def __init__(self) -> None:
        super().__init__("billing offers no look-up of providers by name")


@dataclass(frozen=True, slots=True)
class Created:
    """A provider that billing has made, or had made under the same key before."""

    provider_id: int


@dataclass(frozen=True, slots=True)
class Found:
    """A provider that billing has.

    ``idempotency_key`` is the one it was created under and ``created_at`` when, in microseconds since 1970 UTC; either
    is None where billing does not say.
    """

    provider_id: int
    name: str
    idempotency_key: str | None
    created_at: int | None


@dataclass(frozen=True, slots=True)
class BillingOptions:
    """Where billing is, and the seconds it may take to be connected to and to answer."""

    url: str = "http://localhost:5002"
    connect_seconds: float = 5.0
    seconds: float = 10.0


class Billing(Protocol):
    """What the saga asks of billing."""

    async def create(self, name: str, key: str) -> Created:
        """Create a provider."""
        ...

    async def find(self, name: str) -> Found | None:
        """Look a provider up by its name."""
        ...

    def retrying(self, error: BillingDown, *, attempt: int, max_retries: int | None, delay: float) -> None:
        """Hear that a call is repeated after a pause."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: float | None
    said: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "said", _told(self.body) or f"HTTP status {self.status}")


class BillingClient:
    """Speaks to billing. Its log events and its counter are those of the contract.

    Args:
        options: where it is, and how long it may take.
        telemetry: hears what is asked and what became of it.
    """

    def __init__(self, options: BillingOptions, telemetry: Telemetry) -> None:
        self._options = options
        self._base = options.url.rstrip("/")
        self._connect = min(options.connect_seconds, options.seconds)
        self._telemetry = telemetry
        self._made: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        """Close every connection."""
        made, self._made = self._made, None
        if made is not None:
            await made.aclose()

    async def create(self, name: str, key: str) -> Created:
        """Create a provider, or return the one that was created under this key.

        Raises:
            NameTaken: there is one of this name.
            BillingRefused: billing does not want it.
            BillingDown: it is not known what became of it.
        """
        self._telemetry.event("billing_service_request", level="info", action="create_provider", company=name)
        content = orjson.dumps({"name": name})
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        try:
            answer = await self._ask("POST", content=content, headers=headers)
            if answer.status == httpx2.codes.CONFLICT:
                raise NameTaken(answer.said)
            provider_id = _provider_id(_object(answer))
        except BillingError as error:
            self._failed("create", error)
            raise
        self._telemetry.event("billing_service_success", level="info", provider_id=provider_id)
        self._telemetry.count(CALLS, action="create", outcome="created")
        return Created(provider_id)

    async def find(self, name: str) -> Found | None:
        """Return the provider of exactly this name, None when billing has none.

        Raises:
            LookupNotOffered: billing does not tell.
            BillingRefused: it does not want to.
            BillingDown: it gave no answer that can be used.
        """
        self._telemetry.event("billing_service_request", level="info", action="find_provider", company=name)
        try:
            answer = await self._ask("GET", params={"name": name})
            if answer.status in _NO_LOOKUP:
                raise LookupNotOffered
            found = _find(_object(answer), name)
        except BillingError as error:
            self._failed("find", error)
            raise
        if found is not None:
            self._telemetry.event("billing_service_success", level="info", provider_id=found.provider_id)
        self._telemetry.count(CALLS, action="find", outcome="none" if found is None else "found")
        return found

    def retrying(self, error: BillingDown, *, attempt: int, max_retries: int | None, delay: float) -> None:
        """Tell that the call which ended so is repeated.

        Args:
            error: how it ended.
            attempt: which retry this will be, from 1.
            max_retries: how many there will be at most; None for as many as it takes.
            delay: the seconds until then.
        """
        said = {"attempt": attempt, "max_retries": max_retries, "delay": delay, "url": self._url}
        if error.status is not None:
            self._telemetry.event("billing_service_retry", status_code=error.status, **said)
        else:
            self._telemetry.event("billing_service_retry_exception", error=error.reason, **said)

    @property
    def _url(self) -> str:
        return f"{self._base}/provider"

    def _client(self) -> httpx2.AsyncClient:
        if self._made is None:
            self._made = httpx2.AsyncClient(
                headers=_HEADERS,
                timeout=httpx2.Timeout(self._options.seconds, connect=self._connect),
                limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=KEPT_CONNECTIONS),
                follow_redirects=False,
                trust_env=False,
            )
        return self._made

    async def _ask(self, method: str, **request: Any) -> _Answer:
        """Send one request and return its answer; one that leaves open what was done is no answer."""
        seconds = self._options.seconds
        try:
            async with asyncio.timeout(seconds):
                async with self._client().stream(method, self._url, **request) as response:
                    body = await _read(response)
        except (TimeoutError, httpx2.TimeoutException) as error:
            self._telemetry.event("billing_service_timeout", level="error", seconds=seconds, url=self._url)
            connecting = isinstance(error, httpx2.ConnectTimeout)
            reason = f"no connection within {self._connect:g} s" if connecting else f"no answer within {seconds:g} s"
            raise BillingDown(reason, sent=not isinstance(error, _NOT_SENT)) from error
        except httpx2.HTTPError as error:
            raise BillingDown(_reason(error), sent=not isinstance(error, _NOT_SENT)) from error
        except httpx2.InvalidURL as error:
            raise BillingDown(f"BILLING_SERVICE_URL: {error}", sent=False) from error
        answer = _Answer(response.status_code, body, _seconds(response.headers.get("retry-after")))
        if answer.status in _UNCLEAR or (answer.status >= 500 and answer.status != httpx2.codes.NOT_IMPLEMENTED):
            reason = f"billing answered {answer.status}: {answer.said}"
            raise BillingDown(reason, answer.retry_after, status=answer.status, detail=answer.said)
        return answer

    def _failed(self, action: str, error: BillingError) -> None:
        """Tell how a call ended that came to nothing; that it took too long has been told."""
        status: int | None = None
        match error:
            case NameTaken(detail=body):
                outcome, status = "name_taken", httpx2.codes.CONFLICT.value
            case BillingRefused(status=status, detail=body):
                outcome = "refused"
            case BillingDown(detail=body, status=status):
                late = isinstance(error.__cause__, TimeoutError | httpx2.TimeoutException)
                outcome = "timeout" if late else "down"
            case _:
                outcome, body = "not_offered", ""
        if outcome not in {"timeout", "not_offered"}:
            self._telemetry.event("billing_service_error", level="error", status=status, body=body)
        self._telemetry.count(CALLS, action=action, outcome=outcome)


async def _read(response: httpx2.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MOST_BYTES:
            raise BillingDown(f"billing's answer is larger than {MOST_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _object(answer: _Answer) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        BillingRefused: the answer is a no, or leads elsewhere.
        BillingDown: it says yes, but holds none.
    """
    if not 200 <= answer.status < 300:
        raise BillingRefused(answer.status, answer.said)
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise BillingDown(f"billing's answer is no JSON: {answer.said}") from error
    if not isinstance(found, dict):
        raise BillingDown("billing's answer is no JSON object")
    return found


def _provider_id(found: dict[str, Any]) -> int:
    value = found.get("id")
    if type(value) is not int or not 0 < value <= MOST_ID:
        raise BillingDown("billing's answer has no id that is a positive integer")
    return value


def _find(found: dict[str, Any], name: str) -> Found | None:
    """Return the provider of a name from ``{"providers": […]}``; those of other names are not what was asked for."""
    listed = found.get("providers")
    if not isinstance(listed, list):
        raise BillingDown("billing's answer has no list of providers")
    for one in listed:
        if isinstance(one, dict) and one.get("name") == name:
            key = one.get("idempotency_key")
            return Found(_provider_id(one), name, key if isinstance(key, str) else None, _moment(one.get("created_at")))
    return None


def _moment(value: object) -> int | None:
    try:
        return from_iso(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _seconds(header: str | None) -> float | None:
    """Return what ``Retry-After`` asks for when it is a number of seconds; a date would need both clocks to agree."""
    try:
        wanted = float(header or "nan")
    except ValueError:
        return None
    return min(wanted, MOST_RETRY_AFTER) if wanted >= 0 else None


def _told(body: bytes) -> str:
    """Return what an answer says: its ``detail``, ``error`` or ``message``, else its text; printable and short."""
    text: object = body.decode(errors="replace")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        text = next((found[name] for name in ("detail", "error", "message") if isinstance(found.get(name), str)), text)
    shown = "".join(character if character.isprintable() else " " for character in str(text)[: 4 * MOST_TOLD])
    return " ".join(shown.split())[:MOST_TOLD]


def _reason(error: Exception) -> str:
    """Return why there is no connection, as the machine says it: ``Connection refused``."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return str(cause.strerror)
        if isinstance(cause, OSError) and cause.errno is not None:
            return os.strerror(cause.errno)
    return str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _causes(one)
        error = error.__cause__ or error.__context__
