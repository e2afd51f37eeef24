"""Units that are functions: each fails alone, and what it did is gone without a trace."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.storage.databases import NOTES
from tests.storage.scene import DONE, EPOCH, LEASE_SECONDS, Scene
from windlass.engine.control import SIGNAL
from windlass.engine.errors import RunConflict
from windlass.engine.heads import append, to_json
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL
from windlass.engine.ports import IdempotencyRow, Transaction
from windlass.engine.types import Event, InboxRow, Lease, NewEvent, NewRun, StartRequest


class Refused(Exception):
    pass


def note(tx: Transaction, note_id: int) -> None:
    tx.execute("INSERT INTO notes (note_id, text) VALUES (:id, 'n')", {"id": note_id})


def test_a_call_returns_what_its_function_returns(scene: Scene) -> None:
    assert scene.batch((CALL, lambda _tx: 1), (CALL, lambda _tx: {"a": [2]})) == [1, {"a": [2]}]


def test_a_call_that_fails_does_so_alone(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    def fail(tx: Transaction) -> None:
        note(tx, 1)
        raise Refused

    answers = scene.batch(
        (CALL, lambda tx: note(tx, 2)),
        (CALL, fail),
        (CALL, lambda tx: note(tx, 3)),
        (ADVANCE, scene.advance(run, holder, "a")),
    )

    assert [type(answer) for answer in answers] == [type(None), Refused, type(None), type(None)]
    assert [found[0] for found in scene.notes()] == [2, 3]
    assert scene.types(run) == ["run_started", "a"]


def test_a_call_whose_sql_fails_does_so_alone(scene: Scene) -> None:
    answers = scene.batch(
        (CALL, lambda tx: note(tx, 1)),
        (CALL, lambda tx: note(tx, 1)),
        (CALL, lambda tx: tx.execute("SELECT nothing FROM nowhere")),
        (CALL, lambda tx: tx.connection.execute(NOTES.insert(), [{"note_id": 1, "text": "x"}])),
        (CALL, lambda tx: tx.connection.execute(NOTES.insert(), [{"note_id": 2, "text": "x"}]).rowcount),
        (CALL, lambda tx: note(tx, 3)),
    )

    assert [isinstance(answer, Exception) for answer in answers] == [False, True, True, True, False, False]
    assert [found[0] for found in scene.notes()] == [1, 2, 3]


CHANGES: dict[str, Callable[[Transaction, str, str], object]] = {
    "runs": lambda tx, _run, _holder: tx.insert_runs([NewRun("new", "w", "[]", EPOCH)]),
    "heads": lambda tx, run, _: append(tx, tx.lock_runs([run])[run], NewEvent("x", None, "{}", EPOCH)),
    "events": lambda tx, run, _: tx.append_events([Event(run, 99, "x", None, "{}", EPOCH)]),
    "outcomes": lambda tx, run, _: tx.finish_runs([(tx.lock_runs([run])[run], "1", None, EPOCH)]),
    "claims": lambda tx, _, holder: tx.claim_ready(holder, ["w"], None, 10),
    "inbox": lambda tx, run, _: tx.add_inbox([InboxRow("i", run, "signal", "x", "d", "1", EPOCH)]),
    "consumption": lambda tx, run, _: tx.consume_inbox([f"kept:{run}", f"gone:{run}"]),
    "keys": lambda tx, _run, _holder: tx.claim_keys([IdempotencyRow("s", "k", "r", "h", EPOCH)], EPOCH),
    "leases": lambda tx, _, holder: tx.end_lease(holder, force=True),
    "new leases": lambda tx, _run, _holder: tx.add_lease(Lease("other", "host", 1, ""), LEASE_SECONDS),
    "queues": lambda tx, _run, _holder: tx.set_queue("q", 1, True),
    "slots": lambda tx, run, _: tx.free_slots([run]),
    "timers": lambda tx, _run, _holder: tx.promote_due(EPOCH * 2, 10),
    "rows": lambda tx, _run, _holder: tx.insert_rows(NOTES, ["note_id", "text"], [(1, "x")]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_everything_goes_back_with_a_savepoint(scene: Scene, what: str) -> None:
    holder = scene.holder()
    scene.call(lambda tx: tx.set_queue("q", 5, False))
    run = scene.start(queue="q")
    scene.claim(holder)
    scene.start()
    scene.start(wake_at=EPOCH + 5)
    letters = [
        InboxRow(f"{kind}:{run}", run, "signal", kind, dedup, "1", EPOCH)
        for kind, dedup in (("kept", "d"), ("gone", None), ("last", None))
    ]
    scene.call(lambda tx: tx.add_inbox(letters))
    before = scene.tables()

    def change(tx: Transaction) -> None:
        CHANGES[what](tx, run, holder)

    def try_it(tx: Transaction) -> None:
        with suppress(Refused), tx.savepoint():
            change(tx)
            raise Refused

    scene.call(try_it)
    assert scene.tables() == before

    def give_up(tx: Transaction) -> None:
        change(tx)
        raise Refused

    with pytest.raises(Refused):
        scene.call(give_up)
    assert scene.tables() == before

    tx = scene.session.begin(10**6)
    change(tx)
    scene.session.rollback()
    assert scene.tables() == before

    scene.call(change)
    assert scene.tables() != before


def test_an_inbox_keeps_its_order_when_a_consumption_is_taken_back(scene: Scene) -> None:
    run = scene.start()
    for name in ("a", "b", "c"):
        scene.signal(run, name)
    first = scene.inbox(run)[0].inbox_id

    def give_up(tx: Transaction) -> None:
        tx.consume_inbox([first])
        raise Refused

    with pytest.raises(Refused):
        scene.call(give_up)
    assert [row.name for row in scene.inbox(run)] == ["a", "b", "c"]


def test_savepoints_nest(scene: Scene) -> None:
    def write(tx: Transaction) -> None:
        note(tx, 1)
        with tx.savepoint():
            note(tx, 2)
            with suppress(Refused), tx.savepoint():
                note(tx, 3)
                raise Refused
            note(tx, 4)
        with suppress(Refused), tx.savepoint():
            note(tx, 5)
            with tx.savepoint():
                note(tx, 6)
            raise Refused
        note(tx, 7)

    scene.call(write)
    assert [found[0] for found in scene.notes()] == [1, 2, 4, 7]


def test_the_doorbells_of_what_failed_do_not_ring(scene: Scene) -> None:
    holder = scene.holder()
    held, waiting = scene.held(holder), scene.start()

    def speak(tx: Transaction, name: str) -> None:
        tx.lock_runs([held])
        SIGNAL.apply(tx, [scene.signal_request(held, name)])
        START.apply(tx, [StartRequest(scene.new_run(run_id=f"run {name}"))])

    def fail(tx: Transaction) -> None:
        speak(tx, "lost")
        raise Refused

    def half(tx: Transaction) -> None:
        with suppress(Refused), tx.savepoint():
            speak(tx, "half")
            raise Refused
        speak(tx, "said")

    scene.batch((CALL, fail), (CALL, half))

    assert [(ring.kind, ring.inbox.name if ring.inbox else ring.run_id) for ring in scene.rings] == [
        ("inbox", "said"),
        ("ready", "run said"),
    ]
    assert [row.name for row in scene.inbox(held)] == ["said"]
    assert scene.head(waiting).ready_at == EPOCH


def test_numbers_have_no_gaps_after_a_call_that_failed(scene: Scene) -> None:
    run, other = scene.start(), scene.start()

    def add(tx: Transaction, name: str) -> None:
        append(tx, head := tx.lock_runs([run])[run], NewEvent(name, None, to_json({}), EPOCH))
        tx.bump_runs([head])

    def fail(tx: Transaction) -> None:
        add(tx, "lost")
        tx.lock_runs([other])[other].last_seq = 77
        raise Refused

    def half(tx: Transaction) -> None:
        add(tx, "a")
        with suppress(Refused), tx.savepoint():
            add(tx, "lost too")
            with tx.savepoint():
                add(tx, "deeply lost")
            raise Refused
        add(tx, "b")

    scene.batch((CALL, lambda tx: add(tx, "first")), (CALL, fail), (CALL, half), (CALL, lambda tx: add(tx, "c")))

    assert scene.types(run) == ["first", "a", "b", "c"]
    assert scene.head(other).last_seq == 0


def test_a_lease_ended_in_a_call_that_failed_still_counts(scene: Scene) -> None:
    holder = scene.holder()

    def fail(tx: Transaction) -> None:
        tx.end_lease(holder, force=True)
        tx.set_queue("*", None, True)
        assert not tx.lease_is_live(holder)
        assert tx.restricted_queues() == {"*"}
        raise Refused

    run = scene.new_run(holder=holder)
    answers = scene.batch((CALL, fail), (START, StartRequest(run)))

    assert isinstance(answers[0], Refused)
    assert answers[1].holder == holder


def test_a_queue_paused_in_a_batch_counts_in_it(scene: Scene) -> None:
    holder = scene.holder()

    def pause(tx: Transaction) -> None:
        assert tx.restricted_queues() == frozenset()
        tx.set_queue("default", None, True)

    run = scene.new_run(holder=holder)
    answers = scene.batch((CALL, pause), (START, StartRequest(run)))

    assert answers[1].holder is None
    assert scene.head(run.run_id).holder is None


def test_a_refusal_inside_a_call_can_be_raised(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.finish(run, holder, DONE)

    def signal(tx: Transaction) -> None:
        note(tx, 1)
        tx.lock_runs([run])
        answer = SIGNAL.apply(tx, [scene.signal_request(run)])[0]
        assert isinstance(answer, Exception)
        raise answer

    with pytest.raises(RunConflict):
        scene.call(signal)
    assert scene.notes() == []


FILL = "INSERT INTO notes (note_id, text) SELECT n, '' FROM r"
SLOW = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000000000)"


@pytest.mark.parametrize("statement", [f"{SLOW} SELECT count(*) FROM r", f"{SLOW} {FILL}"])
def test_a_statement_that_takes_too_long_is_stopped_and_fails_alone(scene: Scene, statement: str) -> None:
    holder = scene.holder()
    run = scene.held(holder)

    def wait(tx: Transaction) -> None:
        note(tx, 1)
        with tx.savepoint(0.05):
            tx.execute(statement).fetchall()

    def swallow(tx: Transaction) -> None:
        note(tx, 2)
        with tx.savepoint(0.05):
            with pytest.raises(Exception, match=r".+"):
                tx.execute(statement).fetchall()
            raise Refused

    answers = scene.batch(
        (ADVANCE, scene.advance(run, holder, "a")),
        (CALL, lambda tx: note(tx, 3)),
        (CALL, wait),
        (CALL, lambda tx: note(tx, 4)),
        (CALL, swallow),
        (START, StartRequest(scene.new_run(run_id="new"))),
    )

    assert [isinstance(answer, Exception) for answer in answers] == [False, False, True, False, True, False]
    assert [found[0] for found in scene.notes()] == [3, 4]
    assert scene.types(run) == ["run_started", "a"]
    assert scene.view("new").status == "queued"


def test_a_time_limit_ends_with_its_savepoint(scene: Scene) -> None:
    def work(tx: Transaction) -> int:
        with tx.savepoint(0.0):
            pass
        sql = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 50000) SELECT count(*) FROM r"
        count: int = tx.execute(sql).fetchone()[0]
        return count

    assert scene.call(work) == 50000


def test_a_stopped_write_does_not_let_later_ones_through(scene: Scene) -> None:
    def swallow(tx: Transaction) -> None:
        with tx.savepoint(0.05):
            with pytest.raises(Exception, match=r".+"):
                tx.execute(f"{SLOW} {FILL}")
            note(tx, 1)

    answers = scene.batch((CALL, swallow), (CALL, lambda tx: note(tx, 2)))

    assert isinstance(answers[0], Exception)
    assert [found[0] for found in scene.notes()] == [2]


def test_what_is_left_for_the_end_is_written_at_once(scene: Scene) -> None:
    written: list[list[int]] = []

    def write(tx: Transaction, rows: list[int]) -> None:
        written.append(rows)
        for row in rows:
            note(tx, row)

    def leave(tx: Transaction, *rows: int, fails: bool = False) -> None:
        for row in rows:
            tx.at_end(write, row)
        if fails:
            raise Refused

    first, failed, last = scene.batch(
        (CALL, lambda tx: leave(tx, 1, 2)),
        (CALL, lambda tx: leave(tx, 3, fails=True)),
        (CALL, lambda tx: leave(tx, 4)),
    )
    assert (first, type(failed), last) == (None, Refused, None)
    assert (written, [found[0] for found in scene.notes()]) == ([[1, 2, 4]], [1, 2, 4])

    taken, fresh = scene.batch((CALL, lambda tx: leave(tx, 2)), (CALL, lambda tx: leave(tx, 5)))
    assert (isinstance(taken, Exception), fresh) == (True, None)
    assert [found[0] for found in scene.notes()] == [1, 2, 4, 5]
