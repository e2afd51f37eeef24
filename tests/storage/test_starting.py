"""Starting runs: once per idempotency key, at once or later."""

import pytest

from tests.storage.scene import EPOCH, Scene
from windlass.engine.control import CLAIM
from windlass.engine.errors import RunConflict
from windlass.engine.journal import ADVANCE, START
from windlass.engine.types import ClaimRequest, Started, StartRequest


def keyed(scene: Scene, key: str, request: str = "hash", *, seconds: float = 100, **fields: object) -> StartRequest:
    run = scene.new_run(**fields)
    return StartRequest(run, key, request, scene.now + int(seconds * 1_000_000))


def test_a_started_run_waits_for_a_worker(scene: Scene) -> None:
    run = scene.new_run(queue="q", priority=3)

    assert scene.do(START, StartRequest(run)) == Started(run.run_id, True, None)

    assert [(ring.kind, ring.run_id) for ring in scene.rings] == [("ready", run.run_id)]
    view = scene.view(run.run_id)
    assert (view.status, view.queue, view.priority, view.last_seq) == ("queued", "q", 3, 0)
    assert scene.head(run.run_id).ready_at == EPOCH


def test_a_run_can_be_started_by_its_holder(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.new_run(holder=holder)

    assert scene.do(START, StartRequest(run)) == Started(run.run_id, True, holder)

    assert scene.rings == []
    assert scene.claim(scene.holder()) == []


def test_a_delayed_run_starts_at_its_time(scene: Scene) -> None:
    run = scene.start(wake_at=EPOCH + 5)

    assert (scene.head(run).ready_at, scene.head(run).wake_at) == (None, EPOCH + 5)
    assert scene.claim(scene.holder()) == []
    scene.now = EPOCH + 5
    assert scene.claim(scene.holder()) == [run]
    assert scene.types(run) == ["run_started"]


def test_a_key_starts_one_run(scene: Scene) -> None:
    first, second = keyed(scene, "k"), keyed(scene, "k")

    assert scene.do(START, first) == Started(first.run.run_id, True, None)
    scene.later()
    assert scene.do(START, second) == Started(first.run.run_id, False, None)

    assert scene.rings == []
    assert [run.run_id for run in scene.backend.reader.list_runs(scene.filter())] == [first.run.run_id]


def test_a_key_starts_one_run_within_a_batch(scene: Scene) -> None:
    requests = [keyed(scene, "k"), keyed(scene, "k"), keyed(scene, "k", "other"), keyed(scene, "l")]

    answers = scene.batch(*((START, request) for request in requests))

    first = requests[0].run.run_id
    assert [answer.run_id for answer in answers[:2]] == [first, first]
    assert [answer.created for answer in answers[:2]] == [True, False]
    assert isinstance(answers[2], RunConflict)
    assert answers[3] == Started(requests[3].run.run_id, True, None)
    assert len(scene.backend.reader.list_runs(scene.filter())) == 2


def test_a_key_refuses_another_request(scene: Scene) -> None:
    first = keyed(scene, "k")
    scene.do(START, first)

    with pytest.raises(RunConflict) as caught:
        scene.do(START, keyed(scene, "k", "other"))

    assert caught.value.data["run_id"] == first.run.run_id
    assert len(scene.backend.reader.list_runs(scene.filter())) == 1


def test_a_key_is_free_again_when_its_time_is_over(scene: Scene) -> None:
    first = keyed(scene, "k", seconds=10)
    scene.do(START, first)

    scene.later(9)
    assert not scene.do(START, keyed(scene, "k", seconds=10)).created
    scene.later(1)
    assert scene.do(START, second := keyed(scene, "k", "other", seconds=10)).created
    assert scene.do(START, keyed(scene, "k", "other", seconds=10)) == Started(second.run.run_id, False, None)


def test_a_key_belongs_to_a_workflow_and_a_tenant(scene: Scene) -> None:
    requests = [keyed(scene, "k"), keyed(scene, "k", name="other"), keyed(scene, "k", tenant_id="other")]

    answers = scene.batch(*((START, request) for request in requests))

    assert all(answer.created for answer in answers)


def test_an_id_of_the_callers_own_is_taken_once(scene: Scene) -> None:
    scene.do(START, StartRequest(scene.new_run(run_id="mine"), own_id=True))
    others = [
        StartRequest(scene.new_run(run_id="mine", inputs="[1]"), own_id=True),
        StartRequest(scene.new_run(run_id="twice"), own_id=True),
        StartRequest(scene.new_run(run_id="twice", inputs="[1]"), own_id=True),
        StartRequest(scene.new_run(run_id="free"), own_id=True),
    ]

    answers = scene.batch(*((START, request) for request in others))

    assert [type(answer) for answer in answers] == [RunConflict, Started, RunConflict, Started]
    assert {run.run_id: run.inputs for run in scene.backend.reader.list_runs(scene.filter())} == {
        "mine": [],
        "twice": [],
        "free": [],
    }


def test_runs_start_and_move_on_in_one_batch(scene: Scene) -> None:
    holder = scene.holder()
    running = scene.held(holder)
    new = scene.new_run()

    answers = scene.batch(
        (CLAIM, ClaimRequest(holder, ("w",), None, 10, scene.now)),
        (START, StartRequest(new)),
        (ADVANCE, scene.advance(running, holder, "a")),
    )

    assert [run.head.run_id for run in answers[0].runs] == [new.run_id]
    assert scene.types(running) == ["run_started", "a"]
    assert scene.types(new.run_id) == ["run_started"]


def test_a_run_whose_birth_is_tried_again_without_a_lease_is_not_half_born(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.new_run(holder=holder)
    broken = scene.new_run(run_id=run.run_id)
    answers = scene.batch((START, StartRequest(run)), (START, StartRequest(broken)))
    assert isinstance(answers[1], Exception)

    run.run_id = scene.new_id("again")
    scene.call(lambda tx: tx.end_lease(holder, force=True))
    scene.do(START, StartRequest(run))

    assert (scene.types(run.run_id), scene.view(run.run_id).status) == ([], "queued")
    assert scene.claim(scene.holder()) == [run.run_id]
    assert scene.types(run.run_id) == ["run_started"]
