"""Connecting to checked addresses: a name is resolved once, each address is checked, and one of those is connected to.

No second look-up stands between the check and the connection, so a name that changes its mind in between gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpcore2

from windlass.contexts.outbound.hosts import as_address, listed
from windlass.contexts.outbound.policy import Policy, Refused

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns every address of a host; raises OSError when there is none."""

RESOLVE_SECONDS = 2.0
RESOLVER_THREADS = 8
MOST_ADDRESSES = 64
TRIED_ADDRESSES = 4


class Unresolved(httpcore2.ConnectError):
    """The host has no address, or its name servers took too long."""


class SystemResolver:
    """The machine's own resolver, on threads of its own: slow name servers hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, "windlass-dns")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return every address of a host."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return [str(row[4][0]) for row in found]

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[tuple[object, object, object, object, tuple[object, ...]]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


async def resolve(resolver: Resolver, host: str, port: int) -> list[str]:
    """Return every address of a host, each once; one that is an address already stands for itself.

    Raises:
        Unresolved: there is none, or not in time.
    """
    if as_address(host) is not None:
        return [host]
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await resolver(host, port)
    except TimeoutError:
        raise Unresolved(f"{host} was not resolved within {RESOLVE_SECONDS:g} s") from None
    except (OSError, UnicodeError):
        raise Unresolved(f"{host} has no address") from None
    addresses = list(dict.fromkeys(found))
    if not addresses:
        raise Unresolved(f"{host} has no address")
    return addresses[:MOST_ADDRESSES]


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Opens connections to addresses that the policy has seen, and to no others."""

    def __init__(
        self, policy: Policy, resolver: Resolver, *, block_private: bool = False, denied: frozenset[str] = frozenset()
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._block_private = block_private
        self._denied = denied
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check and connect.

        Raises:
            Refused: an address is private or reserved, or on a deny list.
            httpcore2.ConnectError: nothing answers at the first few addresses.
        """
        addresses = await resolve(self._resolver, host, port)
        self._policy.check_addresses(host, addresses, block_private=self._block_private)
        for address in addresses:
            if listed(address, self._denied):
                raise Refused("denylisted", f"{host} leads to {address}, which is on a deny list", host)
        failed: Exception | None = None
        for address in addresses[:TRIED_ADDRESSES]:
            if as_address(address) is None:
                raise Refused("private_address", f"{host} leads to what is no address", host)
            try:
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
        assert failed is not None  # noqa: S101  there is at least one address
        raise failed

    async def connect_unix_socket(self, path: str, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        """Refuse: nothing of this machine is spoken to."""
        raise Refused("scheme_not_allowed", f"only http and https are spoken, no socket like {path}")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
