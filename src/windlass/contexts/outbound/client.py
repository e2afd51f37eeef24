"""The client for requests to other hosts. It knows no proxies, no cookies and no credentials of the environment."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import httpcore2

from windlass.contexts.outbound.network import GuardedNetwork, Resolver, SystemResolver, Unresolved
from windlass.contexts.outbound.policy import Narrower, Policy, Purpose, Target, parse
from windlass.kernel.errors import Kind, WindlassError

MOST_BYTES = 1024 * 1024
CONNECTIONS = 100
USER_AGENT = "windlass"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TURNED_INTO_GET = frozenset({301, 302, 303})
PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
"""Not sent on when a redirect leads to another host, port or scheme."""
_OF_BODY = frozenset({"content-type", "content-length", "content-encoding"})
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade", "te"})


class OutboundError(WindlassError):
    """A request came to nothing; ``data["reason"]`` says why in a word."""

    code = "OUTBOUND_FAILED"
    kind = Kind.UNAVAILABLE
    reason = "network_error"

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=self.reason)


class OutboundTimeout(OutboundError):
    """It took too long."""

    reason = "timeout"


class HostUnknown(OutboundError):
    """The host has no address now."""

    reason = "unresolved"


class ResponseTooLarge(OutboundError):
    """The answer is larger than what was asked for."""

    reason = "response_too_large"


class TooManyRedirects(OutboundError):
    """The answer leads on and on."""

    reason = "too_many_redirects"


class BadHeader(OutboundError):
    """A header cannot be sent."""

    reason = "bad_header"


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    ``seconds`` is for all of it, redirects and the reading of the answer too. Of the answer ``most_bytes`` are read;
    a longer one is cut when ``cut`` is set, else an error. ``private_headers`` (lower case) are those beside the usual
    ones that are not sent on to another host, ``body_headers`` (likewise) those that say something of the body: they go
    with it where a redirect makes a GET of the request.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    seconds: float = 10.0
    most_bytes: int = MOST_BYTES
    cut: bool = False
    redirects: int = 0
    tenant: str = "default"
    purpose: Purpose = Purpose.GENERAL
    narrower: Narrower | None = None
    private_headers: frozenset[str] = frozenset()
    body_headers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``headers`` are in lower case, of two with one name the first counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def ok(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300


class Outbound:
    """Sends requests that the policy allows.

    Args:
        policy: the rules.
        resolver: finds the addresses of hosts; the machine's by default.
        tls: which certificates are believed; the machine's by default.
    """

    def __init__(self, policy: Policy, *, resolver: Resolver | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.policy = policy
        self._own = SystemResolver() if resolver is None else None
        self._resolver: Resolver = resolver or self._own or SystemResolver()
        self._tls = tls
        self._pools: dict[tuple[bool, frozenset[str]], httpcore2.AsyncConnectionPool] = {}

    async def close(self) -> None:
        """Close every connection."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.aclose()
        if self._own is not None:
            self._own.close()

    async def request(self, call: Call) -> Answer:
        """Send a request and read its answer; every hop is checked like the first.

        Raises:
            Refused: the policy does not allow it, here or where it leads to.
            OutboundError: it came to nothing; its ``reason`` says why.
        """
        headers = checked(call.headers)
        try:
            async with asyncio.timeout(call.seconds):
                return await self._follow(call, headers)
        except TimeoutError:
            raise OutboundTimeout(f"no answer within {call.seconds:g} s") from None

    async def _follow(self, call: Call, headers: list[tuple[str, str]]) -> Answer:
        method, url, body = call.method, call.url, call.body
        left = call.redirects
        while True:
            target = self.policy.check(url, call.tenant, call.purpose, call.narrower)
            answer = await self._once(call, method, url, target, headers, body)
            location = answer.headers.get("location")
            if not call.redirects or answer.status not in REDIRECTS or location is None:
                return answer
            if not left:
                raise TooManyRedirects(f"more than {call.redirects} redirects")
            left -= 1
            url = urljoin(url, location)
            if answer.status in TURNED_INTO_GET and method not in {"GET", "HEAD"}:
                method, body = "GET", b""
                gone = _OF_BODY | call.body_headers
                headers = [(name, value) for name, value in headers if name.lower() not in gone]
            if parse(url).origin != target.origin:
                kept = PRIVATE_HEADERS | call.private_headers
                headers = [(name, value) for name, value in headers if name.lower() not in kept]

    async def _once(
        self, call: Call, method: str, url: str, target: Target, headers: list[tuple[str, str]], body: bytes
    ) -> Answer:
        request = httpcore2.Request(
            method,
            httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.target),
            headers=[*_own_headers(target, method, headers, body), *_encoded(headers)],
            content=body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), call.seconds)},
        )
        try:
            async with self._connections(call) as connections:
                response = await connections.handle_async_request(request)
                try:
                    content = await _read(response, call)
                finally:
                    await response.aclose()
        except Unresolved as error:
            raise HostUnknown(str(error)) from error
        except httpcore2.TimeoutException as error:
            raise OutboundTimeout(f"no answer within {call.seconds:g} s") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise OutboundError(_told(error, target.host)) from error
        return Answer(response.status, _decoded(response.headers), content, url)

    @asynccontextmanager
    async def _connections(self, call: Call) -> AsyncIterator[httpcore2.AsyncConnectionPool]:
        """Yield connections that were checked as this request wants it.

        Those of a tenant's rules stay open for the next; what a step forbids beside them it forbids for itself alone.
        """
        narrow = call.narrower is not None and call.narrower.block_private
        usual = self.policy.denied_addresses(call.tenant, call.purpose)
        denied = self.policy.denied_addresses(call.tenant, call.purpose, call.narrower)
        if denied == usual:
            yield self._pool(block_private=narrow, denied=usual)
            return
        async with self._new_pool(block_private=narrow, denied=denied) as pool:
            yield pool

    def _pool(self, *, block_private: bool, denied: frozenset[str] = frozenset()) -> httpcore2.AsyncConnectionPool:
        """Return connections; those that were checked by other rules have a pool of their own."""
        key = (block_private, denied)
        if key not in self._pools:
            self._pools[key] = self._new_pool(block_private=block_private, denied=denied)
        return self._pools[key]

    def _new_pool(self, *, block_private: bool, denied: frozenset[str]) -> httpcore2.AsyncConnectionPool:
        return httpcore2.AsyncConnectionPool(
            ssl_context=self._tls, max_connections=CONNECTIONS, max_keepalive_connections=20, keepalive_expiry=15.0,
            network_backend=GuardedNetwork(self.policy, self._resolver, block_private=block_private, denied=denied),
        )  # fmt: skip


