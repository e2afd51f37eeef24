"""The demo billing as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windlass.demo.billing.faults import Faults, Switch
from windlass.demo.billing.store import KeyReused, NameTaken, Provider, Store

MOST_BYTES = 64 * 1024
MOST_KEY = 255
MOST_ID = 2**63 - 1
Drop = Callable[[Scope], None]
"""Breaks the connection of a request."""
Tell = Callable[[str], None]
"""Hears a line about each call."""


class _Company(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=255, pattern=r"\S")


class _Bad(Exception):
    """The request cannot be understood."""


def _no(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)


def _shown(provider: Provider) -> dict[str, Any]:
    return asdict(provider)


async def _read(request: Request, model: type[BaseModel]) -> Any:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise _Bad(f"the body is larger than {MOST_BYTES} bytes")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _Bad(": ".join([*map(str, first["loc"]), first["msg"]])) from None


class Billing:
    """The routes over a store and the faults that are on."""

    def __init__(self, store: Store, switch: Switch) -> None:
        self._store = store
        self._switch = switch

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route("/provider", self.create, methods=["POST"]),
            Route("/provider", self.find, methods=["GET"]),
            Route("/provider/{provider_id:int}", self.rename, methods=["PUT"]),
            Route("/bill/{provider_id:int}", self.bill, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/faults", self.faults, methods=["GET", "PUT"]),
        ]

    async def create(self, request: Request) -> Response:
        """Create a provider; once for a key, however often it is asked to."""
        company = await _read(request, _Company)
        key = request.headers.get("idempotency-key") if self._switch.faults.keys else None
        if key is not None and not 1 <= len(key) <= MOST_KEY:
            raise _Bad(f"Idempotency-Key: it has 1 to {MOST_KEY} characters")
        try:
            provider_id, repeated = self._store.create(company.name, key)
        except KeyReused:
            return _no(422, "Idempotency-Key was used with another body")
        except NameTaken:
            return _no(409, "Provider name must be unique")
        return JSONResponse({"id": provider_id}, 201, {"Idempotent-Replayed": "true"} if repeated else None)

    async def find(self, request: Request) -> Response:
        """List the one provider of a name, or none."""
        if not self._switch.faults.lookup:
            return _no(404, "Not Found")
        name = request.query_params.get("name")
        if name is None:
            return _no(400, "name: it is missing")
        found = self._store.find(name)
        return JSONResponse({"providers": [] if found is None else [_shown(found)]})

    async def rename(self, request: Request) -> Response:
        """Give a provider another name."""
        company = await _read(request, _Company)
        provider_id = request.path_params["provider_id"]
        try:
            known = provider_id <= MOST_ID and self._store.rename(provider_id, company.name)
        except NameTaken:
            return _no(409, "Provider name must be unique")
        return JSONResponse({"id": provider_id, "name": company.name}) if known else _no(404, "Provider not found")

    async def bill(self, request: Request) -> Response:
        """Tell a provider's name, and that there is nothing to pay: this billing writes no bills."""
        provider_id = request.path_params["provider_id"]
        found = self._store.get(provider_id) if provider_id <= MOST_ID else None
        if found is None:
            return _no(404, "Provider not found")
        return JSONResponse({"id": found.id, "name": found.name, "sessionCount": 0, "products": [], "total": 0})

    async def health(self, _request: Request) -> Response:
        """Say that it is well, whatever faults are on, and how many providers there are."""
        return JSONResponse({"status": "healthy", "service": "demo-billing", "providers": self._store.count()})

    async def faults(self, request: Request) -> Response:
        """Tell the faults, after switching to those of the body; what it does not name is off."""
        if request.method == "PUT":
            self._switch.set(await _read(request, Faults))
        return JSONResponse(self._switch.faults.model_dump())


class Faulty:
    """Around the routes: lets calls of providers and bills take long or fail, as the faults say."""

    def __init__(self, app: ASGIApp, switch: Switch, drop: Drop, tell: Tell) -> None:
        self._app = app
        self._switch = switch
        self._drop = drop
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or not."""
        if scope["type"] != "http" or not scope["path"].startswith(("/provider", "/bill")):
            await self._app(scope, receive, send)
            return
        faults = self._switch.faults
        kind = self._switch.choose()
        if faults.slow:
            await asyncio.sleep(faults.slow)
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if kind is None:
                await send(message)

        if kind is None or kind.works:
            await self._app(scope, receive, told)
        done = f"{scope['method']} {scope['path']} {status or 'not done'}"
        self._tell(done if kind is None else f"{done}, told as {'nothing' if kind.drops else faults.status}")
        if kind is None:
            return
        if kind.drops:
            self._drop(scope)
            while (await receive())["type"] != "http.disconnect":
                continue
            return
        headers = None if faults.retry_after is None else {"Retry-After": f"{faults.retry_after:g}"}
        failed = JSONResponse({"detail": f"a fault that was asked for: {kind}"}, faults.status, headers)
        await failed(scope, receive, send)


async def _refuse(_request: Request, error: Exception) -> Response:
    return _no(400, str(error))


def create_app(store: Store, switch: Switch, drop: Drop, tell: Tell) -> ASGIApp:
    """Return the application.

    Args:
        store: where the providers are.
        switch: the faults that are on.
        drop: breaks the connection of a request.
        tell: hears a line about each call.
    """
    app = Starlette(routes=Billing(store, switch).routes(), exception_handlers={_Bad: _refuse})
    return Faulty(app, switch, drop, tell)
