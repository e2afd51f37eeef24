"""Which runs a worker gets, and in which order; promise 6."""

import pytest

from tests.storage.scene import BROKEN, DONE, EPOCH, GONE, Scene
from windlass.engine.control import CLAIM, TAKEOVER, TakeoverRequest
from windlass.engine.errors import Fenced
from windlass.engine.journal import ADVANCE
from windlass.engine.types import ClaimRequest, Park, Status
from windlass.kernel.lanes import lane_of


def test_a_claim_hands_over_everything_needed_to_go_on(scene: Scene) -> None:
    first, second = scene.holder(), scene.holder()
    run = scene.held(
        first, inputs='{"a":1}', tenant_id="t", owner="o", key="k", attributes='{"b":2}', interface_version="3"
    )
    scene.write(run, first, "a")
    scene.park(run, first)
    scene.later()
    scene.signal(run, "x", payload='{"c":3}')

    (claimed,) = scene.claimed(second, names=["w@3"])

    assert (claimed.tenant_id, claimed.owner, claimed.key, claimed.interface_version) == ("t", "o", "k", "3")
    assert (scene.parsed(claimed.inputs), scene.parsed(claimed.attributes)) == ({"a": 1}, {"b": 2})
    assert [(event.seq, event.type) for event in claimed.events] == [(1, "run_started"), (2, "a")]
    assert [(row.kind, row.name, scene.parsed(row.payload)) for row in claimed.inbox] == [("signal", "x", {"c": 3})]
    assert claimed.head == scene.head(run)
    assert (claimed.head.holder, claimed.head.status, claimed.head.wait_reason) == (second, "running", None)
    assert (claimed.head.ready_at, claimed.head.wake_at) == (None, None)


def test_a_new_run_starts_when_it_is_claimed(scene: Scene) -> None:
    run = scene.start()
    assert list(scene.rung("ready")) == [run]
    scene.later()

    (claimed,) = scene.claimed(scene.holder())

    assert claimed.head.started_at == scene.view(run).started_at == scene.iso()
    assert scene.types(run) == ["run_started"]
    assert scene.events(run)[0].at == scene.now


def test_a_run_is_claimed_once(scene: Scene) -> None:
    run = scene.start()

    assert scene.claim(scene.holder()) == [run]
    assert scene.claim(scene.holder()) == []


def test_claims_in_one_batch_share_what_there_is(scene: Scene) -> None:
    first, second = scene.holder(), scene.holder()
    runs = [scene.start() for _ in range(5)]

    answers = scene.batch(
        (CLAIM, ClaimRequest(first, ("w",), None, 3, scene.now)),
        (CLAIM, ClaimRequest(second, ("w",), None, 3, scene.now)),
    )

    assert [[run.head.run_id for run in answer.runs] for answer in answers] == [runs[:3], runs[3:]]
    assert [answer.more for answer in answers] == [True, False]


def test_a_claim_without_a_live_lease_is_fenced(scene: Scene) -> None:
    scene.start()
    holder = scene.holder()
    scene.call(lambda tx: tx.end_lease(holder, force=True))

    with pytest.raises(Fenced):
        scene.claim(holder)
    with pytest.raises(Fenced):
        scene.claim("nobody")


def test_the_order_is_priority_then_woken_then_longest_ready(scene: Scene) -> None:
    holder = scene.holder()
    woken = [scene.held(holder) for _ in range(2)]
    for run in woken:
        scene.park(run, holder)
    late_new = scene.start(ready_at=EPOCH + 9)
    early_new = scene.start(ready_at=EPOCH + 1)
    urgent_new = scene.start(priority=-1, ready_at=EPOCH + 99)
    lazy_woken = scene.held(holder, priority=1)
    scene.park(lazy_woken, holder)
    scene.signal(lazy_woken)
    for run in reversed(woken):
        scene.later()
        scene.signal(run)

    assert scene.claim(scene.holder()) == [urgent_new, woken[1], woken[0], early_new, late_new, lazy_woken]


def test_a_claim_takes_no_more_than_it_asks_for(scene: Scene) -> None:
    runs = [scene.start() for _ in range(5)]
    holder = scene.holder()

    assert [scene.claim(holder, limit=2) for _ in range(4)] == [runs[:2], runs[2:4], runs[4:], []]


