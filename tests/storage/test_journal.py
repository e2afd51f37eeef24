"""Promise 1: who may write a run's journal, and which numbers events get."""

import pytest

from tests.storage.scene import BROKEN, DONE, Scene
from windlass.engine.errors import Fenced
from windlass.engine.journal import ADVANCE, START
from windlass.engine.types import Event, NewEvent, StartRequest, Status


def test_a_run_born_claimed_has_its_first_event(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder, inputs='{"a":[1]}')

    assert scene.types(run) == ["run_started"]
    view = scene.view(run)
    assert (view.status, view.holder, view.last_seq, view.inputs) == ("running", holder, 1, {"a": [1]})
    assert view.started_at == view.created_at


def test_events_are_numbered_across_batches_and_within_one(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    scene.write(run, holder, "a", "b")
    scene.batch((ADVANCE, scene.advance(run, holder, "c")), (ADVANCE, scene.advance(run, holder, "d", "e")))

    assert scene.types(run) == ["run_started", "a", "b", "c", "d", "e"]


def test_events_keep_what_they_say(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    event = NewEvent("step_completed", "g1.0/charge#2", '{"output":{"é":"\\n","n":[1.5,null,true]}}', scene.later())

    unit = scene.advance(run, holder)
    unit.events.append(event)
    scene.do(ADVANCE, unit)

    assert scene.backend.reader.events(run, 1, 10)[0]._replace(payload="") == Event(
        run, 2, "step_completed", "g1.0/charge#2", "", scene.now
    )
    assert scene.events(run)[1].at == scene.now
    for found in (scene.events(run)[1], scene.backend.reader.events(run, 1, 10)[0]):
        assert scene.parsed(found.payload) == {"output": {"é": "\n", "n": [1.5, None, True]}}


def test_progress_is_a_new_life(scene: Scene) -> None:
    run = scene.start()
    for _ in range(3):
        holder = scene.holder()
        scene.claim(holder)
        scene.die(holder)
        scene.take_over(holder)
    assert scene.head(run).deaths == 3

    holder = scene.holder()
    scene.claim(holder)
    assert scene.head(run).deaths == 3
    scene.write(run, holder, "a")

    assert scene.head(run).deaths == 0


def test_only_the_holder_writes(scene: Scene) -> None:
    holder, other = scene.holder(), scene.holder()
    run, free = scene.held(holder), scene.start()

    with pytest.raises(Fenced):
        scene.write(run, other, "a")
    with pytest.raises(Fenced):
        scene.write(free, holder, "a")
    with pytest.raises(Fenced):
        scene.write("nobody", holder, "a")

    assert scene.types(run) == ["run_started"]
    assert scene.types(free) == []


def test_a_holder_whose_lease_has_ended_writes_nothing(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    assert scene.call(lambda tx: tx.end_lease(holder, force=True))

    with pytest.raises(Fenced):
        scene.write(run, holder, "a")
    assert scene.types(run) == ["run_started"]


def test_a_holder_that_nobody_knows_writes_nothing(scene: Scene) -> None:
    run = scene.held("stranger")

    view = scene.view(run)
    assert (view.status, view.holder) == ("queued", None)
    with pytest.raises(Fenced):
        scene.write(run, "stranger", "a")


def test_a_holder_that_lost_its_run_to_another_writes_nothing(scene: Scene) -> None:
    first, second = scene.holder(), scene.holder()
    run = scene.held(first)
    scene.die(first)
    scene.take_over(first)
    scene.claim(second)

    with pytest.raises(Fenced):
        scene.write(run, first, "late")
    scene.write(run, second, "a")

    assert scene.types(run) == ["run_started", "run_requeued", "a"]


def test_a_fenced_unit_leaves_no_trace_and_its_neighbours_commit(scene: Scene) -> None:
    holder, other = scene.holder(), scene.holder()
    mine, theirs = scene.held(holder), scene.held(other)
    child = scene.new_run(parent_run_id=theirs)
    scene.signal(theirs)
    letter = scene.inbox(theirs)[0].inbox_id

    answers = scene.batch(
        (ADVANCE, scene.advance(mine, holder, "a")),
        (ADVANCE, scene.advance(theirs, holder, "b", finish=DONE, starts=[child], consumed=[letter])),
        (ADVANCE, scene.advance(mine, holder, "c")),
        (ADVANCE, scene.advance(theirs, other, "d")),
    )

    assert [type(answer) for answer in answers] == [type(None), Fenced, type(None), type(None)]
    assert scene.types(mine) == ["run_started", "a", "c"]
    assert scene.types(theirs) == ["run_started", "d"]
    assert scene.view(theirs).status == "running"
    assert scene.backend.reader.get_run(child.run_id) is None
    assert [row.inbox_id for row in scene.inbox(theirs)] == [letter]


def test_a_unit_that_breaks_the_batch_fails_alone(scene: Scene) -> None:
    holder = scene.holder()
    runs = [scene.held(holder) for _ in range(3)]
    taken = scene.new_run(run_id=runs[0])

    answers = scene.batch(
        (ADVANCE, scene.advance(runs[0], holder, "a")),
        (ADVANCE, scene.advance(runs[1], holder, "b", starts=[taken])),
        (ADVANCE, scene.advance(runs[2], holder, "c")),
        (START, StartRequest(scene.new_run(run_id="new"))),
    )

    assert answers[0] is None
    assert isinstance(answers[1], Exception)
    assert answers[2] is None
    assert answers[3].run_id == "new"
    assert [scene.types(run) for run in runs] == [["run_started", "a"], ["run_started"], ["run_started", "c"]]
    assert sorted(ring.run_id for ring in scene.rings if ring.kind == "ready") == ["new"]


def test_nothing_is_written_after_the_end(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    answers = scene.batch(
        (ADVANCE, scene.advance(run, holder, "run_completed", finish=DONE)),
        (ADVANCE, scene.advance(run, holder, "late")),
    )

    assert answers[0] is None
    assert isinstance(answers[1], Fenced)
    assert scene.types(run) == ["run_started", "run_completed"]
    with pytest.raises(Fenced):
        scene.finish(run, holder, BROKEN)


def test_the_end_is_kept(scene: Scene) -> None:
    holder = scene.holder()
    good, bad = scene.held(holder), scene.held(holder)
    scene.later()
    scene.batch((ADVANCE, scene.advance(good, holder, "run_completed", finish=DONE)))
    assert list(scene.rung("ended")) == [good]
    scene.finish(bad, holder, BROKEN)

    done, broken = scene.view(good), scene.view(bad)
    assert (done.status, done.outputs, done.error, done.holder) == ("succeeded", {"ok": True}, None, None)
    assert (broken.status, broken.status_reason, broken.outputs) == ("failed", "ValueError", None)
    assert broken.error == {"type": "ValueError", "message": "no"}
    assert done.ended_at == broken.ended_at == scene.iso()
    ended = {run.run_id: (run.status, scene.parsed(run.result)) for run in scene.backend.reader.ended([bad, good])}
    assert ended == {good: ("succeeded", {"ok": True}), bad: ("failed", {"type": "ValueError", "message": "no"})}


def test_children_start_with_the_step_that_starts_them(scene: Scene) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    born = scene.new_run(parent_run_id=parent, holder=holder)
    waiting = scene.new_run(parent_run_id=parent)
    delayed = scene.new_run(parent_run_id=parent, wake_at=scene.now + 5)

    scene.write(parent, holder, "child_started", starts=[born, waiting, delayed])

    assert scene.types(born.run_id) == ["run_started"]
    assert scene.head(born.run_id).holder == holder
    assert scene.head(waiting.run_id).ready_at == scene.now
    assert (scene.head(delayed.run_id).ready_at, scene.head(delayed.run_id).wake_at) == (None, scene.now + 5)
    assert {scene.view(run.run_id).parent_run_id for run in (born, waiting, delayed)} == {parent}
    assert scene.head(born.run_id).status == Status.RUNNING


def test_a_thousand_units_are_one_batch(scene: Scene) -> None:
    holder = scene.holder()
    runs = [scene.new_run(holder=holder) for _ in range(200)]
    scene.batch(*((START, StartRequest(run)) for run in runs))

    answers = scene.batch(*((ADVANCE, scene.advance(run.run_id, holder, "a", "b")) for run in runs for _ in range(5)))

    assert answers == [None] * 1000
    assert {scene.head(run.run_id).last_seq for run in runs[::40]} == {11}
    assert scene.types(runs[-1].run_id) == ["run_started", *["a", "b"] * 5]
