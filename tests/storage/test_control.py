"""Cancel, pause, resume and retry, in every state a run can be in. Promises 9 and 12."""

from collections.abc import Callable

import pytest

from tests.storage.scene import BROKEN, DONE, EPOCH, GONE, Scene
from windlass.engine import ending
from windlass.engine.control import CONTROL
from windlass.engine.ending import CANCEL_AT_ONCE
from windlass.engine.errors import RunConflict, UnknownRun
from windlass.engine.journal import ADVANCE, START
from windlass.engine.orphans import ORPHANS, OrphanRequest
from windlass.engine.types import ControlRequest, Finish, Park, StartRequest, Status


def ready(scene: Scene) -> str:
    return scene.start()


def delayed(scene: Scene) -> str:
    return scene.start(wake_at=EPOCH + 10**9)


def held(scene: Scene) -> str:
    return scene.held(scene.holder())


def parked(scene: Scene) -> str:
    holder = scene.holder()
    run = scene.held(holder)
    scene.park(run, holder, wake_at=EPOCH + 10**9)
    return run


def woken(scene: Scene) -> str:
    run = parked(scene)
    scene.signal(run)
    return run


def paused(scene: Scene) -> str:
    run = parked(scene)
    scene.control(run, "pause")
    return run


def paused_before_its_start(scene: Scene) -> str:
    run = ready(scene)
    scene.control(run, "pause")
    return run


def paused_before_its_time(scene: Scene) -> str:
    run = delayed(scene)
    scene.control(run, "pause")
    return run


def waiting(status: Status) -> Callable[[Scene], str]:
    def make(scene: Scene) -> str:
        holder = scene.holder()
        run = scene.held(holder)
        scene.park(run, holder, status=status)
        return run

    return make


def ended(outcome: Finish) -> Callable[[Scene], str]:
    def make(scene: Scene) -> str:
        holder = scene.holder()
        run = scene.held(holder)
        scene.finish(run, holder, outcome)
        return run

    return make


STATES = {
    "ready": ready,
    "delayed": delayed,
    "held": held,
    "parked": parked,
    "woken": woken,
    "paused": paused,
    "paused before its start": paused_before_its_start,
    "paused before its time": paused_before_its_time,
    "waiting for people": waiting(Status.WAITING_HUMAN),
    "waiting for approval": waiting(Status.WAITING_APPROVAL),
    "succeeded": ended(DONE),
    "failed": ended(BROKEN),
    "cancelled": ended(GONE),
}

Expected = tuple[str, str | None]

CONFLICT = ("conflict", None)
CANCELLED = ("applied", "cancelled")
PAUSED = ("applied", "paused")

TABLE: dict[str, list[Expected]] = {
    "ready": [CANCELLED, PAUSED, ("already_applied", "queued"), CONFLICT],
    "delayed": [CANCELLED, PAUSED, ("already_applied", "queued"), CONFLICT],
    "held": [("sent", "running"), ("sent", "running"), ("already_applied", "running"), CONFLICT],
    "parked": [CANCELLED, PAUSED, ("already_applied", "running"), CONFLICT],
    "woken": [CANCELLED, PAUSED, ("already_applied", "running"), CONFLICT],
    "paused": [CANCELLED, ("already_applied", "paused"), ("applied", "running"), CONFLICT],
    "paused before its start": [CANCELLED, ("already_applied", "paused"), ("applied", "queued"), CONFLICT],
    "paused before its time": [CANCELLED, ("already_applied", "paused"), ("applied", "queued"), CONFLICT],
    "waiting for people": [CANCELLED, PAUSED, CONFLICT, CONFLICT],
    "waiting for approval": [CANCELLED, PAUSED, CONFLICT, CONFLICT],
    "succeeded": [CONFLICT, CONFLICT, CONFLICT, CONFLICT],
    "failed": [CONFLICT, CONFLICT, CONFLICT, ("applied", "queued")],
    "cancelled": [("already_applied", "cancelled"), CONFLICT, CONFLICT, CONFLICT],
}
ACTIONS = ("cancel", "pause", "resume", "retry")
EVENTS = {
    "cancel": ["cancel_acknowledged", "run_cancelled"],
    "pause": ["run_paused"],
    "resume": ["run_resumed"],
    "retry": ["run_retried"],
}


def test_the_table_is_complete() -> None:
    assert list(TABLE) == list(STATES)
    assert {len(row) for row in TABLE.values()} == {len(ACTIONS)}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", STATES)
