"""What a check finds: the runs that a change would strand, where and why, and none for a change beside them."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tests.deploy.releases import SHOP, recorded, release
from tests.engine.lab import Lab, parked
from windlass.bootstrap import run_application
from windlass.deploy.checking import Stranded, Why, examine
from windlass.engine.registry import Registry, default_registry
from windlass.kernel.errors import Invalid
from windlass.replay.recordings import OWN, Recording, read_all
from windlass.settings import Settings

ORDER = '@workflow(name="shop.order", registry=registry)'


@pytest.fixture
async def waiting(lab: Lab) -> Recording:
    """An order that waits to be shipped."""
    engine = await lab.engine(registry=release(SHOP))
    handle = await engine.start_run("shop.order", "card", ["a", "b"])
    await parked(handle)
    found = await recorded(engine, handle.run_id)
    while found.events[-1].type != "signal_awaited":
        await parked(handle)
        found = await recorded(engine, handle.run_id)
    await lab.stop(engine)
    return found


UNRELATED = [
    ("async def order(", "# to be shipped\nasync def order("),
    ("receipt", "paper"),
    ('return "receipt"', 'raise RuntimeError("replays call no step")'),
    ('    return await charge("other")', '    return (await charge("other")) + await charge("more")'),
    ("@step(retries=2)", "@step(retries=9, timeout=60)"),
    ("timeout=86400", "timeout=60"),
    ("    return [receipt, bill, *packed]", "    return [receipt, bill, *packed, await charge(card)]"),
    ("return await charge(card)\n", "return await charge(card) + await charge(card)\n"),
    (ORDER, ORDER.replace("registry=", 'priority=5, queue="orders", registry=')),
    ("    receipt = await charge(card)", "    print(end='')\n    receipt = await charge(card)"),
]


async def test_an_unrelated_change_strands_no_run(waiting: Recording) -> None:
    found = {change: examine(waiting, release(SHOP, change)) for change in UNRELATED}

    assert found == dict.fromkeys(UNRELATED)
    assert examine(replace(waiting, workflow="records.process"), release(SHOP)) is None


DEF = "async def order(card: str, items: list[str]) -> list[str]:\n"
SECOND = (ORDER, ORDER.replace("registry=", 'version="2", registry='))
CHARGE = "    receipt = await charge(card)"
SIGNAL = "signal:shipped#1"
STRANDING = [
    ([('name="shop.order"', 'name="shop.orders"')], Why.WORKFLOW_GONE, None, "no workflow shop.order", "cancel"),
    ([SECOND], Why.VERSION_UNKNOWN, None, "not registered; there is 2", "deploy migrate RUN --to-version 2"),
    ([SECOND, (DEF, f"{DEF}    await pack(card)\n")], Why.VERSION_UNKNOWN, None, "version 1 is not registered",
     "register version 1 beside 2 again; or windlass deploy fork RUN --from-step charge#1 --to-version 2"),
    ([(DEF, DEF.replace("]) ->", "], to: str) ->"))], Why.INPUT_REFUSED, None, "to", "of its own"),
    ([(CHARGE, f'    await pack("x")\n{CHARGE}')], Why.DIVERGED, "charge#1", "where the code calls 'pack#1'",
     "patched(), or give it a version of its own beside the old code; or windlass deploy fork RUN --from-step c"),
    ([(CHARGE, CHARGE.replace("card", 'card + "!"'))], Why.DIVERGED, "charge#1", "another input", "patched()"),
    ([("pack(item) for item in items", "pack(item) for item in items[1:]")], Why.DIVERGED, "g1.0/pack#1",
     "another input", "--from-step g1.0/pack#1"),
    ([("    bill = await invoice(card)", '    bill = ""')], Why.DIVERGED, "shop.invoice#1", SIGNAL, "fork"),
    ([('    await signal("shipped", timeout=86400)\n', "")], Why.DIVERGED, SIGNAL, "", "fork"),
    ([("    packed = await", "    packed = 1 / 0\n    packed = await")], Why.DIVERGED, "g1.0/pack#1", "failed", "fork"),
    ([('    await signal("shipped"', '    raise ValueError("no")\n    await signal("shipped"')], Why.DIVERGED, SIGNAL,
     "failed", "fork"),
]  # fmt: skip


async def test_what_would_strand_is_told_with_the_place_and_a_way_out(waiting: Recording) -> None:
    for changes, why, where, detail, advice in STRANDING:
        found = examine(waiting, release(SHOP, *changes))
        assert found is not None, changes
        assert (found.run_id, found.workflow, found.version) == (waiting.run_id, "shop.order", "1")
        assert (found.why, found.where) == (why, where), found
        assert detail in found.detail, found
        assert advice in found.advice.replace(waiting.run_id, "RUN"), found


async def test_every_part_of_a_journal_goes_on_with_the_same_code_and_a_gap_is_told(waiting: Recording) -> None:
    def cut(start: int, end: int) -> Stranded | None:
        return examine(replace(waiting, events=waiting.events[start:end]), release(SHOP))

    assert [cut(0, end) for end in range(len(waiting.events) + 1)] == [None] * (len(waiting.events) + 1)
    begun = next(event.seq for event in waiting.events if event.type == "step_completed")
    broken = release(SHOP, ("    packed = await", "    packed = 1 / 0\n    packed = await"))
    fails = examine(replace(waiting, events=waiting.events[:begun]), broken)
    assert fails is not None
    assert (fails.why, "ZeroDivisionError" in fails.detail) == (Why.FAILS, True)
    lost = cut(1, len(waiting.events))
    assert lost is not None
    assert (lost.why, lost.advice) == (Why.NOT_WHOLE, "export its whole journal")


async def test_a_run_that_is_bound_to_no_version_is_tried_on_the_newest(waiting: Recording) -> None:
    fresh = Recording("r", "shop.order", "", "queued", waiting.inputs, ())

    assert examine(fresh, release(SHOP)) is None
    refused = examine(fresh, release(SHOP, ("card: str, items", "card: int, items")))
    assert refused is not None
    assert refused.why is Why.INPUT_REFUSED


async def test_recordings_are_files_of_lines_that_are_read_with_care(waiting: Recording, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(waiting.line() + b"\n" + waiting.line())
    (tmp_path / "b.ndjson").write_bytes(waiting.line())
    (tmp_path / "c.txt").write_text("something else")
    assert list(read_all(tmp_path)) == [waiting] * 3
    assert list(read_all(tmp_path / "b.ndjson")) == [waiting]

    said = orjson.loads(waiting.line())
    for change, complaint in (
        ({"format": 2}, "format 2"), ({"more": 1}, "more"), ({"events": [{"seq": 1}]}, "payload"),
        ({"run_id": 5}, "run_id"), ({"events": 5}, "iterable"),
    ):  # fmt: skip
        (tmp_path / "b.ndjson").write_bytes(orjson.dumps(said | change))
        with pytest.raises(Invalid, match=r"b\.ndjson, line 1: .*" + complaint):
            list(read_all(tmp_path))
    (tmp_path / "b.ndjson").write_text("[]")
    with pytest.raises(Invalid, match="object"):
        list(read_all(tmp_path))


async def test_the_workflows_of_windlass_itself_are_known_by_name(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'w.db'}")
    async with run_application(settings, worker=False) as application:
        known = set(application.engine.registry) - set(default_registry)
        assert known <= OWN
        assert {name.partition(".")[0] for name in OWN} == {name.partition(".")[0] for name in known}
    assert isinstance(application.engine.registry, Registry)