def test_only_known_workflows_are_claimed(scene: Scene) -> None:
    scene.start(name="unknown")
    known = [scene.start(name="a"), scene.start(name="b")]

    assert scene.backend.reader.poll("h", ["other"], scene.now).ready is False
    assert scene.backend.reader.poll("h", ["unknown"], scene.now).ready is True
    assert scene.claim(scene.holder(), names=["b", "a", "c"]) == known
    assert scene.claim(scene.holder(), names=[]) == []


def test_only_known_versions_are_claimed(scene: Scene) -> None:
    versions = ("1", "2", "10", "")
    runs = {
        version: {scene.start(interface_version=version, lane=lane) for lane in ("", lane_of(f"t{version}"))}
        for version in versions
    }
    old, new = scene.holder(), scene.holder()

    assert scene.backend.reader.poll("h", ["w@3"], scene.now).ready is False
    assert all(scene.backend.reader.poll("h", [code], scene.now).ready for code in ("w", "w@2", "w@10", "w@"))
    assert scene.claim(old, names=["w@1", "w@3", "v@2"]) == []
    assert set(scene.claim(old, names=["w"])) == runs["1"]
    taken = scene.claimed(new, names=["w@2", "w@10", "w@"])
    assert {run.head.run_id for run in taken} == runs["2"] | runs["10"] | runs[""]
    bound = {run.head.run_id: run.interface_version for run in taken}
    assert all(bound[run] == scene.view(run).interface_version for run in bound)
    assert {bound[run] for run in runs[""]} == {"2"}


def test_a_run_that_is_bound_to_another_version_is_claimed_by_its_code(scene: Scene) -> None:
    first, second = scene.start(), scene.start()
    scene.call(lambda tx: tx.bind_runs([(first, "2"), (second, "3")]))

    assert scene.claim(scene.holder()) == []
    assert scene.claim(scene.holder(), names=["w", "w@3"]) == [second]
    assert scene.claim(scene.holder(), names=["w", "w@2"]) == [first]


def test_only_the_queues_asked_for_are_claimed(scene: Scene) -> None:
    runs = {queue: scene.start(queue=queue) for queue in ("a", "b", "c")}

    assert scene.claim(scene.holder(), queues=["b", "z"]) == [runs["b"]]
    assert scene.claim(scene.holder(), queues=[]) == []
    assert scene.claim(scene.holder()) == [runs["a"], runs["c"]]


def test_due_runs_are_claimed_in_the_order_of_their_times(scene: Scene) -> None:
    holder = scene.holder()
    delayed = [scene.start(wake_at=EPOCH + delay) for delay in (30, 10, 20, 5000)]
    sleeper = scene.held(holder)
    scene.park(sleeper, holder, wake_at=EPOCH + 25)
    assert scene.claim(holder) == []

    scene.now = EPOCH + 40
    answer = scene.do(CLAIM, ClaimRequest(holder, ("w",), None, 10, scene.now))

    assert [run.head.run_id for run in answer.runs] == [sleeper, delayed[1], delayed[2], delayed[0]]
    assert answer.next_wake == EPOCH + 5000
    assert (scene.view(delayed[3]).status, scene.view(delayed[3]).started_at) == ("queued", None)


