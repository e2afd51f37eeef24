"""Runs that share limits: who gets the free seats, in which order, and that there are never more than seats."""

from collections import Counter
from typing import Any

import pytest

from tests.storage.scene import DONE, Scene
from windlass.engine.control import CLAIM
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ports import Transaction
from windlass.engine.types import ClaimRequest, ClaimResult, RunFilter, Started, StartRequest, Status
from windlass.kernel.clock import SECOND
from windlass.kernel.lanes import STRICT_AGEING, LaneRules, ageing_of, lane_of, limits_of

RULES = LaneRules(tenant=2, workflow=1, ageing=60 * SECOND)
WIDE = LaneRules(tenant=1000, workflow=1000, ageing=60 * SECOND)


def start(scene: Scene, tenant: str, workflow: str = "1", key: str = "", limit: int = 0, **fields: Any) -> str:
    ageing = ageing_of(fields.get("priority", 0), fields.pop("ageing", 60 * SECOND))
    lane = lane_of(tenant, workflow, key, limit)
    return scene.start(tenant_id=tenant, lane=lane, ageing=ageing, **{"queue": "workflows", **fields})


def ask(scene: Scene, holder: str, limit: int = 100, rules: LaneRules = RULES, **more: Any) -> ClaimResult:
    answer: ClaimResult = scene.do(CLAIM, ClaimRequest(holder, ("w",), None, limit, scene.now, rules, **more))
    return answer


def take(scene: Scene, holder: str, limit: int = 100, rules: LaneRules = RULES, **more: Any) -> list[str]:
    return [run.head.run_id for run in ask(scene, holder, limit, rules, **more).runs]


def limit(scene: Scene, **limits: int | None) -> None:
    def change(tx: Transaction) -> None:
        for name, most in limits.items():
            tx.set_limit(name.replace("_", "/"), most)

    scene.call(change)


def ready(scene: Scene, rules: LaneRules = RULES) -> bool:
    return scene.backend.reader.poll("h", ["w"], scene.now, rules).ready


def seats(scene: Scene) -> Counter[str]:
    return Counter(name for name, _ in scene.tables()["seats"])


def test_each_limit_is_exact_and_no_free_seat_is_left(scene: Scene) -> None:
    first, second = scene.holder(), scene.holder()
    same = [start(scene, "acme", "1") for _ in range(3)]
    other = [start(scene, "acme", "2") for _ in range(2)]
    third = start(scene, "acme", "3")
    adhoc = [start(scene, "umbra", "") for _ in range(3)]

    taken = [*take(scene, first), *take(scene, second)]
    assert sorted(taken) == sorted([same[0], other[0], adhoc[0], adhoc[1]])
    assert seats(scene) == {"acme": 2, "acme/1": 1, "acme/2": 1, "umbra": 2}
    assert not ready(scene)

    scene.finish(same[0], first if same[0] in taken[:4] else second)
    assert ready(scene)
    assert take(scene, second) == [third]
    assert take(scene, second) == []


def test_a_key_has_a_limit_of_its_own(scene: Scene) -> None:
    holder = scene.holder()
    red = [start(scene, "acme", "1", "red", 2) for _ in range(3)]
    blue = [start(scene, "acme", "1", "blue/9", 1) for _ in range(2)]
    odd = start(scene, "a/b:c ü", "1", "100%", 1)

    assert sorted(take(scene, holder, rules=WIDE)) == sorted([*red[:2], blue[0], odd])
    assert take(scene, holder, rules=WIDE) == []
    scene.finish(blue[0], holder)
    assert take(scene, holder, rules=WIDE) == [blue[1]]
    assert limits_of(lane_of("a/b", "1", "k")) == ("a%2Fb", "a%2Fb/1", "a%2Fb/1/k")


def test_limits_change_while_runs_are_going(scene: Scene) -> None:
    holder = scene.holder()
    runs = [start(scene, "acme", "1") for _ in range(8)]
    assert take(scene, holder) == runs[:1]

    limit(scene, acme_1=4, acme=3)
    assert ready(scene)
    assert take(scene, holder) == runs[1:3]
    scene.call(lambda tx: tx.set_limit("acme", 2))
    for run in runs[:2]:
        assert take(scene, holder) == []
        scene.finish(run, holder)
    assert take(scene, holder) == runs[3:4]
    limit(scene, acme_1=None, acme=None)
    for run in runs[2:4]:
        assert take(scene, holder) == []
        scene.finish(run, holder)
    assert take(scene, holder) == runs[4:5]


