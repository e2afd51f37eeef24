"""The workflows of the simulation. Each returns what it saw: pairs of a label and the token that came back for it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import windlass
from tests.simulation.ledger import LEDGER
from windlass import Fatal, gather, now, random, signal, sleep, step, step_info, uuid, workflow
from windlass.engine.errors import RunCancelled, RunConflict, RunFailed, SignalTimeout, StepFailed
from windlass.engine.ports import Transaction
from windlass.engine.registry import Registry
from windlass.engine.types import Status

REGISTRY = Registry()
Seen = list[list[str]]


@step
async def work(label: str) -> str:
    """Do something that takes a while."""
    token = LEDGER.get().execute(label)
    await LEDGER.get().spend()
    return token


@step()
def plain(label: str) -> str:
    """Do something in a thread."""
    return LEDGER.get().execute(label)


@step(retries=5, backoff=0.2, cap=2.0)
async def flaky(label: str, failures: int) -> str:
    """Fail so many times first, over all attempts there ever are."""
    ledger = LEDGER.get()
    token = ledger.execute(label)
    info = step_info()
    await ledger.spend()
    if ledger.attempts[info.run_id, info.path] <= failures:
        raise ValueError(f"not yet {label}")
    return token


@step(retries=1, backoff=0.1)
async def broken(label: str) -> str:
    """Fail until somebody repairs what the label names."""
    ledger = LEDGER.get()
    token = ledger.execute(label)
    await ledger.spend()
    if label in ledger.broken:
        raise RuntimeError(f"broken {label}")
    return token


@step
async def doomed(label: str) -> str:
    """Fail for good."""
    LEDGER.get().execute(label)
    await LEDGER.get().spend()
    raise Fatal(label)


@step(transactional=True, retries=8, backoff=0.1)
def effect(tx: Transaction, label: str) -> str:
    """Write a row, and sometimes stumble after that."""
    ledger = LEDGER.get()
    token = ledger.execute(label)
    info = step_info()
    tx.execute(
        "INSERT INTO effects (run_id, path, token) VALUES (:run_id, :path, :token)",
        {"run_id": info.run_id, "path": info.path, "token": token},
    )
    if ledger.chance(ledger.clumsy):
        raise RuntimeError(f"stumbled over {label}")
    return token


@step(transactional=True, retries=8, backoff=0.1)
def spawn(tx: Transaction, label: str) -> str:
    """Start a run in the step's transaction."""
    ledger = LEDGER.get()
    token = ledger.execute(label)
    ledger.engine().start_run_in(tx, "echo", label=f"{label}/echo")
    return token


@step(transactional=True, retries=8, backoff=0.1)
def tell(tx: Transaction, label: str, run_id: str, name: str) -> str:
    """Send a signal in the step's transaction, unless its receiver has ended."""
    ledger = LEDGER.get()
    token = ledger.execute(label)
    with suppress(RunConflict):
        ledger.engine().signal_in(tx, run_id, name, token)
    return token


@step(retries=8, backoff=0.1)
async def unbook(token: str, label: str) -> str:
    """Undo a booking; sometimes it takes more than once."""
    ledger = LEDGER.get()
    undone = ledger.execute(f"{label}!{token}")
    await ledger.spend()
    if ledger.chance(ledger.clumsy):
        raise RuntimeError(f"stumbled over {token}")
    return undone


@step(compensate=unbook)
async def book(label: str) -> str:
    """Do something that can be undone."""
    token = LEDGER.get().execute(label)
    await LEDGER.get().spend()
    return token


@step(transactional=True, retries=8, backoff=0.1)
def unpay(tx: Transaction, token: str, label: str) -> str:
    """Undo a payment in a transaction."""
    undone = LEDGER.get().execute(f"{label}!{token}")
    info = step_info()
    tx.execute(
        "INSERT INTO effects (run_id, path, token) VALUES (:run_id, :path, :token)",
        {"run_id": info.run_id, "path": info.path, "token": undone},
    )
    return undone


@step(transactional=True, retries=8, backoff=0.1, compensate=unpay)
def pay(_tx: Transaction, label: str) -> str:
    """Do something in a transaction that can be undone."""
    return LEDGER.get().execute(label)


