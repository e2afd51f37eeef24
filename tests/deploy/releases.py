"""Releases of a user's code: modules as text, so that a change is a change of text."""

from types import ModuleType
from typing import Any

import orjson

from windlass import Registry
from windlass.engine.engine import Engine
from windlass.replay.recordings import Recording

SHOP = """
from windlass import gather, signal, step, workflow


@step(retries=2)
async def charge(card: str) -> str:
    return "receipt"


@step
def pack(item: str) -> str:
    return item


@workflow(name="shop.invoice", registry=registry)
async def invoice(card: str) -> str:
    return await charge(card)


@workflow(name="shop.order", registry=registry)
async def order(card: str, items: list[str]) -> list[str]:
    receipt = await charge(card)
    packed = await gather(*(pack(item) for item in items))
    bill = await invoice(card)
    await signal("shipped", timeout=86400)
    return [receipt, bill, *packed]


@workflow(name="shop.other", registry=registry)
async def other() -> str:
    return await charge("other")
"""


def release(text: str, *changes: tuple[str, str]) -> Registry:
    """The workflows of a text after some changes, each of which changes something."""
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    module: Any = ModuleType("released")
    module.registry = Registry()
    exec(compile(text, "released.py", "exec"), module.__dict__)  # noqa: S102  a user's release
    registry: Registry = module.registry
    return registry


async def recorded(engine: Engine, run_id: str) -> Recording:
    """A run as an export writes it."""
    run = await engine.get_run(run_id)
    events = await engine.events(run_id)
    line = Recording(
        run_id, run.name, run.interface_version, run.status, orjson.dumps(run.inputs).decode(), tuple(events)
    ).line()
    return Recording.read(line)