@pytest.mark.parametrize("way", ["finish", "park", "pause", "shutdown", "takeover", "cancel"])
def test_a_seat_comes_back_when_its_run_leaves(scene: Scene, way: str) -> None:
    holder, heir = scene.holder(), scene.holder()
    run = start(scene, "acme")
    assert take(scene, holder) == [run]
    waiting = start(scene, "acme", priority=-9)
    assert take(scene, heir) == []

    if way == "finish":
        scene.finish(run, holder)
    elif way == "park":
        scene.park(run, holder)
    elif way == "pause":
        scene.park(run, holder, status=Status.PAUSED)
    elif way == "shutdown":
        scene.park(run, holder, ready=True)
    elif way == "cancel":
        scene.control(run, "cancel")
        scene.park(run, holder, ready=True)
    else:
        scene.die(holder)
        scene.take_over(holder)

    assert take(scene, heir) == [waiting]
    assert seats(scene) == {"acme": 1, "acme/1": 1}
    scene.finish(waiting, heir)
    assert take(scene, heir) == ([run] if way in {"shutdown", "takeover"} else [])


def test_a_seat_given_back_counts_within_the_same_batch(scene: Scene) -> None:
    holder, other = scene.holder(), scene.holder()
    first, second = start(scene, "acme"), start(scene, "acme")
    assert take(scene, holder) == [first]

    answers = scene.batch(
        (ADVANCE, scene.advance(first, holder, "run_completed", finish=DONE)),
        (CLAIM, ClaimRequest(other, ("w",), None, 5, scene.now, RULES)),
    )
    assert [run.head.run_id for run in answers[1].runs] == [second]


def born(scene: Scene, *runs: tuple[str, str], rules: LaneRules | None = RULES, **fields: Any) -> list[str | None]:
    """Start runs of tenants and workflows together, each to be claimed at once; returns who holds each."""
    requests = [
        StartRequest(
            scene.new_run(tenant_id=tenant, lane=lane_of(tenant, workflow), ageing=60 * SECOND, **fields), rules=rules
        )
        for tenant, workflow in runs
    ]
    started: list[Started] = scene.batch(*((START, request) for request in requests))
    assert [scene.head(one.run_id).holder for one in started] == [one.holder for one in started]
    return [one.holder for one in started]


def test_runs_of_a_tenant_are_born_claimed_when_all_that_is_ready_has_seats(scene: Scene) -> None:
    holder = scene.holder()
    first, second = born(scene, ("acme", "1"), ("umbra", "1"), holder=holder)
    assert (first, second) == (holder, holder)
    assert seats(scene) == {"acme": 1, "acme/1": 1, "umbra": 1, "umbra/1": 1}
    assert born(scene, ("acme", "1"), ("umbra", "2"), holder=holder) == [None, holder]
    assert born(scene, ("acme", "2"), ("umbra", "3"), holder=holder) == [None, None], "one waits, the other has no seat"
    assert born(scene, ("third", "1"), ("third", "1"), holder=holder) == [None, None], "who of the two is not said here"
    assert born(scene, ("fourth", "1"), holder=holder, rules=None) == [None]
    assert seats(scene) == {"acme": 1, "acme/1": 1, "umbra": 2, "umbra/1": 1, "umbra/2": 1}

    assert len(take(scene, holder)) == 3
    for run in scene.backend.reader.list_runs(RunFilter(status=("running",))):
        scene.finish(run.run_id, holder)
    assert (seats(scene)["acme"], ready(scene)) == (0, True)
    assert born(scene, ("acme", "2"), holder=holder) == [None], "it has waited longer"


