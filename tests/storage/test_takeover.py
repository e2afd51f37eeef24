"""What becomes of the runs of the dead. Promise 5."""

import pytest

from tests.storage.scene import Scene
from windlass.engine import control
from windlass.engine.control import CLAIM, TAKEOVER, TakeoverRequest
from windlass.engine.errors import Fenced
from windlass.engine.journal import ADVANCE, START
from windlass.engine.types import POISON_DEATHS, ClaimRequest, StartRequest


def deaths(scene: Scene, run: str, number: int) -> None:
    for _ in range(number):
        holder = scene.holder()
        assert scene.claim(holder) == [run]
        scene.die(holder)
        assert scene.take_over(holder) == 1


def test_the_runs_of_a_dead_holder_go_back_to_their_queue(scene: Scene) -> None:
    dead, alive = scene.holder(), scene.holder()
    lost, kept = scene.held(dead), scene.held(alive)
    scene.die(dead)
    scene.later()

    assert scene.take_over(dead) == 1
    assert [ring.kind for ring in scene.rings] == ["ready"]
    assert scene.take_over(dead) == 0

    head = scene.head(lost)
    assert (head.holder, head.status, head.deaths) == (None, "running", 1)
    assert (head.ready_at, head.claim_rank) == (scene.now, 0)
    assert scene.types(lost) == ["run_started", "run_requeued"]
    assert scene.parsed(scene.events(lost)[1].payload) == {"reason": "holder_died"}
    assert scene.head(kept).holder == alive
    assert scene.claim(alive) == [lost]


def test_nobody_takes_from_the_living(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    assert scene.take_over(holder) == 0

    assert scene.head(run).holder == holder
    scene.write(run, holder, "a")
    assert scene.types(run) == ["run_started", "a"]


def test_a_holder_that_is_said_to_be_dead_is_fenced(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    assert scene.take_over(holder, force=True) == 1

    with pytest.raises(Fenced):
        scene.write(run, holder, "a")
    with pytest.raises(Fenced):
        scene.claim(holder)
    assert scene.types(run) == ["run_started", "run_requeued"]


def test_a_dead_holder_is_fenced_before_its_runs_are_moved(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "TAKEOVER_CHUNK", 1)
    holder = scene.holder()
    runs = [scene.held(holder) for _ in range(2)]
    scene.die(holder)

    assert scene.take_over(holder) == 1

    with pytest.raises(Fenced):
        scene.write(runs[1], holder, "late")
    assert scene.head(runs[1]).holder == holder
    assert holder in scene.call(lambda tx: tx.dead_holders())


def test_many_runs_are_moved_in_chunks(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "TAKEOVER_CHUNK", 20)
    holder = scene.holder()
    runs = [scene.new_run(holder=holder) for _ in range(50)]
    scene.batch(*((START, StartRequest(run)) for run in runs))
    scene.die(holder)

    assert [scene.take_over(holder) for _ in range(4)] == [20, 20, 10, 0]

    assert sorted(scene.claim(scene.holder())) == [run.run_id for run in runs]
    assert scene.call(lambda tx: tx.held_runs(holder, 1)) == []


def test_two_that_take_over_at_once_move_each_run_once(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.die(holder)

    answers = scene.batch(*((TAKEOVER, TakeoverRequest(holder, False, scene.now)) for _ in range(2)))

    assert answers == [1, 0]
    assert scene.types(run) == ["run_started", "run_requeued"]
    assert scene.head(run).deaths == 1


def test_runs_taken_over_can_be_claimed_in_the_same_batch_only_after_that(scene: Scene) -> None:
    dead, heir = scene.holder(), scene.holder()
    run = scene.held(dead)
    scene.die(dead)

    answers = scene.batch(
        (TAKEOVER, TakeoverRequest(dead, False, scene.now)),
        (ADVANCE, scene.advance(run, dead, "late")),
        (CLAIM, ClaimRequest(heir, ("w",), None, 10, scene.now)),
    )

    late = isinstance(answers[1], Fenced)
    assert answers[0] == 1
    assert answers[2].runs == []
    assert scene.types(run) == (["run_started", "run_requeued"] if late else ["run_started", "late", "run_requeued"])
    assert scene.claim(heir) == [run]


def test_a_run_that_kills_its_holders_is_paused_as_poisoned(scene: Scene) -> None:
    run = scene.start()
    deaths(scene, run, POISON_DEATHS - 1)
    assert scene.view(run).status == "running"

    deaths(scene, run, 1)

    view = scene.view(run)
    assert (view.status, view.status_reason, view.wait_reason, view.deaths) == ("paused", "poisoned", "poisoned", 5)
    assert scene.types(run) == ["run_started", *["run_requeued"] * 4, "run_paused"]
    assert scene.parsed(scene.events(run)[-1].payload) == {"by": "engine", "reason": "poisoned"}
    assert scene.claim(scene.holder()) == []


def test_resume_gives_a_poisoned_run_all_its_lives_again(scene: Scene) -> None:
    run = scene.start()
    deaths(scene, run, POISON_DEATHS)

    scene.control(run, "resume")

    view = scene.view(run)
    assert (view.status, view.status_reason, view.wait_reason, view.deaths) == ("running", None, None, 0)
    deaths(scene, run, POISON_DEATHS - 1)
    assert scene.view(run).status == "running"
    deaths(scene, run, 1)
    assert scene.view(run).status == "paused"


def test_progress_between_deaths_keeps_a_run_alive(scene: Scene) -> None:
    run = scene.start()
    for _ in range(3):
        deaths(scene, run, POISON_DEATHS - 1)
        holder = scene.holder()
        scene.claim(holder)
        scene.write(run, holder, "a")
        scene.park(run, holder, ready=True)

    assert scene.view(run).status == "running"
    assert scene.head(run).deaths == 0


def test_a_cancellation_for_a_dead_holder_is_done_by_the_takeover(scene: Scene) -> None:
    dead = scene.holder()
    run = scene.held(dead)
    assert scene.control(run, "cancel").result == "sent"
    scene.die(dead)
    scene.take_over(dead)

    assert scene.view(run).status == "cancelled"
    assert scene.types(run)[-2:] == ["cancel_acknowledged", "run_cancelled"]


def test_a_lease_is_forgotten_once_its_runs_have_been_taken_over(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.die(holder)
    scene.call(lambda tx: tx.forget_lease(holder))
    assert leases(scene) == [holder]

    assert scene.take_over(holder) == 1
    scene.call(lambda tx: tx.forget_lease(holder))

    assert leases(scene) == []
    assert scene.call(lambda tx: tx.dead_holders()) == []
    assert scene.take_over(holder) == 0
    assert scene.claim(scene.holder()) == [run]


def test_a_holder_that_has_been_forgotten_is_fenced(scene: Scene) -> None:
    holder, run = scene.holder(), scene.start()
    scene.take_over(holder, force=True)
    scene.call(lambda tx: tx.forget_lease(holder))

    assert not scene.backend.reader.lease_is_live(holder)
    with pytest.raises(Fenced):
        scene.claim(holder)
    with pytest.raises(Fenced):
        scene.write(run, holder, "a")
    assert scene.head(scene.held(holder)).holder is None


def leases(scene: Scene) -> list[str]:
    return [row[0] for row in scene.tables()["leases"]]
