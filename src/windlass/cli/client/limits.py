"""Asking for limits: a server, or the database itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from windlass.cli.client.http import HttpClient, open_http
from windlass.cli.client.protocol import Row
from windlass.cli.exits import bad_input

if TYPE_CHECKING:
    from windlass.contexts.limits.api import Limits
    from windlass.kernel.actors import Actor

PATH = "/api/v1/workflows/quotas"
PAGE = 500


class LimitsClient(Protocol):
    """What the commands of ``windlass quotas`` ask for."""

    async def overrides(self) -> list[Row]:
        """Return limits other than the settings'."""
        ...

    async def standing(self, user_id: str) -> list[Row]:
        """Return the limits in force for a user, and what is used of them."""
        ...

    async def change(self, limit: str, value: int | None, user_id: str | None) -> Row:
        """Set a limit; None is no limit."""
        ...

    async def clear(self, limit: str, user_id: str | None) -> bool:
        """Take an override away; False: there was none."""
        ...


class HttpLimits:
    """See ``LimitsClient``."""

    def __init__(self, client: HttpClient) -> None:
        self._call = client.call

    async def overrides(self) -> list[Row]:
        """Return overrides."""
        found: list[Row] = []
        params: dict[str, Any] = {"limit": PAGE}
        while True:
            page = await self._call("GET", PATH, params=params)
            found += page["overrides"]
            if page["next_cursor"] is None:
                return found
            params["cursor"] = page["next_cursor"]

    async def standing(self, user_id: str) -> list[Row]:
        """Return what is in force."""
        found: list[Row] = (await self._call("GET", f"{PATH}/usage", params={"user_id": user_id}))["limits"]
        return found

    async def change(self, limit: str, value: int | None, user_id: str | None) -> Row:
        """Set a limit."""
        wanted: dict[str, Any] = {"unlimited": True} if value is None else {"value": value}
        whose = {} if user_id is None else {"user_id": user_id}
        made: Row = await self._call("PUT", PATH, json={"limit": limit, **wanted, **whose})
        return made

    async def clear(self, limit: str, user_id: str | None) -> bool:
        """Take an override away."""
        params = {"limit": limit, **({} if user_id is None else {"user_id": user_id})}
        return bool((await self._call("DELETE", PATH, params=params))["cleared"])


class DirectLimits:
    """See ``LimitsClient``; who may open the database may change the limits of every tenant."""

    def __init__(self, limits: Limits, tenant_id: str | None, by: Actor) -> None:
        self._limits, self._tenant_id, self._by = limits, tenant_id, by

    async def overrides(self) -> list[Row]:
        """Return overrides, of all tenants unless one is named."""
        found: list[Row] = []
        while True:
            after = [found[-1][name] for name in ("tenant_id", "user_id", "limit")] if found else []
            page = await self._limits.overrides(self._by, self._tenant_id or "*", after, PAGE)
            found += page
            if len(page) < PAGE:
                return found

    async def standing(self, user_id: str) -> list[Row]:
        """Return what is in force."""
        return await self._limits.standing(self._by, user_id, self._tenant_id)

    async def change(self, limit: str, value: int | None, user_id: str | None) -> Row:
        """Set a limit."""
        return await self._limits.change(self._by, limit, value, user_id, self._tenant_id)

    async def clear(self, limit: str, user_id: str | None) -> bool:
        """Take an override away."""
        return await self._limits.clear(self._by, limit, user_id, self._tenant_id)


@asynccontextmanager
async def open_limits(
    url: str | None, api_key: str | None, tenant: str | None, by: Actor
) -> AsyncIterator[LimitsClient]:
    """Open a client.

    Args:
        url: the server's address, or None for the database of DATABASE_URL.
        api_key: the server's key, which says whose tenant it is.
        tenant: the tenant that is meant, ``*`` for all; None is the default one, or the key's.
        by: who sits at the command line, where it works on the database.

    Raises:
        CommandError: a tenant is named to a server.
    """
    if url is not None:
        if tenant is not None:
            bad_input("--tenant is for the database itself: a server takes the tenant of the key")
        async with open_http(url, api_key) as client:
            yield HttpLimits(client)
        return
    from windlass.cli.client.direct import open_direct

    async with open_direct(creates=False) as direct:
        yield DirectLimits(direct.application.limits, tenant, by)
