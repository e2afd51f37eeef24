"""The WebSocket of a run: a real server process that carries nothing out, a worker beside it, a real client."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.support.service import Service, running_service
from windlass.bootstrap import run_application
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, Actor
from windlass.settings import Settings

BASE = "/api/v1/workflows"
OPERATOR = Actor("operator", "ann", role="admin", kind="operator")
WORD = "correct horse"
KEY = "keeper-key"
SECRET = "s" * 40
ASKING: dict[str, Any] = {
    "name": "socket.asking",
    "steps": [{"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": "dev"}}],
}


@pytest.fixture
async def service(tmp_path: Path, database_url: str) -> AsyncIterator[Service]:
    """A server that holds no run, and in this process a worker that does; ann and bob may read and control."""
    own: dict[str, Any] = {"api_key": KEY, "jwt_secret_key": SECRET, "auth_mode": "multi_user"}
    async with run_application(Settings(database_url=database_url, **own), worker=True) as worker:
        for name in ("ann", "bob"):
            await worker.identity.add_user(OPERATOR, name, WORD, permissions=[RUNS_READ, RUNS_CONTROL])
        environment = {name.upper(): text for name, text in own.items()} | {"DATABASE_URL": database_url}
        with running_service(tmp_path, "--no-worker", command="serve", environment=environment) as running:
            yield running


class Caller:
    """Somebody who speaks to a server."""

    def __init__(self, service: Service, name: str) -> None:
        answer = httpx2.post(f"{service.url}/auth/login", data={"username": name, "password": WORD})
        self.token: str = answer.json()["access_token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}
        self._base = service.url + BASE
        self._ws = service.url.replace("http", "ws", 1) + f"{BASE}/ws"

    def call(self, method: str, path: str, **body: Any) -> Any:
        json = body if method == "POST" else None
        answer = httpx2.request(method, self._base + path, json=json, headers=self.headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def connect(self, query: str, **options: Any) -> connect:
        return connect(f"{self._ws}?{query}", **{"additional_headers": self.headers, **options})

    async def refused(self, query: str, **options: Any) -> tuple[int, str]:
        """Return status and code with which a handshake is refused."""
        with pytest.raises(InvalidStatus) as caught:
            await self.connect(query, **options)
        response = caught.value.response
        return response.status_code, orjson.loads(response.body)["code"]


async def frames(socket: ClientConnection, last: str) -> list[dict[str, Any]]:
    """Return frames up to one of this type."""
    found: list[dict[str, Any]] = []
    while not found or last not in {found[-1].get("type"), found[-1].get("event_type")}:
        found.append(orjson.loads(await socket.recv()))
    return found


async def refusals(service: Service, ann: Caller) -> None:
    """Who may not follow is told so before the handshake is complete; who may, may."""
    bob = Caller(service, "bob")
    run_id = ann.call("POST", "/run?mode=async", definition={**ASKING, "name": "socket.private"})["run_id"]
    mine = f"run_id={run_id}"
    nobody: dict[str, Any] = {"additional_headers": {}}

    assert await bob.refused(mine) == (404, "NOT_FOUND")
    assert await ann.refused("run_id=nothing") == (404, "NOT_FOUND")
    assert await ann.refused("") == (422, "VALIDATION_ERROR")
    assert await ann.refused(mine, **nobody) == (401, "UNAUTHORIZED")
    assert await ann.refused(mine, additional_headers={"Authorization": "Bearer a.b.c"}) == (401, "UNAUTHORIZED")
    assert await ann.refused(f"{mine}&token={ann.token}", **nobody) == (422, "VALIDATION_ERROR")
    assert await ann.refused(mine, origin="https://elsewhere.example") == (403, "FORBIDDEN")
    async with ann.connect(mine, origin=service.url) as own_page:
        assert (await frames(own_page, "snapshot"))[0]["run"]["run_id"] == run_id
    async with bob.connect(mine, additional_headers={"X-API-Key": KEY}) as keeper:
        assert (await frames(keeper, "snapshot"))[0]["run"]["run_id"] == run_id


async def test_a_run_is_followed_while_another_process_carries_it_out(service: Service) -> None:
    ann = Caller(service, "ann")
    run_id = ann.call("POST", "/run?mode=async", definition=ASKING)["run_id"]
    async with ann.connect(f"run_id={run_id}") as socket:
        before = await frames(socket, "waiting_approval")
        beat = (await frames(socket, "heartbeat"))[-1]
        httpx2.post(
            f"{service.url}{BASE}/runs/{run_id}/steps/ask/approve", json={}, headers={"X-API-Key": KEY}
        ).raise_for_status()
        after = await frames(socket, "run_completed")
        assert (await frames(socket, "heartbeat"))[-1]["type"] == "heartbeat", "open after the end: it may be retried"

        assert before[0]["type"] == "snapshot"
        assert (before[0]["run"]["run_id"], set(beat)) == (run_id, {"type", "ts"})
        events = ann.call("GET", f"/runs/{run_id}/events")
        told = [frame for frame in before + after if "event_seq" in frame]
        assert [(one["event_seq"], one["event_type"], one["payload"], one["ts"]) for one in told] == [
            (one["event_seq"], one["event_type"], one["payload"], one["created_at"]) for one in events
        ]

        since = before[-1]["event_seq"]
        offered = {"additional_headers": {}, "subprotocols": [Subprotocol("bearer"), Subprotocol(ann.token)]}
        async with ann.connect(f"run_id={run_id}&since={since}", **offered) as resumed:
            assert resumed.subprotocol == "bearer"
            assert [one for one in await frames(resumed, "run_completed") if "event_seq" in one] == [
                one for one in told if one["event_seq"] > since
            ]
        async with ann.connect(f"run_id={run_id}&types=run_started,run_completed") as chosen:
            assert [one.get("event_type") for one in await frames(chosen, "run_completed")] == [
                None, "run_started", "run_completed",
            ]  # fmt: skip

        await refusals(service, ann)
        service.process.send(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            await frames(socket, "no such frame")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    service.process.wait_ended()
