"""How often a caller may log in and ask for candidates, as plain ASGI; nothing else is counted.

A caller is who carries a good token or key, and else an address: of IPv6 the network of 64 bits that a subscriber has.
A window of a minute begins with a caller's first request. Processes count together in Redis or Valkey where there is
one; while that is away each counts for itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from windlass.contexts.identity.api import NotAuthenticated
from windlass.http.callers import recognised
from windlass.http.candidates import BASES
from windlass.http.responses import Json
from windlass.kernel.clock import SECOND, SystemClock
from windlass.kernel.errors import ConfigError, Unavailable
from windlass.settings import Settings

if TYPE_CHECKING:
    from limits.aio.storage import Storage
    from limits.aio.strategies import FixedWindowRateLimiter
    from redis.asyncio import ConnectionPool

LOGINS = frozenset({("POST", "/auth/login"), ("GET", "/auth/oidc/login"), ("GET", "/auth/oidc/callback")})
NETWORK_BITS = 64
ANSWER_SECONDS = 0.5
"""How long Redis may take for an answer."""
PAUSE_SECONDS = 5.0
"""How long Redis is left alone after it gave none."""
NAMESPACE = "windlass"


class Group(StrEnum):
    """What is counted together."""

    LOGIN = "login"
    WRITES = "writes"
    READS = "reads"
    ADMIN = "admin"


def group_of(method: str, path: str) -> Group | None:
    """Return what a request counts as, if it counts."""
    if (method, path) in LOGINS:
        return Group.LOGIN
    base = next((base for base in BASES if path == base or path.startswith(f"{base}/")), None)
    if base is None or method == "OPTIONS":
        return None
    if method in {"GET", "HEAD"}:
        return Group.READS
    return Group.WRITES if path == base else Group.ADMIN


class Counter:
    """Counts requests.

    Args:
        allowed: how many requests of a group a caller may send in a minute.
        redis_url: the server in which processes count together; None counts in this process.
        tell: hears that the server is away.

    Raises:
        ConfigError: the package that speaks to the server is not installed.
    """

    def __init__(self, allowed: Mapping[Group, int], redis_url: str | None, tell: Callable[..., None]) -> None:
        from limits import RateLimitItemPerMinute  # noqa: PLC0415  servers that count nothing do without it
        from limits.aio.storage import MemoryStorage  # noqa: PLC0415
        from limits.aio.strategies import FixedWindowRateLimiter  # noqa: PLC0415
        from limits.errors import StorageError  # noqa: PLC0415

        self.allowed = allowed
        self._items = {group: RateLimitItemPerMinute(most, namespace=NAMESPACE) for group, most in allowed.items()}
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._pool = None if redis_url is None else _pool(redis_url)
        self._shared = None if self._pool is None else FixedWindowRateLimiter(_storage(self._pool))
        self._away = StorageError
        self._tell = tell
        self._clock = SystemClock()
        self._again = 0.0

    async def hit(self, group: Group, caller: str) -> int | None:
        """Count a request; returns after how many seconds to try again where it is one too many."""
        if self._shared is not None and self._clock.monotonic() >= self._again:
            try:
                return await self._hit(self._shared, group, caller)
            except self._away as error:
                self._again = self._clock.monotonic() + PAUSE_SECONDS
                self._tell(str(error))
        return await self._hit(self._own, group, caller)

    async def _hit(self, limiter: FixedWindowRateLimiter, group: Group, caller: str) -> int | None:
        item = self._items[group]
        if await limiter.hit(item, group, caller):
            return None
        ends = (await limiter.get_window_stats(item, group, caller)).reset_time
        return min(max(1, math.ceil(ends - self._clock.now() / SECOND)), item.get_expiry())

    async def close(self) -> None:
        """Hang up."""
        if self._pool is not None:
            await self._pool.aclose()


def _pool(url: str) -> ConnectionPool:
    try:
        from redis.asyncio import ConnectionPool  # noqa: PLC0415  an extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError:
        raise ConfigError("REDIS_URL needs a package that is not installed: pip install 'windlass[redis]'") from None
    return ConnectionPool.from_url(
        re.sub("^valkey", "redis", url),
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _storage(pool: ConnectionPool) -> Storage:
    from limits.aio.storage import RedisStorage  # noqa: PLC0415  see Counter

    options: dict[str, Any] = {"connection_pool": pool}
    return RedisStorage("async+redis://", wrap_exceptions=True, implementation="redispy", **options)


class Rates:
    """Refuses what a caller asks for too often, before anything else of the request is looked at."""

    def __init__(self, app: ASGIApp, counter: Counter) -> None:
        self._app = app
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        group = group_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        wait = None if group is None else await self._counter.hit(group, await _caller(Request(scope), group))
        if group is None or wait is None:
            await self._app(scope, receive, send)
            return
        most = self._counter.allowed[group]
        answer = {
            "error": "rate_limit_exceeded",
            "message": f"Too many requests: {most} in a minute are allowed; try again in {wait} s",
            "retry_after": wait,
        }
        headers = {"Retry-After": str(wait), "X-RateLimit-Limit": str(most), "X-RateLimit-Remaining": "0"}
        await Json(answer, 429, headers)(scope, receive, send)


async def _caller(request: Request, group: Group) -> str:
    """Return who is counted."""
    if group is not Group.LOGIN and ("authorization" in request.headers or "x-api-key" in request.headers):
        try:
            actor = (await recognised(request)).actor
        except (NotAuthenticated, Unavailable):
            pass
        else:
            if actor.kind != "dev":
                return f"{actor.tenant_id}/{actor.user_id}"
    return _network(request.client.host if request.client is not None else "")


def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address.packed, NETWORK_BITS), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


def counter(settings: Settings, tell: Callable[..., None]) -> Counter | None:
    """Return what counts requests, or None where nothing is to be counted.

    Raises:
        ConfigError: the package that speaks to REDIS_URL is not installed.
    """
    if not settings.rate_limits_enabled:
        return None
    allowed = {
        Group.LOGIN: settings.rate_limits_login,
        Group.WRITES: settings.rate_limits_writes,
        Group.READS: settings.rate_limits_reads,
        Group.ADMIN: settings.rate_limits_admin,
    }
    url = settings.redis_url
    return Counter(allowed, None if url is None else url.get_secret_value(), tell)