def test_nobody_is_born_claimed_past_a_limit_or_a_run_that_is_due(scene: Scene) -> None:
    holder = scene.holder()
    limit(scene, acme=0, umbra_1=0)
    assert born(scene, ("acme", "1"), ("umbra", "1"), holder=holder) == [None, None]
    scene.call(lambda tx: tx.set_queue("shut", None, True))
    assert born(scene, ("third", "1"), holder=holder, queue="shut") == [None]
    assert born(scene, ("fourth", "1"), holder="dead") == [None]
    start(scene, "fifth", wake_at=scene.now + SECOND)
    assert born(scene, ("fifth", "2"), holder=holder) == [holder]
    scene.later(2)
    assert born(scene, ("sixth", "1"), holder=holder) == [None], "somebody is due, and it is not looked whose run it is"
    assert seats(scene) == {"fifth": 1, "fifth/2": 1}


def test_births_are_turns(scene: Scene) -> None:
    holder = scene.holder()
    for _ in range(6):
        assert born(scene, ("busy", "1"), holder=holder, rules=WIDE) == [holder]
    scene.call(lambda tx: tx.set_weight("busy", 2))
    for tenant in ("busy", "late"):
        for _ in range(12):
            start(scene, tenant)
    whose = Counter(run.tenant_id for run in ask(scene, holder, 9, WIDE).runs)
    assert whose == {"busy": 6, "late": 3}, "what it had alone is neither held against it nor saved up"


def test_tenants_get_turns_by_their_weight(scene: Scene) -> None:
    scene.call(lambda tx: tx.set_weight("heavy", 3))
    holder = scene.holder()
    for tenant in ("light", "heavy"):
        for _ in range(50):
            start(scene, tenant)

    whose = Counter[str]()
    for at in range(8):
        claimed = ask(scene, holder, 5 if at % 2 else 1, WIDE).runs
        whose.update(run.tenant_id for run in claimed)
        assert abs(whose["heavy"] - 3 * whose["light"]) <= 3
    assert sum(whose.values()) == 24
    scene.call(lambda tx: tx.set_weight("heavy", 1))
    before = Counter(whose)
    for _ in range(20):
        whose.update(run.tenant_id for run in ask(scene, holder, 1, WIDE).runs)
    assert abs((whose - before)["heavy"] - (whose - before)["light"]) <= 1


def test_who_was_idle_or_full_has_saved_nothing_up(scene: Scene) -> None:
    holder = scene.holder()
    busy = [start(scene, "busy") for _ in range(40)]
    late = start(scene, "late")
    take(scene, holder, 2, WIDE)
    assert take(scene, holder, 20, WIDE) == busy[1:21]
    scene.finish(late, holder)

    for _ in range(10):
        start(scene, "late")
    whose = Counter(run.tenant_id for run in ask(scene, holder, 10, WIDE).runs)
    assert whose == {"busy": 5, "late": 5}


def test_lanes_of_a_tenant_take_turns_however_many_there_are(scene: Scene) -> None:
    holder = scene.holder()
    runs = [[start(scene, "acme", str(lane)) for lane in range(100, 180)] for _ in range(2)]

    taken: list[str] = []
    for _ in range(16):
        taken.extend(take(scene, holder, 10, LaneRules(1000, 1000, SECOND)))
    assert sorted(taken[:80]) == sorted(runs[0])
    assert sorted(taken[80:]) == sorted(runs[1])


def test_full_lanes_hide_no_open_one(scene: Scene) -> None:
    holder = scene.holder()
    rules = LaneRules(1000, 100, SECOND)
    for place in range(150):
        start(scene, "acme", "1", f"{place:03}", 1)
    while take(scene, holder, 100, rules):
        pass
    assert seats(scene)["acme"] == 100
    for place in range(150):
        start(scene, "acme", "1", f"{place:03}", 1)
    behind = start(scene, "acme", "2")

    assert take(scene, holder, 5, rules) == [behind]

    scene.call(lambda tx: tx.set_limit("acme/1", 1000))
    found: list[str] = []
    for _ in range(16):
        found.extend(take(scene, holder, 100, rules))
    assert seats(scene)["acme/1"] == 150
    last = start(scene, "acme", "1", "zzz", 1)
    for _ in range(16):
        found = take(scene, holder, 100, rules) or found
    assert found == [last]