def test_every_action_in_every_state(scene: Scene, state: str, action: str) -> None:
    run = STATES[state](scene)
    before, events = scene.view(run), scene.types(run)
    expected, status = TABLE[state][ACTIONS.index(action)]
    scene.later()

    if expected == "conflict":
        with pytest.raises(RunConflict):
            scene.control(run, action)
    else:
        assert scene.control(run, action) == (expected, status)

    assert scene.types(run) == events + (EVENTS[action] if expected == "applied" else [])
    if expected == "applied":
        assert scene.view(run).status == status
    else:
        assert scene.view(run) == before


def test_nobody_can_control_a_run_that_is_not_there(scene: Scene) -> None:
    run = ready(scene)
    requests = [ControlRequest(target, "cancel", "user", None, scene.new_id(), scene.now) for target in ("nobody", run)]

    answers = scene.batch(*((CONTROL, request) for request in requests))

    assert isinstance(answers[0], UnknownRun)
    assert answers[1] == ("applied", "cancelled")


def test_requests_of_one_batch_apply_in_turn(scene: Scene) -> None:
    run = ready(scene)
    actions = ("pause", "pause", "resume", "cancel", "cancel", "resume")
    requests = [ControlRequest(run, action, "user", None, scene.new_id(), scene.now) for action in actions]

    answers = scene.batch(*((CONTROL, request) for request in requests))

    results = [answer.result for answer in answers[:5]]
    assert results == ["applied", "already_applied", "applied", "applied", "already_applied"]
    assert isinstance(answers[5], RunConflict)
    assert scene.types(run) == ["run_paused", "run_resumed", "cancel_acknowledged", "run_cancelled"]


@pytest.mark.parametrize("action", ["cancel", "pause"])
def test_the_holder_of_a_run_is_told(scene: Scene, action: str) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    scene.control(run, action, "because")

    (ring,) = scene.rings
    assert (ring.kind, ring.run_id, ring.holder) == ("inbox", run, holder)
    (row,) = scene.inbox(run)
    assert row == ring.inbox or row._replace(payload="") == ring.inbox._replace(payload="")  # type: ignore[union-attr]
    assert (row.kind, scene.parsed(row.payload)) == (action, {"by": "user", "reason": "because"})


def test_a_cancelled_run_says_who_and_why(scene: Scene) -> None:
    run = parked(scene)
    scene.later()

    scene.control(run, "cancel", "no money")

    assert [(ring.kind, ring.run_id) for ring in scene.rings] == [("ended", run)]
    view = scene.view(run)
    assert (view.status_reason, view.wait_reason, view.ended_at, view.wake_at) == ("no money", None, scene.iso(), None)
    assert view.error == {"type": "Cancelled", "message": "no money"}
    assert scene.parsed(scene.events(run)[-1].payload) == {"by": "user", "reason": "no money"}
    assert scene.claim(scene.holder()) == []


def test_a_paused_run_is_not_claimed_whatever_comes(scene: Scene) -> None:
    run = paused(scene)
    scene.signal(run)
    scene.later(10**6)

    assert scene.claim(scene.holder()) == []
    assert scene.view(run).status_reason == "paused_by_user"
    scene.control(run, "resume")
    assert list(scene.rung("ready")) == [run]
    (claimed,) = scene.claimed(scene.holder())
    assert [row.name for row in claimed.inbox] == ["x"]


def test_a_delayed_run_that_is_resumed_waits_for_its_time(scene: Scene) -> None:
    run = paused_before_its_time(scene)

    scene.control(run, "resume")

    assert scene.rings == []
    assert scene.claim(scene.holder()) == []
    scene.later(2000)
    assert scene.claim(scene.holder()) == [run]


def test_a_delayed_run_that_is_resumed_after_its_time_starts(scene: Scene) -> None:
    run = paused_before_its_time(scene)
    scene.later(2000)

    scene.control(run, "resume")

    assert scene.head(run).wake_at is None
    assert scene.claim(scene.holder()) == [run]


