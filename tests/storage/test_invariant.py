"""The invariant holds in every state a run can properly be in, is found broken in every other, and can be mended."""

from collections.abc import Callable

import pytest

from tests.storage.scene import EPOCH, Scene
from windlass.engine.types import Finish, Status
from windlass.storage.invariant import CHILD_ENDED, HOLDER_DEAD, MEANINGS, NO_WAKE_UP, SIGNAL_MISSED, adrift, make_ready

LATER = EPOCH + 10**9


pytestmark = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
"""The query is SQL: the memory backend has none."""


def found(scene: Scene) -> dict[str, str]:
    """What is adrift, by run."""
    dead = scene.look(lambda tx: tx.dead_holders())
    runs = scene.backend.read(lambda connection: adrift(connection, dead))
    assert all(run.finding in MEANINGS for run in runs)
    return {run.run_id: run.finding for run in runs}


def spoil(scene: Scene, run_id: str, change: str) -> None:
    """Change a run's row behind everybody's back."""
    scene.call(lambda tx: tx.execute(f"UPDATE workflow_runs SET {change} WHERE run_id = :run_id", {"run_id": run_id}))


def parked(scene: Scene, **fields: object) -> str:
    holder = scene.holder()
    run = scene.held(holder)
    scene.park(run, holder, **fields)
    return run


def waiting_for_a_child(scene: Scene, reason: str = "child:") -> tuple[str, str, str]:
    holder = scene.holder()
    parent = scene.held(holder)
    child = scene.held(holder, parent_run_id=parent)
    scene.park(parent, holder, reason=f"child:{child}" if reason == "child:" else reason)
    return parent, child, holder


def heard_in_vain(scene: Scene) -> None:
    run = parked(scene, reason="2 things")
    scene.signal(run, "y")
    spoil(scene, run, "ready_at = NULL")


PROPER: dict[str, Callable[[Scene], object]] = {
    "ready": lambda scene: scene.start(),
    "delayed": lambda scene: scene.start(wake_at=LATER),
    "held": lambda scene: scene.held(scene.holder()),
    "asleep": lambda scene: parked(scene, reason="timer", wake_at=LATER),
    "waiting for a signal": lambda scene: parked(scene, reason="signal:x"),
    "waiting for another signal": lambda scene: parked(scene, reason="signal:y"),
    "waiting for an update": lambda scene: parked(scene, reason="update:x"),
    "waiting for several children": lambda scene: waiting_for_a_child(scene, "2 things"),
    "waiting for several signals": lambda scene: parked(scene, reason="2 things"),
    "waiting for others than the one that has come": heard_in_vain,
    "waiting for a child": waiting_for_a_child,
    "waiting for a person": lambda scene: parked(scene, reason="signal:x", status=Status.WAITING_HUMAN),
    "waiting for several people": lambda scene: parked(scene, reason="2 things", status=Status.WAITING_HUMAN),
    "waiting for a person for a while": lambda scene: parked(
        scene, reason="signal:x", wake_at=LATER, status=Status.WAITING_APPROVAL
    ),
    "decided": lambda scene: scene.signal(parked(scene, reason="signal:x", status=Status.WAITING_APPROVAL)),
    "paused": lambda scene: parked(scene, reason="paused", status=Status.PAUSED, status_reason="paused_by_user"),
    "given back": lambda scene: parked(scene, reason="signal:x", ready=True),
    "woken": lambda scene: scene.signal(parked(scene, reason="signal:x")),
    "ended": lambda scene: scene.finish(scene.held(holder := scene.holder()), holder),
}


@pytest.mark.parametrize("state", PROPER)
def test_a_run_in_a_proper_state_is_not_adrift(scene: Scene, state: str) -> None:
    PROPER[state](scene)

    assert found(scene) == {}


def test_a_run_of_a_dead_holder_is_adrift_until_it_is_taken_over(scene: Scene) -> None:
    holder = scene.holder()
    run, other = scene.held(holder), scene.held(scene.holder())
    scene.die(holder)

    assert found(scene) == {run: HOLDER_DEAD}
    scene.take_over(holder)

    assert found(scene) == {}
    assert scene.head(other).holder is not None


def test_a_run_of_a_holder_without_a_lease_is_adrift(scene: Scene) -> None:
    run = scene.held(holder := scene.holder())
    scene.call(lambda tx: tx.execute("DELETE FROM workflow_leases WHERE holder = :holder", {"holder": holder}))

    assert found(scene) == {run: HOLDER_DEAD}


def test_a_run_that_nothing_wakes_is_adrift(scene: Scene) -> None:
    lost, idle = scene.start(), parked(scene, reason="idle")
    spoil(scene, lost, "ready_at = NULL")

    assert found(scene) == {lost: NO_WAKE_UP, idle: NO_WAKE_UP}


def test_a_lost_wake_up_is_found(scene: Scene) -> None:
    signalled, decided = parked(scene, reason="signal:x"), parked(scene, reason="signal:x", status=Status.WAITING_HUMAN)
    for run in (signalled, decided):
        scene.signal(run, "x")
    parent, child, holder = waiting_for_a_child(scene)
    scene.finish(child, holder, parent_run_id=parent)
    assert found(scene) == {}

    spoil(scene, signalled, "ready_at = NULL")
    spoil(scene, decided, "ready_at = NULL, status = 'waiting_human'")
    spoil(scene, parent, f"ready_at = NULL, wait_reason = 'child:{child}'")

    assert found(scene) == {signalled: SIGNAL_MISSED, decided: SIGNAL_MISSED, parent: CHILD_ENDED}


def test_a_run_that_was_not_told_of_its_last_child_is_adrift(scene: Scene) -> None:
    parent, child, holder = waiting_for_a_child(scene, "2 things")
    scene.finish(child, holder, parent_run_id=parent)
    assert found(scene) == {}

    spoil(scene, parent, "ready_at = NULL, wait_reason = '2 things'")

    assert found(scene) == {parent: CHILD_ENDED}


def test_what_is_adrift_can_be_made_ready(scene: Scene) -> None:
    lost = parked(scene, reason="idle")
    proper = parked(scene, reason="signal:x")
    ended = scene.held(holder := scene.holder())
    scene.finish(ended, holder, Finish(Status.SUCCEEDED, outputs="1"))
    before = scene.tables()["runs"]

    mended = scene.call(lambda tx: make_ready(tx, [lost, proper, ended, "no-such-run"], scene.now))

    assert mended == 1
    assert found(scene) == {}
    assert scene.types(lost) == ["run_started", "run_requeued"]
    assert [row[0] for row in scene.tables()["runs"] if row not in before] == [lost]
    assert scene.claim(scene.holder()) == [lost]


def test_making_ready_leaves_runs_of_dead_holders_to_the_takeover(scene: Scene) -> None:
    run = scene.held(holder := scene.holder())
    scene.call(lambda tx: tx.execute("DELETE FROM workflow_leases WHERE holder = :holder", {"holder": holder}))

    assert scene.call(lambda tx: make_ready(tx, [run], scene.now)) == 0
    assert scene.head(run).holder == holder