def test_a_run_woken_before_its_time_is_not_woken_again_by_it(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.park(run, holder, wake_at=EPOCH + 100)
    scene.later(0.00001)
    scene.signal(run)
    ready_at = scene.head(run).ready_at

    scene.now = EPOCH + 200
    scene.call(lambda tx: tx.promote_due(scene.now, 10))
    assert scene.head(run).ready_at == ready_at
    assert scene.call(lambda tx: tx.next_wake()) is None


def test_a_paused_queue_gives_nothing(scene: Scene) -> None:
    run, other = scene.start(queue="a"), scene.start(queue="b")
    scene.call(lambda tx: tx.set_queue("a", None, True))

    assert scene.claim(scene.holder()) == [other]
    scene.call(lambda tx: tx.set_queue("a", None, False))
    assert scene.claim(scene.holder()) == [run]


def test_everything_can_be_paused(scene: Scene) -> None:
    run = scene.start()
    scene.call(lambda tx: tx.set_queue("*", None, True))

    assert scene.claim(scene.holder()) == []
    scene.call(lambda tx: tx.set_queue("*", None, False))
    assert scene.claim(scene.holder()) == [run]


def test_a_limited_queue_holds_no_more_runs_than_its_limit(scene: Scene) -> None:
    scene.call(lambda tx: tx.set_queue("a", 2, False))
    limited = [scene.start(queue="a") for _ in range(5)]
    free = [scene.start(queue="b", priority=1) for _ in range(3)]
    first, second = scene.holder(), scene.holder()

    assert scene.claim(first, limit=4) == [*limited[:2], *free[:2]]
    assert scene.claim(second) == [free[2]]

    scene.finish(limited[0], first)
    assert scene.claim(second) == [limited[2]]


def test_all_queues_together_hold_no_more_than_the_overall_limit(scene: Scene) -> None:
    scene.call(lambda tx: tx.set_queue("*", 3, False))
    scene.call(lambda tx: tx.set_queue("a", 2, False))
    limited = [scene.start(queue="a") for _ in range(4)]
    free = [scene.start(queue="b", priority=1) for _ in range(4)]
    holder = scene.holder()

    assert scene.claim(holder) == [*limited[:2], free[0]]
    assert scene.claim(holder) == []
    scene.finish(free[0], holder)
    assert scene.claim(holder) == [free[1]]
    scene.finish(limited[1], holder)
    assert scene.claim(holder) == [limited[2]]


def test_a_run_is_not_born_claimed_into_a_limited_queue(scene: Scene) -> None:
    scene.call(lambda tx: tx.set_queue("a", 1, False))
    holder = scene.holder()
    run, other = scene.held(holder, queue="a"), scene.held(holder, queue="b")

    assert (scene.head(run).holder, scene.view(run).status) == (None, "queued")
    assert scene.head(other).holder == holder
    assert scene.claim(holder) == [run]


@pytest.mark.parametrize("way", ["finish", "park", "fail", "cancel", "pause", "shutdown", "takeover"])
def test_a_slot_comes_back_when_its_run_leaves(scene: Scene, way: str) -> None:
    scene.call(lambda tx: tx.set_queue("a", 1, False))
    scene.call(lambda tx: tx.set_queue("*", 1, False))
    holder, heir = scene.holder(), scene.holder()
    run = scene.start(queue="a")
    scene.claim(holder)
    waiting = scene.start(queue="a", priority=-1)
    assert scene.claim(heir) == []

    if way == "finish":
        scene.finish(run, holder)
    elif way == "fail":
        scene.write(run, holder, "run_failed", finish=BROKEN)
    elif way == "park":
        scene.park(run, holder)
    elif way == "pause":
        scene.park(run, holder, status=Status.PAUSED)
    elif way == "shutdown":
        scene.park(run, holder, ready=True)
    elif way == "cancel":
        scene.write(run, holder, "run_cancelled", finish=GONE)
    else:
        scene.die(holder)
        scene.take_over(holder)

    assert scene.claim(heir) == [waiting]
    assert scene.claim(heir) == []


def test_a_slot_given_back_counts_within_the_same_batch(scene: Scene) -> None:
    scene.call(lambda tx: tx.set_queue("a", 1, False))
    holder, dead = scene.holder(), scene.holder()
    first, second = scene.start(queue="a"), scene.start(queue="a")
    assert scene.claim(holder) == [first]

    answers = scene.batch(
        (ADVANCE, scene.advance(first, holder, "run_completed", finish=DONE)),
        (CLAIM, ClaimRequest(dead, ("w",), None, 5, scene.now)),
    )
    assert [run.head.run_id for run in answers[1].runs] == [second]

    scene.die(dead)
    scene.do(TAKEOVER, TakeoverRequest(dead, False, scene.now))
    assert scene.claim(holder) == [second]


def test_a_raised_limit_lets_more_in(scene: Scene) -> None:
    scene.call(lambda tx: tx.set_queue("a", 1, False))
    runs = [scene.start(queue="a") for _ in range(6)]
    holder = scene.holder()

    assert scene.claim(holder) == runs[:1]
    scene.call(lambda tx: tx.set_queue("a", 3, False))
    assert scene.claim(holder) == runs[1:3]
    scene.call(lambda tx: tx.set_queue("a", None, False))
    assert scene.claim(holder) == runs[3:]


@pytest.mark.parametrize("queue", ["a", "*"])
def test_a_lowered_limit_lets_nobody_in_until_enough_have_left(scene: Scene, queue: str) -> None:
    scene.call(lambda tx: tx.set_queue(queue, 4, False))
    runs = [scene.start(queue="a") for _ in range(8)]
    holder = scene.holder()
    assert scene.claim(holder) == runs[:4]

    scene.call(lambda tx: tx.set_queue(queue, 2, False))
    for run in (runs[0], runs[3]):
        scene.finish(run, holder)
        assert scene.claim(holder) == []
    scene.finish(runs[1], holder)
    assert scene.claim(holder) == runs[4:5]
    scene.call(lambda tx: tx.set_queue(queue, 3, False))
    assert scene.claim(holder) == runs[5:6]


@pytest.mark.parametrize("queue", ["a", "*"])
def test_a_new_limit_counts_runs_that_are_held_already(scene: Scene, queue: str) -> None:
    holder = scene.holder()
    held = [scene.held(holder, queue="a") for _ in range(2)]
    runs = [scene.start(queue="a") for _ in range(3)]

    scene.call(lambda tx: tx.set_queue(queue, 2, False))

    assert scene.claim(holder) == []
    scene.finish(held[0], holder)
    assert scene.claim(holder) == runs[:1]
    scene.park(held[1], holder, wake_at=None)
    assert scene.claim(holder) == runs[1:2]


def test_a_limit_that_was_lifted_and_set_again_counts_right(scene: Scene) -> None:
    scene.call(lambda tx: tx.set_queue("a", 1, False))
    runs = [scene.start(queue="a") for _ in range(4)]
    holder = scene.holder()
    assert scene.claim(holder) == runs[:1]
    scene.call(lambda tx: tx.set_queue("a", None, False))
    assert scene.claim(holder, limit=1) == runs[1:2]
    scene.call(lambda tx: tx.set_queue("a", 2, False))

    assert scene.claim(holder) == []
    scene.finish(runs[0], holder)
    assert scene.claim(holder) == runs[2:3]
    scene.finish(runs[1], holder)
    assert scene.claim(holder) == runs[3:]


def test_a_worker_that_shuts_down_gives_its_runs_back_first_in_line(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.start(ready_at=EPOCH - 100)
    scene.later()

    scene.batch((ADVANCE, scene.advance(run, holder, park=Park("shutdown", ready=True))))

    assert list(scene.rung("ready")) == [run]
    assert scene.claim(scene.holder(), limit=1) == [run]


def test_the_order_holds_across_any_number_of_queues(scene: Scene) -> None:
    queues = [f"q{number:02d}" for number in range(70)]
    runs = [
        scene.start(queue=queue, ready_at=EPOCH + 1000 * at + place)
        for place, queue in enumerate(queues)
        for at in range(2)
    ]
    urgent = scene.start(queue="q69", priority=-1, ready_at=EPOCH + 9999)
    holder = scene.holder()

    assert scene.claim(holder, limit=100) == [urgent, *runs[0::2], *runs[1:58:2]]
    assert scene.claim(holder, limit=100) == runs[59::2]


def test_one_queue_may_have_all_the_best(scene: Scene) -> None:
    for queue in ("a", "c"):
        scene.start(queue=queue, ready_at=EPOCH + 50)
    best = [scene.start(queue="b", ready_at=EPOCH + at) for at in range(5)]

    assert scene.claim(scene.holder(), limit=5) == best
    assert len(scene.claim(scene.holder(), limit=5)) == 2


@pytest.mark.parametrize("queue", ["a", "*"])
@pytest.mark.parametrize("limit,paused", [(None, True), (1, False)])
def test_a_poll_finds_nothing_in_a_queue_that_is_closed(
    scene: Scene, queue: str, limit: int | None, paused: bool
) -> None:
    holder = scene.holder()
    scene.start(queue="a")
    scene.claim(holder)
    waiting = scene.start(queue="a")
    assert scene.backend.reader.poll(holder, ["w"], scene.now).ready

    scene.call(lambda tx: tx.set_queue(queue, limit, paused))
    assert not scene.backend.reader.poll(holder, ["w"], scene.now).ready

    scene.start(queue="b")
    assert scene.backend.reader.poll(holder, ["w"], scene.now).ready is (queue == "a")
    scene.call(lambda tx: tx.set_queue(queue, 2, False))
    assert scene.backend.reader.poll(holder, ["w"], scene.now).ready
    assert waiting in scene.claim(holder)


@pytest.mark.parametrize("queue", ["a", "*"])
def test_a_poll_counts_runs_beyond_a_lowered_limit(scene: Scene, queue: str) -> None:
    holder = scene.holder()
    scene.call(lambda tx: tx.set_queue(queue, 2, False))
    first, last, _ = (scene.start(queue="a") for _ in range(3))
    assert scene.claim(holder) == [first, last]

    scene.call(lambda tx: tx.set_queue(queue, 1, False))
    scene.finish(first, holder)
    assert not scene.backend.reader.poll(holder, ["w"], scene.now).ready

    scene.finish(last, holder)
    assert scene.backend.reader.poll(holder, ["w"], scene.now).ready