def test_a_resumed_run_has_forgotten_earlier_pauses(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.control(run, "pause")
    scene.control(run, "pause")
    scene.signal(run)
    first = scene.inbox(run)[0].inbox_id
    scene.write(run, holder, "run_paused", consumed=[first], park=Park("paused", status=Status.PAUSED))

    scene.control(run, "resume")

    (claimed,) = scene.claimed(scene.holder())
    assert [row.kind for row in claimed.inbox] == ["signal"]


def test_a_retried_run_is_open_again(scene: Scene) -> None:
    run = STATES["failed"](scene)
    scene.later()

    scene.control(run, "retry")

    assert list(scene.rung("ready")) == [run]
    view = scene.view(run)
    assert (view.status, view.status_reason, view.error, view.ended_at) == ("queued", None, None, None)
    holder = scene.holder()
    (claimed,) = scene.claimed(holder)
    assert [event.type for event in claimed.events] == ["run_started", "run_ended", "run_retried"]
    scene.finish(run, holder)
    assert (scene.view(run).status, scene.view(run).outputs) == ("succeeded", {"ok": True})
    assert scene.types(run) == ["run_started", "run_ended", "run_retried", "run_ended"]


def test_the_outcome_of_a_run_survives_what_is_refused(scene: Scene) -> None:
    run = STATES["succeeded"](scene)

    for action in ACTIONS:
        with pytest.raises(RunConflict):
            scene.control(run, action)

    assert (scene.view(run).status, scene.view(run).outputs) == ("succeeded", {"ok": True})


def family(scene: Scene, holder: str) -> dict[str, str]:
    """A parked parent with children and grandchildren, held, waiting and ended."""
    runs = {"parent": scene.held(holder)}
    for name, parent in {
        "held": "parent",
        "parked": "parent",
        "ready": "parent",
        "ended": "parent",
        "grandchild held": "parked",
        "grandchild ready": "parked",
        "grandchild of held": "held",
    }.items():
        started = not name.endswith("ready")
        runs[name] = scene.start(parent_run_id=runs[parent], holder=holder if started else None)
    scene.finish(runs["ended"], holder)
    scene.park(runs["parked"], holder, reason="child")
    scene.park(runs["parent"], holder, reason="child")
    return runs


def test_cancel_reaches_children_and_grandchildren(scene: Scene) -> None:
    holder = scene.holder()
    runs = family(scene, holder)

    scene.control(runs["parent"], "cancel")

    told = sorted(ring.run_id for ring in scene.rings if ring.kind == "inbox")
    assert told == sorted([runs["held"], runs["grandchild held"]])
    status = {name: scene.view(run).status for name, run in runs.items()}
    assert status == {
        "parent": "cancelled",
        "held": "running",
        "parked": "cancelled",
        "ready": "cancelled",
        "ended": "succeeded",
        "grandchild held": "running",
        "grandchild ready": "cancelled",
        "grandchild of held": "running",
    }
    for name in ("held", "grandchild held"):
        assert [row.kind for row in scene.inbox(runs[name])] == ["cancel"]
    for name in ("parked", "ready", "grandchild ready"):
        assert scene.types(runs[name])[-2:] == ["cancel_acknowledged", "run_cancelled"]


def follow_up(scene: Scene) -> int:
    """Cancel what is left of ended runs' children, as a process does; returns in how many transactions."""
    left, rounds = [*scene.rung("orphans")], 0
    while left:
        left = scene.do(ORPHANS, OrphanRequest(tuple(left), scene.now))
        rounds += 1
    return rounds


def test_more_children_than_a_transaction_should_cancel_follow_in_their_own(scene: Scene) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    scene.park(parent, holder, reason="child")
    many = CANCEL_AT_ONCE + 100
    runs = [scene.new_run(parent_run_id=parent, holder=holder if place % 100 == 7 else None) for place in range(many)]
    scene.batch(*((START, StartRequest(run)) for run in runs))
    grandchild = scene.start(parent_run_id=runs[-1].run_id)

    def spared() -> list[str]:
        open_runs = [run for run in scene.backend.reader.list_runs(scene.filter()) if run.ended_at is None]
        return [run.run_id for run in open_runs if not scene.inbox(run.run_id)]

    scene.control(parent, "cancel")

    assert scene.view(parent).status == "cancelled"
    assert parent in scene.rung("orphans")
    assert parent in scene.backend.reader.orphaned(10)
    assert len(spared()) == 100 + 1
    assert follow_up(scene) == 1
    assert spared() == []
    assert scene.view(grandchild).status_reason == "parent_ended"
    assert sum(scene.view(run.run_id).status == "running" for run in runs) == many // 100
    assert scene.backend.reader.orphaned(10) == []


def test_generations_without_end_are_cancelled_some_at_a_time(scene: Scene) -> None:
    line = [scene.start()]
    for _ in range(100):
        line.append(scene.start(parent_run_id=line[-1]))

    scene.control(line[0], "cancel")

    assert 0 < sum(scene.view(run).ended_at is None for run in line) < 100
    assert follow_up(scene) > 1
    assert {scene.view(run).status for run in line} == {"cancelled"}


def test_a_run_that_is_retried_meanwhile_keeps_its_children(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "CANCEL_AT_ONCE", 1)
    holder = scene.holder()
    parent = scene.held(holder)
    children = [scene.start(parent_run_id=parent) for _ in range(3)]
    scene.finish(parent, holder, BROKEN, children=True)
    left = tuple(scene.rung("orphans"))
    scene.control(parent, "retry")

    assert scene.do(ORPHANS, OrphanRequest(left, scene.now)) == []

    assert sorted(scene.view(child).status for child in children) == ["cancelled", "queued", "queued"]


@pytest.mark.parametrize("outcome", [DONE, BROKEN, GONE])
def test_the_end_of_a_run_cancels_what_it_started(scene: Scene, outcome: Finish) -> None:
    holder = scene.holder()
    runs = family(scene, holder)
    scene.claim(holder)
    scene.signal(runs["parent"])
    scene.claim(holder)

    scene.finish(runs["parent"], holder, outcome, children=True)

    assert {ring.run_id for ring in scene.rings if ring.kind == "inbox"} >= {runs["held"]}
    assert scene.view(runs["parked"]).status == "cancelled"
    assert scene.view(runs["ended"]).status == "succeeded"
    assert [row.kind for row in scene.inbox(runs["held"])] == ["cancel"]
    scene.finish(runs["held"], holder, GONE, parent_run_id=runs["parent"], children=True)
    assert [row.kind for row in scene.inbox(runs["grandchild of held"])] == ["cancel"]


def test_a_child_that_ends_in_the_batch_of_its_parent_is_left_alone(scene: Scene) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    child = scene.held(holder, parent_run_id=parent)
    over = DONE.__class__(Status.FAILED, error="{}", children=True)
    done = DONE.__class__(DONE.status, DONE.outputs, parent_run_id=parent)

    answers = scene.batch(
        (ADVANCE, scene.advance(parent, holder, "run_failed", finish=over)),
        (ADVANCE, scene.advance(child, holder, "run_completed", finish=done)),
    )

    assert answers == [None, None]
    assert (scene.view(parent).status, scene.view(child).status) == ("failed", "succeeded")
    assert scene.types(child) == ["run_started", "run_completed"]
    assert scene.inbox(child) == []


def test_a_cancelled_child_tells_its_parent(scene: Scene) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    child = scene.start(parent_run_id=parent)
    scene.park(parent, holder, reason="child")
    scene.later()

    scene.control(child, "cancel", "enough")

    assert sorted((ring.kind, ring.run_id) for ring in scene.rings) == [("ended", child), ("ready", parent)]
    (row,) = scene.inbox(parent)
    assert (row.kind, row.name) == ("child", child)
    assert scene.parsed(row.payload)["status"] == "cancelled"
    assert scene.head(parent).ready_at == scene.now


def test_a_run_that_is_being_paused_is_not_resumed_before_it_is(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.control(run, "pause")

    with pytest.raises(RunConflict, match="being paused"):
        scene.control(run, "resume")

    scene.write(run, holder, "run_paused", park=Park("paused", status=Status.PAUSED))
    assert scene.control(run, "resume") == ("applied", "running")
    assert scene.inbox(run) == []


def test_a_retried_run_has_forgotten_what_came_too_late(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    for action in ("pause", "cancel"):
        assert scene.control(run, action).result == "sent"
    scene.signal(run)
    scene.finish(run, holder, BROKEN)

    scene.control(run, "retry")

    (claimed,) = scene.claimed(holder)
    assert [row.kind for row in claimed.inbox] == ["signal"]


@pytest.mark.parametrize("deleted,begins", [(1, 2), (3, 4)])
def test_a_run_whose_events_were_deleted_is_not_retried(scene: Scene, deleted: int, begins: int) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.write(run, holder, "step_completed")
    scene.finish(run, holder, BROKEN)
    scene.call(lambda tx: scene.database.delete_events(tx, run, deleted))
    before = scene.tables()

    with pytest.raises(RunConflict, match=f"deleted, its history begins at {begins} now") as refused:
        scene.control(run, "retry")

    assert refused.value.data == {"run_id": run, "history_from_seq": begins}
    assert scene.tables() == before
    assert scene.view(run).history_from_seq == begins


def test_a_whole_journal_begins_at_its_first_event(scene: Scene) -> None:
    run = STATES["failed"](scene)

    assert scene.view(run).history_from_seq == 1
