"""Approvals in the machine room: a billing service in its world, administrators who disagree, and crashes anywhere."""

from __future__ import annotations

import asyncio
import importlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.simulation.chaos import Chaos, rates
from tests.simulation.checks import Violation
from tests.simulation.scenario import MakeStore
from tests.simulation.sites import SimMemory
from tests.simulation.sqlite_site import SimSqlite
from tests.simulation.workload import TROUBLE
from tests.simulation.world import World
from tests.support.billing import FakeBilling, Fate
from windlass.contexts.providers import rows
from windlass.contexts.providers.approvals import ApprovalRules, Sagas
from windlass.contexts.providers.model import (
    AlreadyDecided,
    ApprovalExpired,
    Approved,
    BillingFailed,
    Candidate,
    Modified,
    NewCandidate,
    NoReview,
    ProviderTaken,
    SecondNeeded,
)
from windlass.contexts.providers.outcomes import Parts
from windlass.contexts.providers.tables import candidates
from windlass.engine.engine import Engine
from windlass.engine.errors import RunConflict, UnknownRun
from windlass.engine.ports import Transaction
from windlass.engine.registry import Registry
from windlass.engine.types import TERMINAL
from windlass.kernel.actors import Actor
from windlass.kernel.telemetry import Silent
from windlass.storage.memory.store import MemoryStore
from windlass.testing.simulation.faults import Fate as CommitFate
from windlass.testing.simulation.process import SimClock

T = TypeVar("T")
REGISTRY = Registry()
ROOM: ContextVar[Room] = ContextVar("room")
BAD = tuple(fate for fate in Fate if fate is not Fate.WELL)
TRIGGER: str = importlib.import_module("windlass.migrations.versions.0019_candidates").SQLITE_TRIGGER
CALM_SECONDS = 3000.0
REFUSALS = (Modified, ApprovalExpired, BillingFailed, SecondNeeded, NoReview, ProviderTaken)
PEOPLE = [Actor(str(number), name, role="admin") for number, name in enumerate(("ann", "ben"))]


@dataclass(frozen=True)
class Nature:
    """How billing is: see ``FakeBilling``."""

    honours_keys: bool
    tells_keys: bool
    tells_names: bool = True


NATURES = (Nature(True, True), Nature(False, True), Nature(False, False), Nature(False, False, tells_names=False))


class Clock:
    """The world's."""

    def now(self) -> int:
        return ROOM.get().world.clock.now()

    def monotonic(self) -> float:
        return ROOM.get().world.clock.monotonic()


