"""The work of an installation that moves: what it runs, what asks of it all the time, and what it did."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import psycopg

APP = '''
"""Workflows whose every step leaves a line, so that doubles show."""

import asyncio
import os

from windlass import signal, sleep, step, step_info, workflow


@step
async def effect(seconds: float = 0.0) -> None:
    """Write a line, then take a while."""
    info = step_info()
    ledger = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{info.run_id} {info.path}\\n".encode())
    os.close(ledger)
    await asyncio.sleep(seconds)


@workflow(name="moving.sleeper")
async def sleeper(seconds: float) -> str:
    await effect()
    await sleep(seconds)
    await effect()
    return "awake"


@workflow(name="moving.listener")
async def listener() -> str:
    await effect()
    said = await signal("go")
    await effect()
    return said


@workflow(name="moving.queued", queue="narrow")
async def queued(number: int) -> int:
    await effect(0.3)
    await effect()
    return number
'''
HELLO = {"id": "hello", "type": "log", "config": {"message": "hello"}}
ASKING = {
    "name": "asking",
    "steps": [
        HELLO | {"on_success": "ask"},
        {"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": "dev", "instructions": "go on?"}},
    ],
}


class Asking(threading.Thread):
    """Somebody who has records made and processed without end; what was not answered is asked again, by its key."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.client = httpx2.Client(base_url=url, timeout=30)
        self.made: dict[str, str] = {}
        self.refused: list[httpx2.Response] = []
        self.over = threading.Event()
        self._number = 0

    def run(self) -> None:
        """Ask until it is over."""
        while not self.over.wait(0.005):
            self.ask(f"key-{self._number}")

    def ask(self, key: str) -> None:
        """Have one record made and processed."""
        body = {"source": "load", "category": "metrics", "payload": {"key": key}}
        try:
            answer = self.client.post("/records", json=body, headers={"Idempotency-Key": key})
        except httpx2.TransportError:
            return
        if answer.status_code == 503:
            self.refused.append(answer)
            return
        assert answer.status_code == 201, answer.text
        found = answer.json()
        record_id: str = found["data"]["id"] if "data" in found else found["id"]
        self.made[key] = record_id
        self._number += 1
        self.client.post(f"/records/{record_id}/process")

    def close(self) -> None:
        """Ask no more."""
        self.over.set()
        self.client.close()

    def go_to(self, url: str) -> None:
        """Ask at another place from now on."""
        self.close()
        self.client = httpx2.Client(base_url=url, timeout=30)


def effects(folder: Path) -> Counter[str]:
    """Return how often each step was done."""
    return Counter((folder / "ledger").read_text().splitlines())


def here(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask the old database."""
    with sqlite3.connect(path) as raw:
        found = raw.execute(query).fetchall()
    raw.close()
    return found


def there(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """Ask the new one."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query).fetchall()
