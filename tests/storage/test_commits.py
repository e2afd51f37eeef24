"""Batches whose commit goes wrong. Promises 2 and 3."""

from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest

from tests.storage.faults import Crash, FaultySession
from tests.storage.scene import Scene
from windlass.engine.errors import Fenced, WriteFailed
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL, Operation
from windlass.engine.ports import Transaction
from windlass.engine.types import Advance, StartRequest
from windlass.storage.batches import BatchWriter, ConnectionLost, Pending


@pytest.fixture
def faulty(scene: Scene) -> FaultySession:
    """The scene's session, from now on with faults."""
    faulty = FaultySession(scene.session)
    scene.session = faulty
    scene.writer = BatchWriter(faulty)
    scene.writer._marker = 10**6
    return faulty


def steps(scene: Scene, number: int) -> list[tuple[Operation[Any, Any], Advance]]:
    holder = scene.holder()
    return [(ADVANCE, scene.advance(scene.held(holder), holder, "a", "b")) for _ in range(number)]


def test_a_commit_whose_answer_is_lost_is_answered_by_its_marker(scene: Scene, faulty: FaultySession) -> None:
    units = steps(scene, 3)
    new = scene.new_run()
    faulty.commits = ["after"]

    answers = scene.batch(*units, (START, StartRequest(new)))

    assert answers[:3] == [None] * 3
    assert answers[3].run_id == new.run_id
    assert list(scene.rung("ready")) == [new.run_id]
    assert len(faulty.asked) == 1
    for _, unit in units:
        assert scene.types(unit.run_id) == ["run_started", "a", "b"]


def test_a_commit_that_never_happened_may_be_tried_again(scene: Scene, faulty: FaultySession) -> None:
    units = steps(scene, 3)
    faulty.commits = ["before"]

    answers = scene.batch(*units)

    assert [type(answer) for answer in answers] == [ConnectionLost] * 3
    assert scene.rings == []
    for _, unit in units:
        assert scene.types(unit.run_id) == ["run_started"]
    assert scene.batch(*units) == [None] * 3
    for _, unit in units:
        assert scene.types(unit.run_id) == ["run_started", "a", "b"]


def test_the_database_is_asked_until_it_answers(scene: Scene, faulty: FaultySession) -> None:
    units = steps(scene, 2)
    faulty.commits, faulty.unreachable = ["after"], 3

    assert scene.batch(*units) == [None] * 2

    assert len(faulty.asked) == 4
    assert len(set(faulty.asked)) == 1
    for _, unit in units:
        assert scene.types(unit.run_id) == ["run_started", "a", "b"]


def test_nothing_is_written_again_when_nobody_can_say_what_happened(scene: Scene, faulty: FaultySession) -> None:
    units = steps(scene, 2)
    writer = BatchWriter(faulty, lambda _seconds: True)
    writer._marker = 2 * 10**6
    faulty.commits, faulty.unreachable = ["after"], 1

    outcomes, rings, _ = writer.write([Pending(op, unit, Future(), None, False) for op, unit in units])

    assert [isinstance(error, WriteFailed) for _, error in outcomes] == [True, True]
    assert rings == []
    for _, unit in units:
        assert scene.types(unit.run_id) == ["run_started", "a", "b"]


def test_a_commit_that_is_refused_leads_to_one_by_one(scene: Scene, faulty: FaultySession) -> None:
    units = steps(scene, 3)
    faulty.commits = [ValueError("refused"), ValueError("the first alone")]

    answers = scene.batch(*units)

    assert [str(answer) for answer in answers] == ["the first alone", "None", "None"]
    assert faulty.asked == []
    assert [scene.types(unit.run_id) for _, unit in units] == [["run_started"], *[["run_started", "a", "b"]] * 2]


def test_answers_lost_one_by_one_are_each_settled(scene: Scene, faulty: FaultySession) -> None:
    units = steps(scene, 3)
    faulty.commits = [ValueError("refused"), "after", "before", "after"]

    answers = scene.batch(*units)

    assert [type(answer) for answer in answers] == [type(None), ConnectionLost, type(None)]
    assert len(set(faulty.asked)) == 3
    assert [len(scene.types(unit.run_id)) for _, unit in units] == [3, 1, 3]
    assert scene.batch(units[1]) == [None]


@pytest.mark.parametrize("fault", ["crash", "crash after"])
def test_a_process_that_dies_around_a_commit_leaves_all_or_nothing(
    scene: Scene, other: Scene, faulty: FaultySession, fault: str
) -> None:
    holder = scene.holder()
    runs = [scene.held(holder) for _ in range(2)]
    faulty.commits = [fault]

    with pytest.raises(Crash):
        scene.batch(*((ADVANCE, scene.advance(run, holder, "a")) for run in runs))

    expected = ["run_started"] if fault == "crash" else ["run_started", "a"]
    assert [other.types(run) for run in runs] == [expected, expected]


def test_a_process_that_dies_inside_a_transaction_leaves_nothing(scene: Scene, other: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    before = other.tables()

    def die(tx: Transaction) -> None:
        tx.set_queue("q", 1, False)
        tx.execute("INSERT INTO notes (note_id, text) VALUES (1, 'n')")
        raise Crash

    with suppress(Crash):
        scene.batch((ADVANCE, scene.advance(run, holder, "a")), (CALL, die))

    assert other.tables() == before
    other.start()
    scene.write(run, holder, "b")
    assert other.types(run) == ["run_started", "b"]


def test_a_session_that_is_closed_in_the_middle_leaves_nothing(scene: Scene, other: Scene) -> None:
    run = other.start()
    session = other.backend.write_session()
    tx = session.begin(1)
    tx.finish_runs([(tx.lock_runs([run])[run], "1", None, 1)])

    session.close()

    assert scene.view(run).outputs is None
    assert scene.claim(scene.holder()) == [run]


def test_each_writer_has_its_own_marker(scene: Scene, other: Scene) -> None:
    scene.session.begin(71).set_queue("a", None, False)
    scene.session.commit()
    other.session.begin(72).set_queue("b", None, False)
    other.session.commit()

    assert scene.session.committed(71)
    assert not scene.session.committed(72)
    assert not scene.session.committed(70)
    assert other.session.committed(72)
    other.session.begin(73)
    other.session.rollback()
    assert not other.session.committed(73)


def test_a_rollback_of_nothing_is_harmless(scene: Scene) -> None:
    scene.session.rollback()
    run = scene.start()
    scene.session.rollback()

    assert scene.view(run).status == "queued"


def test_refusals_are_answered_after_a_lost_answer_too(scene: Scene, faulty: FaultySession) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    faulty.commits = ["after"]

    answers = scene.batch(
        (ADVANCE, scene.advance(run, "stranger", "a")), (ADVANCE, scene.advance(run, holder, "b")), (CALL, int)
    )

    assert isinstance(answers[0], Fenced)
    assert answers[1] is None
    assert isinstance(answers[2], TypeError)
    assert scene.types(run) == ["run_started", "b"]