def forget_pace() -> None:
    """Let no step remember how quick it was in another simulation."""
    for one in (effect, spawn, tell, pay, unpay):
        one._quick = False


@workflow(name="echo", registry=REGISTRY)
async def echo(label: str) -> Seen:
    """One step."""
    return [[label, await work(label)]]


@workflow(name="chain", registry=REGISTRY)
async def chain(label: str, steps: int) -> Seen:
    """Steps of all kinds, one after the other, with values that are recorded."""
    seen: Seen = []
    for number in range(steps):
        place = f"{label}.{number}"
        kind = number % 4
        if kind == 0:
            seen.append([place, await work(place)])
        elif kind == 1:
            seen.append([place, await plain(place)])
        elif kind == 2:
            seen.append(["value", f"{random()} {uuid()} {now().isoformat()}"])
            seen.append([place, await work(place)])
        else:
            seen.append([place, await effect(place)])
    return seen


@workflow(name="fan", registry=REGISTRY)
async def fan(label: str, width: int, failing: bool) -> Seen:
    """Branches whose steps end in any order, a map, and branches of which two fail."""
    seen: Seen = []
    for part in await gather(*(_branch(f"{label}.{place}", place) for place in range(width))):
        seen.extend(part)
    places = [f"{label}.m{place}" for place in range(width)]
    tokens = await windlass.map(work, places, limit=2)
    seen.extend([place, token] for place, token in zip(places, tokens, strict=True))
    if failing:
        seen.append(await _first_failure(label))
    return seen


async def _branch(label: str, place: int) -> Seen:
    seen = [[f"{label}.a", await work(f"{label}.a")]]
    if place % 2:
        first, second = await gather(plain(f"{label}.x"), work(f"{label}.y"))
        seen += [[f"{label}.x", first], [f"{label}.y", second]]
    if place % 3 == 2:
        await sleep(0.1 * place)
    seen.append([f"{label}.b", await work(f"{label}.b")])
    return seen


async def _first_failure(label: str) -> list[str]:
    async def deep() -> object:
        await work(f"{label}.d")
        return await gather(work(f"{label}.e"), doomed(f"{label}.f"))

    try:
        await gather(deep(), work(f"{label}.g"), doomed(f"{label}.h"), _twice(f"{label}.i"))
    except StepFailed as error:
        after = f"{label}.after {error.data['step']}"
        return [after, await work(after)]
    raise AssertionError("nothing failed")


async def _twice(label: str) -> None:
    await work(f"{label}.1")
    await doomed(f"{label}.2")


@workflow(name="failing", registry=REGISTRY)
async def failing(label: str) -> Seen:
    """End as failed."""
    await doomed(label)
    return []


@workflow(name="family", registry=REGISTRY)
async def family(label: str, depth: int) -> Seen:
    """Children one after the other, side by side and below each other; one of them fails."""
    seen = await chain(f"{label}.c", 3)
    if depth:
        parts = await gather(
            family(f"{label}.l", depth - 1), echo(f"{label}.e"), family(f"{label}.r", 0), _own(f"{label}.o")
        )
        for part in parts:
            seen.extend(part)
    try:
        seen.extend(await failing(f"{label}.f"))
    except RunFailed:
        seen.append([f"{label}.z", await work(f"{label}.z")])
    return seen


async def _own(label: str) -> Seen:
    return [[label, await work(label)]]


@workflow(name="waits", registry=REGISTRY)
async def waits(label: str, signals: int, patience: float) -> Seen:
    """Signals with a time-out, without one and side by side, and sleeps between them."""
    seen: Seen = []
    for number in range(signals):
        try:
            seen.append(["go", await _go(number, patience)])
        except SignalTimeout:
            seen.append(["late", str(number)])
        await sleep(0.4 * number)
    left, right, own, _ = await gather(signal("left"), signal("right"), _own(f"{label}.w"), sleep(2))
    seen += [["left", left], ["right", right], *own]
    try:
        await gather(signal("never", timeout=3600), doomed(f"{label}.x"), signal("last", timeout=0.2))
    except (StepFailed, SignalTimeout):
        seen.append([f"{label}.y", await work(f"{label}.y")])
    try:
        seen.append(["last", await signal("last", timeout=patience)])
    except SignalTimeout:
        seen.append(["late", "last"])
    return seen