async def _read(response: httpcore2.Response, call: Call) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_stream():
        size += len(part)
        if size > call.most_bytes:
            if call.cut:
                parts.append(part[: len(part) - (size - call.most_bytes)])
                break
            raise ResponseTooLarge(f"the answer is larger than {call.most_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def checked(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return headers that can be sent, each name once whatever its case.

    Raises:
        BadHeader: a name is none, a value holds what ends a header, or it is one that the connection sets itself.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, value in headers.items():
        plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not plain or name.lower() in _OURS:
            raise BadHeader(f"{name[:100]!r} is no header that can be set")
        if not (value.isascii() and (value == "" or value.isprintable())):
            raise BadHeader(f"header {name}: its value is not printable ASCII")
        found[name.lower()] = (name, value.strip())
    return list(found.values())


def _own_headers(
    target: Target, method: str, headers: Iterable[tuple[str, str]], body: bytes
) -> Iterable[tuple[bytes, bytes]]:
    yield b"Host", target.authority.encode()
    yield b"Accept-Encoding", b"identity"
    names = {name.lower() for name, _ in headers}
    if "accept" not in names:
        yield b"Accept", b"*/*"
    if "user-agent" not in names:
        yield b"User-Agent", USER_AGENT.encode()
    if body or method in {"POST", "PUT", "PATCH"}:
        yield b"Content-Length", str(len(body)).encode()


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def _told(error: Exception, host: str) -> str:
    """Return what went wrong in words without addresses: those behind a name are nobody's business."""
    match error:
        case httpcore2.ConnectError():
            tls = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))
            return f"the certificate of {host} is not believed" if tls else f"{host} cannot be connected to"
        case httpcore2.ProtocolError():
            return f"{host} does not speak HTTP"
        case _:
            return f"the connection to {host} broke"


def _causes(error: BaseException) -> Iterable[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
