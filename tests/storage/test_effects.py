"""Transactional steps: what they write and their journal row are one. Promise 8."""

from typing import Any

import pytest

from tests.storage.faults import FaultySession
from tests.storage.scene import EPOCH, Scene
from windlass.engine.control import SIGNAL
from windlass.engine.errors import Fenced
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ports import Transaction
from windlass.engine.transact import TRANSACT, Effect
from windlass.engine.types import NewEvent, StartRequest
from windlass.storage.batches import BatchWriter, ConnectionLost


def effect(run_id: str, holder: str, note_id: int, fails: bool = False, timeout: float | None = None) -> Effect:
    def call(tx: Transaction) -> tuple[Any, str]:
        tx.execute("INSERT INTO notes (note_id, text) VALUES (:id, :run)", {"id": note_id, "run": run_id})
        if fails:
            raise KeyError(note_id)
        return note_id, str(note_id)

    def events(text: str) -> list[NewEvent]:
        return [NewEvent("step_completed", f"put#{note_id}", f'{{"output":{text}}}', EPOCH)]

    return Effect(run_id, holder, call, events, 5.0 if timeout is None else timeout, False)


def notes(scene: Scene) -> list[int]:
    return [note[0] for note in scene.notes()]


def test_a_step_and_its_journal_row_are_one(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    assert scene.do(TRANSACT, effect(run, holder, 7)) == 7

    assert notes(scene) == [7]
    assert scene.types(run) == ["run_started", "step_completed"]
    assert scene.parsed(scene.events(run)[1].payload) == {"output": 7}


def test_a_step_that_fails_leaves_nothing_and_its_neighbours_commit(scene: Scene) -> None:
    holder = scene.holder()
    first, second = scene.held(holder), scene.held(holder)

    answers = scene.batch(
        (TRANSACT, effect(first, holder, 1)),
        (TRANSACT, effect(first, holder, 2, fails=True)),
        (TRANSACT, effect(first, holder, 3)),
        (TRANSACT, effect(second, holder, 1)),
        (ADVANCE, scene.advance(second, holder, "a")),
        (TRANSACT, effect(second, holder, 4)),
    )

    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False, True, False, False]
    assert isinstance(answers[1], KeyError)
    assert notes(scene) == [1, 3, 4]
    assert [event.step_id for event in scene.events(first)] == [None, "put#1", "put#3"]
    assert sorted(scene.types(second)) == ["a", "run_started", "step_completed"]


def test_a_step_without_a_live_claim_is_not_run(scene: Scene) -> None:
    holder, other = scene.holder(), scene.holder()
    mine, theirs = scene.held(holder), scene.held(other)
    scene.call(lambda tx: tx.end_lease(holder, force=True))

    answers = scene.batch((TRANSACT, effect(mine, holder, 1)), (TRANSACT, effect(theirs, holder, 2)))

    assert [type(answer) for answer in answers] == [Fenced, Fenced]
    assert notes(scene) == []
    assert [scene.types(run) for run in (mine, theirs)] == [["run_started"]] * 2


def test_starts_and_signals_inside_a_step_share_its_fate(scene: Scene) -> None:
    holder = scene.holder()
    run, target = scene.held(holder), scene.held(holder)

    def speaking(name: str, fails: bool) -> Effect:
        unit = effect(run, holder, 1 if fails else 2, fails)
        call = unit.call

        def speak(tx: Transaction) -> tuple[Any, str]:
            START.apply(tx, [StartRequest(scene.new_run(run_id=f"run {name}"))])
            tx.lock_runs([target])
            SIGNAL.apply(tx, [scene.signal_request(target, name)])
            return call(tx)

        unit.call = speak
        return unit

    scene.batch((TRANSACT, speaking("lost", True)), (TRANSACT, speaking("said", False)))

    assert sorted((ring.kind, ring.run_id) for ring in scene.rings) == [("inbox", target), ("ready", "run said")]
    assert [row.name for row in scene.inbox(target)] == ["said"]
    assert scene.backend.reader.get_run("run lost") is None
    assert scene.view("run said").status == "queued"


def test_a_step_that_takes_too_long_fails_alone(scene: Scene) -> None:
    holder = scene.holder()
    slow, quick = scene.held(holder), scene.held(holder)
    unit = effect(slow, holder, 1, timeout=0.05)
    call = unit.call
    sql = (
        "WITH RECURSIVE r(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM r WHERE n < 1000000000)"
        " INSERT INTO notes (note_id, text) SELECT n, 'n' FROM r"
    )

    def dawdle(tx: Transaction) -> tuple[Any, str]:
        tx.execute(sql).fetchall()
        return call(tx)

    unit.call = dawdle

    answers = scene.batch((TRANSACT, effect(quick, holder, 2)), (TRANSACT, unit), (TRANSACT, effect(quick, holder, 3)))

    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False]
    assert notes(scene) == [2, 3]
    assert scene.types(slow) == ["run_started"]
    assert scene.types(quick) == ["run_started", "step_completed", "step_completed"]


@pytest.mark.parametrize("fault", ["after", "before"])
def test_a_step_whose_commit_is_unknown_happens_once(scene: Scene, fault: str) -> None:
    faulty = FaultySession(scene.session)
    scene.session, scene.writer = faulty, BatchWriter(faulty)
    scene.writer._marker = 10**6
    holder = scene.holder()
    run = scene.held(holder)
    units = [(TRANSACT, effect(run, holder, n)) for n in (1, 2)]
    faulty.commits = [fault]

    answers = scene.batch(*units)

    if fault == "before":
        assert [type(answer) for answer in answers] == [ConnectionLost] * 2
        assert notes(scene) == []
        answers = scene.batch(*units)
    assert answers == [1, 2]
    assert notes(scene) == [1, 2]
    assert scene.types(run) == ["run_started", "step_completed", "step_completed"]
