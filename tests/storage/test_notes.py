"""Notes: events that others write into a journal, held or not, ended or not, and that replay does not read."""

import pytest

from tests.storage.scene import BROKEN, Scene
from windlass.engine.errors import UnknownRun
from windlass.engine.history import History, whole_from
from windlass.engine.ops import CALL
from windlass.engine.ports import Transaction
from windlass.kernel.errors import Invalid
from windlass.storage.notes import note_in


def note(scene: Scene, run: str) -> int:
    return scene.call(lambda tx: note_in(tx, run, "webhook_delivery", {"host": "h", "code": 200}, scene.now))


def test_an_ended_run_gets_a_note(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.finish(run, holder)

    assert note(scene, run) == 3
    assert scene.types(run) == ["run_started", "run_ended", "webhook_delivery"]
    assert scene.head(run).status == "succeeded"
    last = scene.events(run)[-1]
    assert (last.step_id, scene.parsed(last.payload), last.at) == (None, {"host": "h", "code": 200}, scene.now)


def test_a_held_run_gets_a_note_between_its_own_events(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.batch(
        (CALL, lambda tx: note_in(tx, run, "webhook_delivery", {}, scene.now)),
        (CALL, lambda tx: note_in(tx, run, "webhook_delivery", {}, scene.now)),
    )
    scene.write(run, holder, "a")
    note(scene, run)
    scene.finish(run, holder)

    assert scene.types(run) == [
        "run_started", "webhook_delivery", "webhook_delivery", "a", "webhook_delivery", "run_ended",
    ]  # fmt: skip
    assert scene.head(run).holder is None


def test_a_note_that_is_taken_back_leaves_no_gap(scene: Scene) -> None:
    run = scene.start()

    def fail(tx: Transaction) -> None:
        note_in(tx, run, "webhook_delivery", {}, scene.now)
        raise RuntimeError

    scene.batch((CALL, fail), (CALL, lambda tx: note_in(tx, run, "webhook_delivery", {}, scene.now)))

    assert scene.types(run) == ["webhook_delivery"]


def test_a_failed_run_with_a_note_is_whole_and_can_be_retried(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.finish(run, holder, BROKEN)
    note(scene, run)

    assert whole_from(scene.events(run), scene.head(run).last_seq) == 1
    scene.control(run, "retry")
    assert scene.claim(holder) == [run]
    assert scene.types(run)[-2:] == ["webhook_delivery", "run_retried"]


def test_replay_reads_nothing_from_a_note(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    before = History(scene.events(run))
    note(scene, run)
    after = History(scene.events(run))

    assert (after.calls, after.orders) == (before.calls, before.orders)


def test_a_run_that_is_not_there_gets_none(scene: Scene) -> None:
    with pytest.raises(UnknownRun):
        note(scene, "nobody")


@pytest.mark.parametrize("kind", ["run_failed", "run_retried", "no name"])
def test_events_that_replay_reads_are_no_notes(scene: Scene, kind: str) -> None:
    run = scene.start()

    with pytest.raises(Invalid):
        scene.call(lambda tx: note_in(tx, run, kind, {}, scene.now))
    assert scene.types(run) == []