async def _go(number: int, patience: float) -> str:
    """Wait for anybody, or for a person: with a time-out, without, and with an event that tells of it."""
    told = {"assigned_to": ["ann"]} if number % 3 else None
    status = (Status.RUNNING, Status.WAITING_HUMAN, Status.WAITING_APPROVAL)[number % 3]
    token: str = await signal("go", timeout=patience if number % 2 else None, status=status, told=told)
    return token


@workflow(name="retries", registry=REGISTRY)
async def retries(label: str) -> Seen:
    """Steps that fail a few times, and some that fail the run until they are repaired."""
    seen = [[f"{label}.a", await flaky(f"{label}.a", 2)]]
    seen.append([f"{label}.b", await broken(f"{label}.b")])
    parts = await gather(
        flaky(f"{label}.c", 1), broken(f"{label}.d"), _chained(f"{label}.e"), work(f"{label}.g"), echo(f"{label}.h")
    )
    seen += [[f"{label}.{name}", part] for name, part in zip("cdeg", parts, strict=False)]
    seen += parts[-1]
    seen.append([f"{label}.i", await effect(f"{label}.i")])
    return seen


async def _chained(label: str) -> str:
    await work(f"{label}1")
    return await broken(label)


@workflow(name="money", registry=REGISTRY)
async def money(label: str, width: int, peer: str | None) -> Seen:
    """Transactional steps, one after the other and side by side, one starting a run, one sending a signal."""
    seen = [[f"{label}.a", await effect(f"{label}.a")]]
    places = [f"{label}.{place}" for place in range(width)]
    parts: list[Any] = await gather(*(effect(place) for place in places), spawn(f"{label}.s"), work(f"{label}.w"))
    seen += [[place, part] for place, part in zip([*places, f"{label}.s", f"{label}.w"], parts, strict=True)]
    if peer is not None:
        seen.append([f"{label}.t", await tell(f"{label}.t", peer, "go")])
    await sleep(0.7)
    seen.append([f"{label}.z", await effect(f"{label}.z")])
    return seen


@workflow(name="narrow", queue="narrow", registry=REGISTRY)
async def narrow(label: str, depth: int) -> Seen:
    """A parent and its children in one queue that has very few places."""
    seen = [[f"{label}.a", await work(f"{label}.a")]]
    if depth:
        try:
            for part in await gather(narrow(f"{label}.0", depth - 1), narrow(f"{label}.1", 0)):
                seen.extend(part)
        except RunCancelled:
            seen.append(["cancelled", label])
    await sleep(0.3)
    return seen


@workflow(name="trip", registry=REGISTRY)
async def trip(label: str, width: int, failing: bool) -> Seen:
    """Bookings one after the other, side by side and below each other; when the trip fails each is undone."""
    seen = [[f"{label}.a", await book(f"{label}.a")]]
    places = [f"{label}.{place}" for place in range(width)]
    parts: list[Any] = await gather(_booked(f"{label}.d"), pay(f"{label}.p"), *(book(place) for place in places))
    seen += [[place, part] for place, part in zip([f"{label}.d", f"{label}.p", *places], parts, strict=True)]
    await sleep(0.4)
    if failing:
        await gather(_booked(f"{label}.e"), pay(f"{label}.q"), _late(f"{label}.f"))
    return seen


async def _booked(label: str) -> str:
    inner: list[str] = await gather(book(f"{label}1"), book(f"{label}2"))
    await gather(book(f"{label}3"), book(f"{label}4"))
    assert len(inner) == 2
    return await book(label)


async def _late(label: str) -> None:
    await work(label)
    await doomed(f"{label}!")


@workflow(name="saga", registry=REGISTRY)
async def saga(label: str, width: int) -> Seen:
    """A trip that succeeds, and one that is undone."""
    seen = await trip(f"{label}.t", width, False)
    try:
        await trip(f"{label}.u", width, True)
    except RunFailed:
        seen.append([f"{label}.z", await work(f"{label}.z")])
    return seen
