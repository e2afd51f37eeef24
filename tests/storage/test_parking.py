"""Runs that wait in the database: for the time, a signal, a child. Promise 6."""

import pytest

from tests.storage.scene import BROKEN, DONE, EPOCH, Scene
from windlass.engine.control import SIGNAL
from windlass.engine.errors import RunConflict, UnknownRun
from windlass.engine.journal import ADVANCE, START
from windlass.engine.types import Park, StartRequest, Status


def parked(scene: Scene, **fields: object) -> str:
    holder = scene.holder()
    run = scene.held(holder)
    assert scene.park(run, holder, **fields) is None
    return run


def test_a_parked_run_is_a_row_and_nothing_else(scene: Scene) -> None:
    run = parked(scene, reason="timer", wake_at=EPOCH + 100)

    view = scene.view(run)
    assert (view.status, view.wait_reason, view.holder) == ("running", "timer", None)
    assert scene.head(run).wake_at == EPOCH + 100
    assert scene.claim(scene.holder()) == []


def test_events_ride_along_with_a_park(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    scene.write(run, holder, "timer_started", park=Park("timer", EPOCH + 5))

    assert scene.types(run) == ["run_started", "timer_started"]
    assert scene.head(run).holder is None


def test_a_park_is_refused_when_something_has_come(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.signal(run, "known")
    heard = frozenset(row.inbox_id for row in scene.inbox(run))
    scene.signal(run, "news", payload='{"a":1}')
    scene.signal(run, "more")

    news = scene.write(run, holder, "timer_started", park=Park("signal:x", heard=heard))

    assert [(row.name, scene.parsed(row.payload)) for row in news] == [("news", {"a": 1}), ("more", 1)]
    assert (scene.head(run).holder, scene.view(run).wait_reason) == (holder, None)
    assert scene.types(run) == ["run_started", "timer_started"]
    assert scene.write(run, holder, park=Park("signal:x", heard=heard | {row.inbox_id for row in news})) is None
    assert scene.head(run).holder is None


def test_a_refused_park_leaves_its_neighbours_alone(scene: Scene) -> None:
    holder = scene.holder()
    runs = [scene.held(holder) for _ in range(3)]
    scene.signal(runs[1])

    answers = scene.batch(*((ADVANCE, scene.advance(run, holder, park=Park("signal:x"))) for run in runs))

    assert [None if answer is None else [row.name for row in answer] for answer in answers] == [None, ["x"], None]
    assert [scene.head(run).holder for run in runs] == [None, holder, None]


def test_what_is_consumed_with_the_park_is_no_news(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.signal(run)

    consumed = [row.inbox_id for row in scene.inbox(run)]
    assert scene.write(run, holder, "signal_received", consumed=consumed, park=Park("timer", EPOCH + 9)) is None

    assert scene.inbox(run) == []
    assert scene.head(run).wake_at == EPOCH + 9


def test_a_worker_that_shuts_down_parks_whatever_has_come(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.signal(run)

    assert scene.park(run, holder, ready=True) is None

    (claimed,) = scene.claimed(scene.holder())
    assert [row.name for row in claimed.inbox] == ["x"]


def test_a_pause_does_not_wait_for_signals_to_be_heard(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.signal(run)

    assert scene.park(run, holder, status=Status.PAUSED, status_reason="paused_by_user") is None

    assert (scene.view(run).status, scene.view(run).status_reason) == ("paused", "paused_by_user")
    assert scene.claim(scene.holder()) == []


def test_a_pause_does_not_hide_a_cancellation(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    assert scene.control(run, "cancel").result == "sent"

    news = scene.park(run, holder, status=Status.PAUSED)

    assert [row.kind for row in news] == ["cancel"]
    assert (scene.head(run).holder, scene.view(run).status) == (holder, "running")


def test_a_signal_wakes_a_parked_run(scene: Scene) -> None:
    run = parked(scene, wake_at=EPOCH + 100)
    scene.later(0.00002)

    assert scene.signal(run) is True

    assert list(scene.rung("ready")) == [run]
    head = scene.head(run)
    assert (head.ready_at, head.claim_rank) == (scene.now, 0)
    (claimed,) = scene.claimed(scene.holder())
    assert [row.name for row in claimed.inbox] == ["x"]


def test_a_second_signal_does_not_cost_a_woken_run_its_place(scene: Scene) -> None:
    run = parked(scene)
    scene.signal(run)
    ready_at = scene.head(run).ready_at
    scene.later()
    scene.signal(run)

    assert scene.head(run).ready_at == ready_at
    assert len(scene.inbox(run)) == 2


def test_a_signal_rings_the_holder_of_a_held_run(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    scene.batch((SIGNAL, scene.signal_request(run, "x", payload='{"a":1}')))

    (ring,) = scene.rings
    assert (ring.kind, ring.run_id, ring.holder) == ("inbox", run, holder)
    assert ring.inbox is not None
    assert (ring.inbox.kind, ring.inbox.name, ring.inbox.payload) == ("signal", "x", '{"a":1}')
    assert [row.inbox_id for row in scene.backend.reader.poll(holder, [], scene.now).inbox] == [ring.inbox.inbox_id]
    assert scene.backend.reader.poll("other", [], scene.now).inbox == []


@pytest.mark.parametrize("status", ["queued", "paused"])
def test_a_signal_waits_for_a_run_that_cannot_hear_it(scene: Scene, status: str) -> None:
    run = scene.start(wake_at=EPOCH + 100, status=Status(status))

    assert scene.signal(run) is True

    assert scene.rings == []
    assert (scene.head(run).status, scene.head(run).ready_at, scene.head(run).wake_at) == (status, None, EPOCH + 100)
    assert len(scene.inbox(run)) == 1


@pytest.mark.parametrize("status", ["waiting_human", "waiting_approval"])
def test_a_signal_wakes_a_run_that_waits_for_people(scene: Scene, status: str) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.park(run, holder, status=Status(status), status_reason="awaiting_review", wake_at=EPOCH + 10**9)
    assert (scene.view(run).status, scene.view(run).status_reason) == (status, "awaiting_review")

    assert scene.signal(run) is True

    view, head = scene.view(run), scene.head(run)
    assert (view.status, view.status_reason, head.ready_at, head.wake_at) == ("running", None, scene.now, None)
    assert scene.claim(scene.holder()) == [run]


@pytest.mark.parametrize("status", ["waiting_human", "waiting_approval"])
def test_the_time_given_to_people_runs_out(scene: Scene, status: str) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.park(run, holder, status=Status(status), status_reason="awaiting_review", wake_at=scene.now + 100)
    assert scene.claim(scene.holder()) == []
    scene.later()

    assert scene.claim(scene.holder()) == [run]
    assert (scene.view(run).status, scene.view(run).status_reason) == ("running", None)


def test_a_signal_is_delivered_once_per_dedup_id(scene: Scene) -> None:
    run = parked(scene)

    answers = scene.batch(*((SIGNAL, scene.signal_request(run, "x", dedup_id="d")) for _ in range(2)))
    assert answers == [True, False]
    assert scene.signal(run, dedup_id="d") is False
    assert scene.signal(run, "y", dedup_id="d") is True
    assert len(scene.inbox(run)) == 2

    holder = scene.holder()
    scene.claim(holder)
    scene.write(run, holder, "signal_received", consumed=[row.inbox_id for row in scene.inbox(run)])
    assert scene.signal(run, dedup_id="d") is False
    assert scene.inbox(run) == []


def test_a_repeated_signal_wakes_nobody(scene: Scene) -> None:
    run = parked(scene)
    scene.signal(run, dedup_id="d")
    holder = scene.holder()
    scene.claim(holder)
    scene.write(run, holder, consumed=[row.inbox_id for row in scene.inbox(run)], park=Park("signal:x"))

    assert scene.signal(run, dedup_id="d") is False

    assert scene.rings == []
    assert scene.head(run).ready_at is None


@pytest.mark.parametrize("outcome", [DONE, BROKEN])
def test_a_signal_for_a_run_that_has_ended_is_refused(scene: Scene, outcome: object) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.finish(run, holder, outcome)  # type: ignore[arg-type]

    with pytest.raises(RunConflict):
        scene.signal(run)
    with pytest.raises(UnknownRun):
        scene.signal("nobody")
    assert scene.inbox(run) == []


def test_refused_signals_leave_their_neighbours_alone(scene: Scene) -> None:
    run = parked(scene)
    holder = scene.holder()
    ended = scene.held(holder)
    scene.finish(ended, holder)

    answers = scene.batch(*((SIGNAL, scene.signal_request(target)) for target in ("nobody", run, ended)))

    assert [type(answer) for answer in answers] == [UnknownRun, bool, RunConflict]
    assert len(scene.inbox(run)) == 1
    assert list(scene.rung("ready")) == [run]


@pytest.mark.parametrize("outcome", [DONE, BROKEN])
def test_the_end_of_a_child_reaches_its_parked_parent(scene: Scene, outcome: object) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    child = scene.held(holder, parent_run_id=parent)
    scene.park(parent, holder)
    scene.later()

    scene.finish(child, holder, outcome, parent_run_id=parent)  # type: ignore[arg-type]

    assert sorted((ring.kind, ring.run_id) for ring in scene.rings) == [("ended", child), ("ready", parent)]
    assert scene.head(parent).ready_at == scene.now
    (row,) = scene.inbox(parent)
    result = scene.view(child).outputs or scene.view(child).error
    assert (row.kind, row.name) == ("child", child)
    assert scene.parsed(row.payload) == {"status": scene.view(child).status, "result": result}


def test_the_end_of_a_child_rings_the_holder_of_its_parent(scene: Scene) -> None:
    holder, other = scene.holder(), scene.holder()
    parent = scene.held(holder)
    child = scene.held(other, parent_run_id=parent)

    scene.finish(child, other, parent_run_id=parent)

    letters = [(ring.run_id, ring.holder) for ring in scene.rings if ring.kind == "inbox"]
    assert letters == [(parent, holder)]
    assert [row.name for row in scene.backend.reader.poll(holder, [], scene.now).inbox] == [child]


def test_a_parent_may_park_in_the_batch_in_which_its_children_end(scene: Scene) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    children = [scene.held(holder, parent_run_id=parent) for _ in range(3)]
    done = DONE.__class__(DONE.status, DONE.outputs, parent_run_id=parent)

    answers = scene.batch(
        (ADVANCE, scene.advance(children[0], holder, "run_completed", finish=done)),
        (ADVANCE, scene.advance(parent, holder, "child_started", park=Park("child"))),
        (ADVANCE, scene.advance(children[1], holder, "run_completed", finish=done)),
        (ADVANCE, scene.advance(children[2], holder, "run_completed", finish=done)),
    )

    assert answers == [None] * 4
    assert scene.types(parent) == ["run_started", "child_started"]
    assert scene.head(parent).ready_at == scene.now
    assert [row.name for row in scene.inbox(parent)] == children


def test_a_parent_that_has_ended_gets_no_letters(scene: Scene) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    child = scene.held(holder, parent_run_id=parent)
    scene.finish(parent, holder)

    scene.finish(child, holder, parent_run_id=parent)

    assert [ring.kind for ring in scene.rings] == ["ended"]
    assert scene.inbox(parent) == []
    assert scene.view(parent).status == "succeeded"


def test_parents_and_children_of_one_batch_may_end_together(scene: Scene) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    child = scene.held(holder, parent_run_id=parent)
    done = DONE.__class__(DONE.status, DONE.outputs, parent_run_id=parent)

    answers = scene.batch(
        (ADVANCE, scene.advance(child, holder, "run_completed", finish=done)),
        (ADVANCE, scene.advance(parent, holder, "run_completed", finish=DONE)),
    )

    assert answers == [None, None]
    assert [scene.view(run).status for run in (parent, child)] == ["succeeded", "succeeded"]
    assert scene.inbox(parent) == []


def test_many_sleepers_wake_in_turn(scene: Scene) -> None:
    holder = scene.holder()
    runs = [scene.new_run(holder=holder) for _ in range(300)]
    scene.batch(*((START, StartRequest(run)) for run in runs))
    scene.batch(
        *(
            (ADVANCE, scene.advance(run.run_id, holder, park=Park("timer", EPOCH + 1000 - place)))
            for place, run in enumerate(runs)
        )
    )

    scene.now = EPOCH + 1000
    order = [run.run_id for run in reversed(runs)]
    assert [scene.claim(holder, limit=100) for _ in range(4)] == [order[:100], order[100:200], order[200:], []]