class Elsewhere:
    """The billing of the world that asks."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ROOM.get().billing, name)


def _audit(_tx: Transaction, _actor: Actor, _action: str, _target: str, _before: object, _after: object) -> None:
    """Keep no log."""


PARTS = Parts(Elsewhere(), Clock(), Silent(), _audit)


def _memory(clock: SimClock) -> SimMemory:
    store = MemoryStore(clock)
    made = SimMemory(store)
    with store.turn():
        store.raw.execute("BEGIN")
        candidates.create(store.sql)
        store.raw.execute(TRIGGER)
        store.raw.execute("COMMIT")
    return made


def _sqlite(_clock: SimClock) -> SimSqlite:
    made = SimSqlite()
    made._look.execute(TRIGGER)
    return made


STORES: dict[str, MakeStore] = {"memory": _memory, "sqlite": _sqlite}


@dataclass
class Room:
    """One world with its billing, and those who decide about some candidates."""

    world: World
    nature: Nature
    dice: random.Random
    second: bool = False
    billing: FakeBilling = field(init=False)
    names: dict[str, str] = field(default_factory=dict)
    sagas: dict[str, Sagas] = field(default_factory=dict)
    given_up: str | None = None

    def __post_init__(self) -> None:
        nature = self.nature
        self.billing = FakeBilling(
            self.world.clock.now, nature.honours_keys, nature.tells_keys, nature.tells_names, spend=self._spend
        )

    async def _spend(self) -> None:
        await asyncio.sleep(0.2 * self.dice.random() ** 3)

    def _sagas(self, engine: Engine) -> Sagas:
        known = self.sagas.get(engine.worker.holder)
        if known is None:
            rules = ApprovalRules(wait_seconds=20.0, second=self.second, expires_hours=0.01)
            known = self.sagas[engine.worker.holder] = Sagas(engine, PARTS, rules)
        return known

    async def ask(self, work: Callable[[Engine], Awaitable[T]]) -> T | None:
        """Call any process; None when nobody knows what became of it."""
        await self.world.somebody()
        try:
            return await self.world.call(self.dice.choice(self.world.up), work)
        except TROUBLE:
            await asyncio.sleep(0.3)
            return None

    async def register(self, candidate_id: str, name: str) -> None:
        """Register a candidate."""
        wanted = NewCandidate(name, f"{candidate_id}@example.com", None, ("apples",), 1, 1, None)

        def write(tx: Transaction) -> bool:
            if rows.get(tx.connection, candidate_id) is None:
                rows.insert(tx, candidate_id, "default", wanted, self.world.clock.now())
            return True

        while not await self.ask(lambda engine: engine.transact(write)):
            pass
        self.names[candidate_id] = name

    async def look(self, candidate_id: str) -> Candidate:
        """Return a candidate."""
        while True:
            found = await self.ask(lambda engine: engine.transact(lambda tx: rows.have(tx.connection, candidate_id)))
            if found is not None:
                return found

    async def decide(self, candidate_id: str, actor: Actor, patience: float, *, once: bool = False) -> None:
        """Approve a candidate, in whatever way, until it is decided; ``once``: reject it when that fails."""
        dice = self.dice
        while True:
            wait, action = once or dice.random() < 0.6, dice.random()
            try:
                if action < 0.04 and patience:
                    await self._reject(candidate_id, actor)
                elif action < 0.1 and patience:
                    await self._cancel(candidate_id)
                elif action < 0.2 and patience:
                    await self._rename(candidate_id)
                else:
                    done = await self.ask(
                        lambda engine, wait=wait: self._sagas(engine).approve(  # type: ignore[misc]
                            actor, candidate_id, version=None, wait=wait
                        )
                    )
                    if isinstance(done, Approved):
                        return
            except AlreadyDecided:
                return
            except BillingFailed:
                if once:
                    await self._reject(candidate_id, actor)
            except REFUSALS:
                pass
            if await self._is_decided(candidate_id, actor, patience):
                return
            await asyncio.sleep(0.2 + patience * dice.random())

    async def _is_decided(self, candidate_id: str, actor: Actor, patience: float) -> bool:
        """Look whether a candidate is decided, and settle what waits for a person, or has waited enough."""
        found = await self.look(candidate_id)
        state = None if found.approval is None else found.approval.state
        if found.status == "pending" and state == "needs_review":
            await self.review(candidate_id, actor)
        elif state == "waiting_for_billing" and patience and self.dice.random() < 0.8:
            await self._settle(candidate_id, actor, None)
        return found.status != "pending"

    async def give_up(self, candidate_id: str, actor: Actor) -> None:
        """Approve a candidate without waiting, give that up once billing stays away, and approve it after all."""
        state: str | None = None
        while state != "waiting_for_billing":
            try:
                await self.ask(
                    lambda engine: self._sagas(engine).approve(actor, candidate_id, version=None, wait=False)
                )
            except Modified:
                await asyncio.sleep(1)
            found = await self.look(candidate_id)
            state = None if found.approval is None else found.approval.state
        while state == "waiting_for_billing":
            await self._settle(candidate_id, actor, None)
            found = await self.look(candidate_id)
            state = None if found.approval is None else found.approval.state
            self.given_up = found.status
        await self.decide(candidate_id, actor, 0.0)

    async def _reject(self, candidate_id: str, _actor: Actor) -> None:
        now = self.world.clock.now()
        await self.ask(
            lambda engine: engine.transact(lambda tx: rows.reject(tx, "default", candidate_id, None, "no", now))
        )

    async def _cancel(self, candidate_id: str) -> None:
        found = await self.look(candidate_id)
        approval = found.approval
        if approval is not None:
            try:
                await self.ask(lambda engine: engine.control(approval.run_id, "cancel"))
            except (RunConflict, UnknownRun):
                return

    async def outsider(self, seconds: float) -> None:
        """Make providers under names of candidates now and then, as somebody does who is none of ours.

        Where billing tells no keys, and an answer of ours was lost, nobody could tell his from ours.
        """
        until = self.world.loop.time() + seconds
        while self.world.loop.time() < until:
            await asyncio.sleep(seconds * self.dice.random())
            name = self.dice.choice(list(self.names.values()))
            self.billing.make(f"{name}{self.dice.choice(('', ' 1'))}", "nobody's")

    async def _rename(self, candidate_id: str) -> None:
        """Change the company's name a little, or to another's; nobody may do so while an approval is under way."""
        now, own = self.world.clock.now(), f"{self.names[candidate_id]} {self.dice.randint(1, 2)}"
        name = self.dice.choice([own, *self.names.values()])
        change = {"company_name": name}
        await self.ask(
            lambda engine: engine.transact(lambda tx: rows.change(tx, "default", candidate_id, None, change, now))
        )

    async def review(self, candidate_id: str, actor: Actor) -> None:
        """Do what a person does: look into billing's books, then adopt the candidate's provider or release it."""
        await asyncio.sleep(30)  # long enough for what billing still had to do
        self.billing.catch_up()
        own = [one.provider_id for one in self.billing.providers.values() if one.key.startswith(candidate_id)]
        await self._settle(candidate_id, actor, own[0] if own else None)

    async def _settle(self, candidate_id: str, actor: Actor, provider_id: int | None) -> None:
        try:
            await self.ask(
                lambda engine: self._sagas(engine).review(actor, candidate_id, version=None, provider_id=provider_id)
            )
        except (AlreadyDecided, *REFUSALS):
            return

    # the end
    async def rest(self, work: Sequence[asyncio.Task[None]]) -> None:
        """Wait until everybody has decided and every run has ended.

        Raises:
            Violation: something never ends.
        """
        deadline = self.world.loop.time() + CALM_SECONDS
        while True:
            heads = list(self.world.store.heads().values())
            open_runs = [head for head in heads if head.status not in TERMINAL]
            if not open_runs and all(task.done() for task in work):
                break
            if self.world.loop.time() > deadline:
                raise Violation(f"these never end: {open_runs}, {[task for task in work if not task.done()]}")
            for head in open_runs:
                if head.status_reason == "poisoned":
                    await self.ask(lambda engine, head=head: engine.control(head.run_id, "resume"))  # type: ignore[misc]
            await asyncio.sleep(1)
        for task in work:
            task.result()

    async def verify(self) -> None:
        """Check that candidates and billing agree.

        Raises:
            Violation: they do not.
        """
        owners: dict[int, str] = {}
        for candidate_id in self.names:
            found = await self.look(candidate_id)
            made = [one for one in self.billing.providers.values() if one.key.startswith(candidate_id)]
            said = f"{found} with {made}"
            if len(made) > 1:
                raise Violation(f"two providers: {said}")
            if found.status == "rejected" and (bool(made) > (found.approval is not None)):
                raise Violation(f"rejected, and billing has one: {said}")
            if found.approval is not None and found.status != "rejected":
                raise Violation(f"left under way: {said}")
            if found.status == "approved" and [one.provider_id for one in made] != [found.provider_id]:
                raise Violation(f"approved with another's provider: {said}")
            if found.status == "pending":
                raise Violation(f"still pending: {said}")
            if found.provider_id is not None and owners.setdefault(found.provider_id, candidate_id) != candidate_id:
                raise Violation(f"shared: {said}")


def drill(
    nature: Nature,
    backend: str,
    script: Sequence[Fate],
    fate: CommitFate | None = None,
    commit: int = 0,
    *,
    once: bool = False,
    giving_up: bool = False,
) -> bool:
    """Approve one candidate whose calls of billing meet ``script``, with ``fate`` at one commit; was there such a one?

    With ``once`` it is rejected when the approval comes to nothing; ``giving_up``: the first one does not wait, and
    is given up while billing stays away.

    Raises:
        Violation: candidate and billing do not agree.
    """
    world = World(f"approval {nature} {script}", STORES[backend], REGISTRY)

    async def history(world: World) -> None:
        room = Room(world, nature, world.dice_for("room"))
        ROOM.set(room)
        roles: list[dict[str, Any]] = [{"worker": True, "concurrency": 10, "threads": 4}] * 2
        chaos = Chaos(world, world.dice_for("chaos"), roles)
        for role in roles:
            world.boot(**role)
        replace = world.loop.create_task(chaos.replace())
        room.billing.fates = deque(script)
        if fate is not None:
            world.faults.appointed[commit] = fate
        await room.register("one", "Fresh Fruit")
        deciding = room.give_up("one", PEOPLE[0]) if giving_up else room.decide("one", PEOPLE[0], 0.0, once=once)
        await room.rest([world.loop.create_task(deciding)])
        room.billing.catch_up()
        await room.verify()
        if giving_up != (room.given_up == "pending"):
            raise Violation(f"given up as {room.given_up}")
        chaos.over = True
        await replace

    _live(world, history, f"{nature} on {backend}: {script}, {fate} at commit {commit}")
    return fate is not None and commit not in world.faults.appointed


def simulate(seed: int, backend: str | MakeStore) -> World:
    """Live through one seed: candidates of which some share a name, and administrators who approve, reject and cancel.

    Raises:
        Violation: candidates and billing do not agree.
    """
    world = World(f"approvals {seed}", STORES[backend] if isinstance(backend, str) else backend, REGISTRY)

    async def history(world: World) -> None:
        dice = world.dice_for("room")
        room = Room(world, dice.choice(NATURES), dice, second=dice.random() < 0.3)
        ROOM.set(room)
        roles = [{"worker": True, "concurrency": dice.choice([2, 50]), "threads": 4} for _ in range(2)]
        chaos = Chaos(world, world.dice_for("chaos"), roles)
        for role in roles:
            world.boot(**role)
        world.faults.rates = rates(dice)
        likely = dice.choice([0.0, 0.4, 0.7])
        room.billing.fate = lambda: dice.choice(BAD) if dice.random() < likely else Fate.WELL
        twins = dice.random() < 0.4
        for number in range(dice.randint(1, 4)):
            await room.register(f"c{number}", f"Company {number // 2 if twins else number}")
        reign = world.loop.create_task(chaos.reign(dice.choice([0.4, 2.0])))
        replace = world.loop.create_task(chaos.replace())
        work = [world.loop.create_task(room.decide(each, actor, 1.0)) for each in room.names for actor in PEOPLE]
        if room.nature.tells_keys and dice.random() < 0.6:
            work.append(world.loop.create_task(room.outsider(6.0)))
        await asyncio.sleep(dice.choice([4.0, 10.0]))
        chaos.over = True
        await asyncio.gather(reign, replace)
        chaos.calm()
        room.billing.fate = lambda: Fate.WELL
        await room.rest(work)
        room.billing.catch_up()
        await room.verify()

    _live(world, history, f"approvals {seed} on {backend}")
    return world


def _live(world: World, history: Callable[[World], Awaitable[None]], what: str) -> None:
    try:
        world.run(history)
    except Violation as violation:
        violation.add_note(what)
        raise
