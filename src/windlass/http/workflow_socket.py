"""The WebSocket that follows a run: a snapshot, then each event as it is written, and a heartbeat while nothing is."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from windlass.engine.engine import Engine
from windlass.engine.types import Event
from windlass.http.callers import caller
from windlass.http.errors import answer_windlass
from windlass.http.query import Parameter, free, read_query
from windlass.http.workflow_history import STREAM, chosen, shown
from windlass.http.workflow_runs import PREFIX, runs
from windlass.kernel.actors import RUNS_READ, Actor, Forbidden
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import Issue, NotFound, ValidationFailed, WindlassError

SOCKET: list[Parameter] = [free("run_id", "Which run"), *STREAM]
BEARER = "bearer"
"""The subprotocol after which a browser, which can send no header, offers its token."""
ERROR = 1011
REFUSED = 1008
_DENIAL = "websocket.http.response"


async def socket(websocket: WebSocket) -> None:
    """Follow the events of a run from number ``since`` on, those of ``types`` alone where some are named.

    It stays open when the run has ended: a failed one may be retried. Who may not follow is answered with the
    HTTP status and body of any other route, before the handshake is complete. A token in the address is refused: it
    would stand in every log on the way. So is a page of another site: a browser lets any page open a WebSocket.
    """
    offered = websocket.scope["subprotocols"]
    request = _as_request(websocket, offered)
    try:
        asked, actor = await _admit(request)
        run = await runs(request).get(actor, asked["run_id"])
        if run.owner != actor.user_id and not actor.administers_workflows:
            raise NotFound("Run not found")
    except WindlassError as error:
        if _DENIAL in websocket.scope.get("extensions", {}):
            await websocket.send_denial_response(answer_windlass(request, error))
        else:
            await websocket.close(REFUSED)
        return
    await websocket.accept(BEARER if BEARER in offered else None)
    leaving = asyncio.create_task(_left(websocket))
    speaking = asyncio.create_task(_speak(websocket, run.run_id, run.status, asked))
    try:
        await asyncio.wait([leaving, speaking], return_when=asyncio.FIRST_COMPLETED)
        if not leaving.done():
            await websocket.close(ERROR)
    finally:
        for task in (leaving, speaking):
            task.cancel()
        await asyncio.gather(leaving, speaking, return_exceptions=True)


async def _admit(request: Request) -> tuple[dict[str, Any], Actor]:
    """Return what is asked and by whom.

    Raises:
        ValidationFailed, NotAuthenticated, Forbidden: it may not be; says why.
    """
    asked = read_query(request, SOCKET)
    if not asked["run_id"]:
        raise ValidationFailed([Issue(("query", "run_id"), "Field required", "missing")])
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Forbidden("Forbidden: a page of another site")
    actor = await caller(request)
    actor.require(RUNS_READ)
    return asked, actor


def _as_request(websocket: WebSocket, offered: list[str]) -> Request:
    """Return the handshake as the request it is, with the token that was offered as a subprotocol in its header."""
    headers = list(websocket.scope["headers"])
    if BEARER in offered and offered[-1] != BEARER and "authorization" not in websocket.headers:
        headers.append((b"authorization", f"Bearer {offered[offered.index(BEARER) + 1]}".encode("latin-1")))
    return Request({**websocket.scope, "type": "http", "method": "GET", "headers": headers}, websocket.receive)


async def _left(websocket: WebSocket) -> None:
    """Wait until the client has left; what it says until then is not listened to."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return


async def _speak(websocket: WebSocket, run_id: str, status: str, asked: dict[str, Any]) -> None:
    engine: Engine = websocket.app.state.application.engine
    types = frozenset(asked["types"])
    try:
        await _say(websocket, {"type": "snapshot", "run": {"run_id": run_id, "status": status}})
        async for news in engine.follow(run_id, asked["since"]):
            for frame in chosen(news, news.each(_frame), types):
                await websocket.send_text(frame)
            if not news:
                await _say(websocket, {"type": "heartbeat", "ts": to_iso(engine.clock.now())})
    except WebSocketDisconnect:
        return


def _frame(event: Event) -> str:
    told = shown(event)
    told["ts"] = told.pop("created_at")
    return orjson.dumps(told).decode()


async def _say(websocket: WebSocket, frame: dict[str, Any]) -> None:
    await websocket.send_text(orjson.dumps(frame).decode())


def sockets() -> list[WebSocketRoute]:
    """Return the WebSocket routes."""
    return [WebSocketRoute(f"{PREFIX}/ws", socket)]
