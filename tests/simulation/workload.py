"""What clients do in a simulation: they start runs, speak to them, and remember what was acknowledged."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.simulation.documents import FOLLOWER, RUN
from tests.simulation.world import World
from windlass.engine.engine import Engine
from windlass.engine.errors import RunConflict, UnknownRun
from windlass.engine.starting import Start
from windlass.engine.types import ControlResult
from windlass.kernel.errors import Unavailable
from windlass.kernel.lanes import lane_of
from windlass.testing.simulation.faults import Away, Refused
from windlass.testing.simulation.process import Process, ProcessGone

T = TypeVar("T")

TROUBLE = (ProcessGone, Unavailable, OSError, Away, Refused, sqlite3.OperationalError)
"""What a client takes as: try again, somewhere else, nobody knows what became of it."""


class Unsure(Exception):
    """The call may have been carried out, or not."""


@dataclass
class Client:
    """One user, with one root run.

    A ``patient`` one starts its run once and waits. ``signals`` and ``effects`` hold what was acknowledged;
    ``cancelled`` says that a cancellation was sent, ``surely`` that it was applied.
    """

    world: World
    shape: str
    label: str
    inputs: dict[str, Any]
    options: dict[str, Any]
    dice: random.Random
    run_ids: set[str] = field(default_factory=set)
    signals: set[str] = field(default_factory=set)
    effects: set[str] = field(default_factory=set)
    patient: bool = False
    cancelled: bool = False
    surely: bool = False
    sent: int = 0

    @property
    def run_id(self) -> str:
        """The run that was acknowledged."""
        return next(iter(self.run_ids))

    @property
    def key(self) -> str | None:
        """The idempotency key of the start, if it has one."""
        return self.options.get("idempotency_key")

    async def _somewhere(self) -> Process:
        await self.world.somebody()
        return self.dice.choice(self.world.up)

    async def ask(self, work: Callable[[Engine], Awaitable[T]], *, give_up: float | None = None) -> T:
        """Call any process once.

        Raises:
            Unsure: nobody knows whether it happened.
        """
        try:
            return await self.world.call(await self._somewhere(), work, give_up=give_up)
        except TROUBLE as error:
            raise Unsure from error

    async def insist(self, work: Callable[[Engine], Awaitable[T]]) -> T:
        """Call until there is an answer; the call must be harmless when repeated."""
        while True:
            try:
                return await self.ask(work)
            except Unsure:
                await asyncio.sleep(0.3 * self.dice.random())

    # starting
    async def start(self) -> None:
        """Start the run, until it is acknowledged; with a key any number of times."""
        hasty = not self.patient
        while not self.run_ids:
            label = f"{self.label}~{self.sent}" if self.key is None else self.label
            self.sent += 1
            give_up = 0.01 * self.dice.random() if hasty and self.dice.random() < 0.15 else None
            calls = [self._start(label, give_up)]
            if hasty and self.key is not None and self.dice.random() < 0.4:
                calls.append(self._start(label, None))
            await asyncio.gather(*calls)
            self.label_used = label
        if hasty and self.key is not None and self.dice.random() < 0.3:
            await self._start(self.label, None)

    async def _start(self, label: str, give_up: float | None) -> None:
        try:
            run_id = await self.ask(lambda engine: self._started(engine, label), give_up=give_up)
        except Unsure:
            return
        self.run_ids.add(run_id)
        self.world.trace(f"client {label} has {run_id[-6:]} acknowledged")

    async def _started(self, engine: Engine, label: str) -> str:
        if self.shape != RUN:
            own = Start(self.shape, kwargs={"label": label, **self.inputs}, lane=self.lane, **self.options)
            return (await engine.begin(engine.request(own))).run_id
        given = {"digest": self.inputs["digest"], "inputs": {"label": label}, "secrets": [], "callers": []}
        start = Start(self.shape, kwargs=given, on_end=FOLLOWER, lane=self.lane, **self.options)
        return (await engine.begin(engine.request(start))).run_id

    @property
    def lane(self) -> str:
        """Return which limits its runs share: every third client's do, with few others."""
        said = self.label.removeprefix(self.shape)
        number = int(said) if said.isdigit() else 1
        return "" if number % 3 else lane_of("ab"[number % 2], self.shape, "key" if number % 4 == 0 else "", 1)

    # speaking
    async def limit(self, queue: str, limit: int) -> None:
        """Limit a queue."""
        await self.insist(lambda engine: engine.set_queue(queue, limit=limit))

    async def order(self, run_id: str, action: str) -> ControlResult:
        """Send a control call to any run until it is acknowledged."""
        return await self.insist(lambda engine: engine.control(run_id, action))

    async def control(self, action: str) -> ControlResult | None:
        """Send a control call until it is acknowledged or refused; None when refused."""
        try:
            answer = await self.insist(lambda engine: engine.control(self.run_id, action))
        except RunConflict as conflict:
            self.world.trace(f"client {self.label} {action}: {conflict}")
            return None
        self.world.trace(f"client {self.label} {action}: {answer.result}")
        return answer

    async def signal(self, name: str, *, keyed: bool = True) -> bool:
        """Send a signal until it is acknowledged, or once when it has no id; was it?"""
        number = len(self.signals) + self.sent * 1000
        self.sent += 1
        token = f"{name}-{self.label}-{number}"

        def send(engine: Engine) -> Awaitable[bool]:
            return engine.signal(self.run_id, name, token, dedup_id=token if keyed else None)

        try:
            if keyed:
                await self.insist(send)
            else:
                await self.ask(send)
        except (RunConflict, Unsure):
            return False
        self.signals.add(token)
        return True

    async def decide(self) -> None:
        """Send a decision, again when the run had failed in that moment and is going to be repaired."""
        while not await self.signal("decision"):
            if self.world.checks.status(self.run_id) in {"succeeded", "cancelled"} or not self.inputs.get("broken"):
                return
            await asyncio.sleep(0.3)

    async def write(self) -> None:
        """Write a row through ``transact``, once."""
        token = f"row-{self.label}-{self.sent}"
        self.sent += 1
        sql = "INSERT INTO effects (run_id, path, token) VALUES ('', '', :token)"
        try:
            await self.ask(lambda engine: engine.transact(lambda tx: bool(tx.execute(sql, {"token": token}))))
        except Unsure:
            return
        self.effects.add(token)

    async def pause_and_resume(self) -> None:
        """Pause the run for a while; whatever comes of it, it is resumed in the end."""
        paused = await self.control("pause")
        if paused is None:
            return
        await asyncio.sleep(2 * self.dice.random() ** 2)
        await self.resume()

    async def resume(self) -> None:
        """Resume until the run is acknowledged to be going on."""
        while True:
            try:
                answer = await self.insist(lambda engine: engine.control(self.run_id, "resume"))
            except RunConflict as conflict:
                if conflict.data["status"] in {"succeeded", "failed", "cancelled"}:
                    return
                await asyncio.sleep(0.2)
                continue
            self.world.trace(f"client {self.label} resume: {answer.result}")
            return

    async def cancel(self) -> None:
        """Cancel the run."""
        self.cancelled = True
        answer = await self.control("cancel")
        if answer is not None and answer.result in {"applied", "already_applied"}:
            self.surely = True

    async def repair(self) -> None:
        """Repair what is broken and retry the run when it has failed, until it has not."""
        broken = self.world.ledger.broken
        while True:
            status = self.world.checks.status(self.run_id)
            if status in {"succeeded", "cancelled"}:
                return
            if status == "failed":
                mine = sorted(label for label in broken if label.startswith(f"{self.label_used}."))
                if mine:
                    broken.discard(self.dice.choice(mine))
                await self.control("retry")
            await asyncio.sleep(0.3)

    async def look(self) -> None:
        """Read the run from anywhere; waits for its end now and then."""
        try:
            if self.dice.random() < 0.5:
                await self.ask(lambda engine: engine.get_run(self.run_id))
            else:
                await self.ask(lambda engine: engine.result(self.run_id, timeout=1.0))
        except (Unsure, UnknownRun, TimeoutError):
            return
        except Exception as error:
            if type(error).__name__ not in {"RunFailed", "RunCancelled"}:
                raise

    label_used: str = ""