def test_more_tenants_than_one_claim_looks_at_get_their_turn(scene: Scene) -> None:
    holder = scene.holder()
    rules = LaneRules(1, 1, SECOND)
    for number in range(300):
        start(scene, f"t{number:03}")
    limit(scene, **{f"t{number:03}": 1 for number in range(300)})

    cursor, starts, fruitful = "", 0, True
    while fruitful or cursor:
        fruitful = fruitful and cursor != ""
        answer = ask(scene, holder, 40, rules, cursor=cursor)
        starts, cursor, fruitful = starts + len(answer.runs), answer.cursor, fruitful or bool(answer.runs)
    assert (starts, seats(scene)["t299"]) == (300, 1)
    for number in range(300):
        start(scene, f"t{number:03}")
    assert ready(scene, rules)
    only = ask(scene, holder, 40, rules)
    assert (only.runs, only.more, only.cursor) == ([], True, "t1270")
    second = ask(scene, holder, 40, rules, cursor=only.cursor)
    assert (second.more, second.cursor) == (True, "t2550")
    assert ask(scene, holder, 40, rules, cursor=second.cursor).more is False


def test_tenants_whose_workflows_are_full_hide_nobody(scene: Scene) -> None:
    holder = scene.holder()
    for _ in range(2):
        for number in range(100):
            start(scene, f"t{number:02}")
    assert len(take(scene, holder)) == 100
    late = start(scene, "zz")

    assert take(scene, holder, 1) == [late]


def test_waiting_makes_up_for_priority(scene: Scene) -> None:
    holder = scene.holder()
    patient = start(scene, "acme", priority=2)
    strict = start(scene, "umbra", priority=2, ageing=STRICT_AGEING)
    scene.later(119)
    urgent = [start(scene, "acme"), start(scene, "acme")]
    scene.later(2)
    late = start(scene, "acme")
    scene.later(10_000_000)
    early = start(scene, "umbra", ageing=STRICT_AGEING)

    assert [run for run in take(scene, holder, rules=WIDE) if run not in {early, strict}] == [*urgent, patient, late]
    assert scene.head(early).holder == scene.head(strict).holder == holder
    one = LaneRules(1000, 1, 60 * SECOND)
    lazy, first = (start(scene, "strict", priority=at, ageing=STRICT_AGEING) for at in (5, -(2**31)))
    assert take(scene, holder, rules=one) == [first]
    scene.finish(first, holder)
    assert take(scene, holder, rules=one) == [lazy]


def test_a_woken_run_goes_before_new_starts(scene: Scene) -> None:
    holder = scene.holder()
    woken = start(scene, "acme")
    assert take(scene, holder) == [woken]
    scene.park(woken, holder)
    fresh = start(scene, "acme")
    scene.later(30)
    scene.signal(woken)

    assert take(scene, holder) == [woken]
    scene.finish(woken, holder)
    assert take(scene, holder) == [fresh]


def test_queues_that_are_closed_or_not_asked_for_give_nothing(scene: Scene) -> None:
    holder = scene.holder()
    run, other = start(scene, "acme"), start(scene, "umbra", queue="other")
    scene.call(lambda tx: tx.set_queue("workflows", None, True))
    assert take(scene, holder, 1) == [other]
    assert not ready(scene)
    assert scene.claim(holder, names=["x"]) == []

    scene.call(lambda tx: tx.set_queue("workflows", 1, False))
    more = start(scene, "third")
    assert take(scene, holder, 1) == [run]
    assert (take(scene, holder), ready(scene)) == ([], False)
    scene.finish(run, holder)
    assert take(scene, holder) == [more]
    scene.call(lambda tx: tx.set_queue("workflows", None, False))
    scene.call(lambda tx: tx.set_queue("*", 2, False))
    start(scene, "fourth")
    assert take(scene, holder) == []
    assert scene.claim(scene.holder(), queues=["elsewhere"]) == []


def test_lanes_and_other_runs_share_what_there_is(scene: Scene) -> None:
    holder = scene.holder()
    plain = [scene.start() for _ in range(6)]
    laned = [start(scene, "acme") for _ in range(6)]

    assert take(scene, holder, 4, WIDE) == [*laned[:2], *plain[:2]]
    assert take(scene, holder, 1, WIDE, lanes_first=False) == plain[2:3]
    assert take(scene, holder, 1, WIDE) == laned[2:3]
    assert take(scene, holder, 100, WIDE) == [*laned[3:], *plain[3:]]
    last = start(scene, "acme")
    assert take(scene, holder, 1, WIDE, lanes_first=False) == [last]
