"""What goes in and out: typed through pydantic, kept as JSON, the same after a replay, or refused by name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field

from tests.engine.lab import IN_MEMORY, Lab, parked, payloads
from windlass import Engine, NotSerializable, RunFailed, gather, signal, sleep, step, workflow
from windlass.kernel.errors import Invalid
from windlass.values.codec import Signature


class Colour(Enum):
    RED = "red"


class Item(BaseModel):
    name: str
    price: Decimal = Decimal(0)
    tags: set[str] = set()
    at: datetime | None = None


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    at: datetime
    pair: tuple[int, int]
    other_name: int = Field(alias="otherName")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return sum(self.pair)


@dataclass
class Point:
    x: int
    y: float


class Name(NamedTuple):
    first: str
    last: str


NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
VALUES: dict[str, tuple[Any, Any]] = {
    "none": (None, None),
    "bool": (bool, True),
    "int": (int, 2**63 - 1),
    "negative": (int, -(2**63)),
    "float": (float, 0.1),
    "text": (str, 'żółw 🐢 "quoted" \\u0000'),
    "tuple": (tuple[int, str], (1, "a")),
    "set": (set[int], {3, 1, 2}),
    "frozenset": (frozenset[str], frozenset({"b", "a"})),
    "dict": (dict[str, list[int]], {"a": [1], "b": []}),
    "int keys": (dict[int, str], {1: "a", 2: "b"}),
    "uuid": (UUID, UUID(int=7)),
    "datetime": (datetime, NOW),
    "naive datetime": (datetime, datetime(2026, 3, 1, 12)),  # noqa: DTZ001  kept as it is
    "date": (date, date(2026, 3, 1)),
    "timedelta": (timedelta, timedelta(days=1, microseconds=3)),
    "decimal": (Decimal, Decimal("12.50")),
    "bytes": (bytes, b"abc"),
    "path": (Path, Path("/tmp/x")),
    "enum": (Colour, Colour.RED),
    "model": (Item, Item(name="tea", price=Decimal("1.10"), tags={"x"}, at=NOW)),
    "models": (list[Item], [Item(name="a"), Item(name="b")]),
    "strict model": (Strict, Strict(at=NOW, pair=(1, 2), otherName=3)),
    "dataclass": (Point, Point(1, 2.5)),
    "named tuple": (Name, Name("ada", "byron")),
    "union": (int | str, "7"),
    "anything": (Any, {"a": [1, None, "x"]}),
}


@pytest.mark.parametrize("name", VALUES)
async def test_what_a_step_returns_is_the_same_after_a_replay(lab: Lab, name: str) -> None:
    kind, value = VALUES[name]
    seen: list[Any] = []

    @step
    async def make() -> kind:  # type: ignore[valid-type]
        return value  # type: ignore[no-any-return]

    @workflow
    async def keeps() -> None:
        seen.append(await make())
        await sleep(days=1)

    first = await lab.engine()
    handle = await first.start_run(keeps)
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine()
    await second.handle(handle.run_id).result(timeout=10)

    assert seen == [value, value]
    assert type(seen[0]) is type(seen[1]) is type(value)


async def test_without_a_type_live_and_replayed_are_the_same_plain_json(lab: Lab) -> None:
    seen: list[Any] = []

    @step
    async def make():  # type: ignore[no-untyped-def]
        return {"pair": (1, 2), "set": {1}, "item": Item(name="a"), 3: NOW}

    @workflow
    async def keeps() -> None:
        seen.append(await make())
        await sleep(days=1)

    first = await lab.engine()
    handle = await first.start_run(keeps)
    await parked(handle)
    await lab.crash(first)
    lab.clock.move(days=1)
    second = await lab.engine()
    await second.handle(handle.run_id).result(timeout=10)

    assert seen[0] == seen[1]
    assert seen[0]["pair"] == [1, 2]
    assert seen[0]["item"]["name"] == "a"


@pytest.mark.parametrize("name", VALUES)
async def test_what_a_run_is_given_reaches_it_as_its_type(engine: Engine, name: str) -> None:
    kind, value = VALUES[name]
    seen: list[Any] = []

    @workflow
    async def takes(given: kind) -> kind:  # type: ignore[valid-type]
        seen.append(given)
        return given

    @workflow
    async def passes() -> None:
        seen.append(await takes(value))

    await (await engine.start_run(takes, value)).result(timeout=10)
    await (await engine.start_run(passes)).result(timeout=10)

    assert seen == [value] * 3
    assert {type(each) for each in seen} == {type(value)}


async def test_plain_json_is_turned_into_the_types_asked_for(engine: Engine) -> None:
    seen: list[Any] = []

    @workflow
    async def order(item: Item, at: datetime, amount: Annotated[int, Field(gt=0)]) -> str:
        seen.extend([item, at, amount])
        return item.name

    handle = await engine.start_run(
        order,
        {"name": "tea", "price": "1.5"},
        "2026-03-01T12:00:00Z",
        "3",
    )

    assert await handle.result(timeout=10) == "tea"
    assert seen == [Item(name="tea", price=Decimal("1.5")), datetime(2026, 3, 1, 12, tzinfo=UTC), 3]


@IN_MEMORY
@pytest.mark.parametrize(
    "args,place",
    [
        (({"price": 1}, NOW, 1), "argument item: name: Field required"),
        (({"name": "tea", "price": "dear"}, NOW, 1), "argument item: price: "),
        (({"name": "tea"}, "tomorrow", 1), "argument at: "),
        (({"name": "tea"}, NOW, 0), "argument amount: Input should be greater than 0"),
    ],
)
async def test_a_wrong_type_is_refused_naming_the_argument(engine: Engine, args: tuple[Any, ...], place: str) -> None:
    @workflow
    async def order(item: Item, at: datetime, amount: Annotated[int, Field(gt=0)]) -> None: ...

    with pytest.raises(NotSerializable, match=f"input of .*order, {place}"):
        await engine.start_run(order, *args)
    assert await engine.list_runs() == []


async def test_a_wrong_output_fails_the_step_or_the_run(engine: Engine) -> None:
    @step(retries=3, backoff=0)
    async def wrong() -> int:
        return "three"  # type: ignore[return-value]

    @workflow
    async def uses() -> int:
        return await wrong()

    @workflow
    async def returns() -> Item:
        return {"price": 1}  # type: ignore[return-value]

    handle = await engine.start_run(uses)
    with pytest.raises(RunFailed, match="NotSerializable: output of step wrong: Input should be a valid integer"):
        await handle.result(timeout=10)
    assert len(await payloads(engine, handle, "step_failed")) == 1
    with pytest.raises(RunFailed, match=r"output of .*returns: name: Field required"):
        await (await engine.start_run(returns)).result(timeout=10)


def circle() -> list[Any]:
    """Return a list that holds itself."""
    loop: list[Any] = []
    loop.append(loop)
    return loop


UNKEEPABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "not a number": (lambda: math.nan, "NaN or infinity"),
    "infinity, deep down": (lambda: {"a": [1.0, (math.inf,)]}, "NaN or infinity"),
    "not a number in a set": (lambda: {"a": {math.nan}}, "NaN or infinity"),
    "not a number as a key": (lambda: {math.nan: 1}, "NaN or infinity"),
    "not a number in a dataclass": (lambda: Point(1, math.nan), "NaN or infinity"),
    "nul": (lambda: "a\0b", "NUL character"),
    "nul as a key": (lambda: {"a\0": 1}, "NUL character"),
    "half a pair": (lambda: "\ud800", "cannot be kept as JSON"),
    "half a pair as a key": (lambda: {"\udfff": 1}, "cannot be kept as JSON"),
    "huge": (lambda: 2**64, "cannot be kept as JSON"),
    "hugely negative": (lambda: [-(2**64)], "cannot be kept as JSON"),
    "an object": (object, "cannot be kept as JSON"),
    "a function": (lambda: [len], "cannot be kept as JSON"),
    "a circle": (circle, "cannot be kept as JSON"),
}


@IN_MEMORY
@pytest.mark.parametrize("name", UNKEEPABLE)
async def test_what_cannot_be_kept_is_refused_by_name(engine: Engine, name: str) -> None:
    make, why = UNKEEPABLE[name]

    @step
    async def returns() -> Any:
        return make()

    @step
    async def accepts(value: Any) -> None: ...

    @workflow
    async def child(value: Any) -> None: ...

    @workflow
    async def run(where: str) -> Any:
        if where == "output of step returns":
            return await returns()
        if where == "input of .*child":
            return await child(make())
        return make()

    @workflow
    async def waits() -> Any:
        return await signal("x")

    with pytest.raises(NotSerializable, match=f"input of .*child.*{why}"):
        await engine.start_run(child, make())
    with pytest.raises(NotSerializable, match=f"attributes.*{why}"):
        await engine.start_run(waits, attributes={"a": make()})
    waiting = await engine.start_run(waits)
    with pytest.raises(NotSerializable, match=f"payload of signal x.*{why}"):
        await waiting.signal("x", make())
    for where in ("output of step returns", "input of .*child", "output of .*run"):
        with pytest.raises(RunFailed, match=f"{where}.*{why}"):
            await (await engine.start_run(run, where)).result(timeout=10)
    await waiting.signal("x", "fine")
    assert await waiting.result(timeout=10) == "fine"


@pytest.mark.parametrize("name", ["half a pair", "huge"])
async def test_a_step_s_input_that_has_no_json_is_refused_by_name(engine: Engine, name: str) -> None:
    make, why = UNKEEPABLE[name]

    @step
    async def accepts(value: Any) -> None: ...

    @workflow
    async def run() -> None:
        await accepts(make())

    with pytest.raises(RunFailed, match=f"input of step accepts {why}"):
        await (await engine.start_run(run)).result(timeout=10)


async def test_a_step_may_be_given_objects_of_any_kind(engine: Engine) -> None:
    class Connection:
        answer = 42

    @step
    async def asks(connection: Connection, callback: Callable[[int], int]) -> int:
        return callback(connection.answer)

    @workflow
    async def run() -> list[int]:
        return await gather(asks(Connection(), abs), asks(Connection(), lambda answer: -answer))

    assert await (await engine.start_run(run)).result(timeout=10) == [42, -42]


@pytest.mark.parametrize("text", ["nul \0 in it", "half a pair \ud800 in it", "x" * 100_000, ""])
async def test_whatever_an_error_says_the_run_fails_with_it(engine: Engine, text: str) -> None:
    @step(retries=1, backoff=0)
    async def broken() -> None:
        raise ValueError(text)

    @workflow
    async def in_step() -> None:
        await broken()

    @workflow
    async def in_code() -> None:
        raise ValueError(text)

    handle = await engine.start_run(in_step)
    with pytest.raises(RunFailed, match="broken#1 failed: ValueError"):
        await handle.result(timeout=10)
    assert [failed["error_type"] for failed in await payloads(engine, handle, "step_failed")] == ["ValueError"] * 2
    handle = await engine.start_run(in_code)
    with pytest.raises(RunFailed) as caught:
        await handle.result(timeout=10)
    assert caught.value.data["error"]["type"] == "ValueError"  # type: ignore[index]


async def test_an_error_that_cannot_even_be_told_fails_the_run(engine: Engine) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("cannot be told")

    @step
    async def broken() -> None:
        raise Mute

    @workflow
    async def in_step() -> None:
        await broken()

    @workflow
    async def in_code() -> None:
        raise Mute

    for each in (in_step, in_code):
        with pytest.raises(RunFailed, match="its message cannot be told"):
            await (await engine.start_run(each)).result(timeout=10)


async def test_what_a_workflow_cannot_store_is_refused_where_it_is_called(engine: Engine) -> None:
    @workflow
    async def many(*numbers: int) -> int:
        return sum(numbers)

    @workflow
    async def options(**chosen: int) -> dict[str, int]:
        return chosen

    with pytest.raises(NotSerializable, match=r"\*numbers cannot be stored, name each argument"):
        await engine.start_run(many, 1, 2)
    assert await (await engine.start_run(options, a=1, b=2)).result(timeout=10) == {"a": 1, "b": 2}


async def test_large_values_are_kept_whole(engine: Engine) -> None:
    @step
    async def large(size: int) -> str:
        return "ä" * size

    @workflow
    async def run() -> int:
        return len(await large(1_000_000))

    assert await (await engine.start_run(run)).result(timeout=20) == 1_000_000


async def test_a_step_whose_output_nobody_can_check_is_not_executed(engine: Engine) -> None:
    executed: list[str] = []

    class Connection: ...

    @step
    async def connects() -> Connection:
        executed.append("connects")
        return Connection()

    @step
    async def imagines() -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821  the point of the test
        executed.append("imagines")

    @workflow
    async def run(which: int) -> None:
        await (connects, imagines)[which]()

    reasons = ["Unable to generate pydantic-core schema", "its type cannot be resolved: name 'Nowhere'"]
    for which, why in enumerate(reasons):
        with pytest.raises(RunFailed, match=f"output of step {('connects', 'imagines')[which]}: {why}"):
            await (await engine.start_run(run, which)).result(timeout=10)
    assert executed == []


async def test_types_that_only_the_type_checker_knows_do_no_harm_beside_the_output(engine: Engine) -> None:
    @step
    async def careless(value: "OnlyForTheTypeChecker") -> int:  # type: ignore[name-defined]  # noqa: F821
        return 2 * value  # type: ignore[no-any-return]

    @workflow
    async def run() -> int:
        return await careless(21)

    assert await (await engine.start_run(run)).result(timeout=10) == 42


@IN_MEMORY
@pytest.mark.parametrize("text", ["nul \0", "half \ud800", ""])
@pytest.mark.parametrize("field", ["run_id", "tenant_id", "owner", "key"])
async def test_what_goes_with_a_run_is_text_that_can_be_kept(engine: Engine, field: str, text: str) -> None:
    @workflow
    async def run() -> None: ...

    with pytest.raises(Invalid, match=f"{field} is 1 to 255 printable characters"):
        await engine.start_run(run, **{field: text})  # type: ignore[arg-type]


async def test_so_is_what_is_said_to_it(engine: Engine) -> None:
    @workflow
    async def waits() -> Any:
        return await signal("x")

    handle = await engine.start_run(waits)
    with pytest.raises(Invalid, match="dedup_id is 1 to 255 printable characters"):
        await handle.signal("x", 1, dedup_id="\0")
    with pytest.raises(Invalid, match="reason is 1 to 2000 characters"):
        await handle.cancel("because \ud800")
    with pytest.raises(Invalid, match="is no name"):
        await handle.signal("no name", 1)
    await handle.signal("x", 2)
    assert await handle.result(timeout=10) == 2


def test_what_code_is_given_from_a_journal_is_not_the_journal_s() -> None:
    def plain() -> Any: ...

    def number() -> int: ...  # type: ignore[empty-body]

    kept = {"list": [1]}
    Signature(plain).recalled(kept, "output")["list"].append(2)

    assert kept == {"list": [1]}
    assert [Signature(plain).recalled(one, "output") for one in ("a", None, 1.5)] == ["a", None, 1.5]
    assert Signature(number).recalled(2, "output") == 2
    with pytest.raises(NotSerializable, match="output"):
        Signature(number).recalled("two", "output")
