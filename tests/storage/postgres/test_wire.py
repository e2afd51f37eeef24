"""Round trips, what is queued and when its errors show, savepoints, and user code's own way in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.storage.databases import NOTES
from tests.storage.scene import DONE, Scene
from tests.support.waiting import wait_until
from windlass.engine.control import CLAIM
from windlass.engine.errors import TransactionLost
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL, Operation
from windlass.engine.ports import Transaction
from windlass.engine.types import ClaimRequest, StartRequest
from windlass.kernel.lanes import LaneRules, lane_of
from windlass.storage.batches import BatchWriter, ConnectionLost, Pending
from windlass.storage.postgres.connect import connect
from windlass.storage.postgres.session import PostgresSession
from windlass.storage.postgres.wire import Wire
from windlass.storage.urls import parse

Admin = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def wire(scene: Scene) -> Wire:
    """The wire under the scene's session."""
    scene.call(lambda _tx: None)
    session = scene.session
    assert isinstance(session, PostgresSession)
    assert session._link is not None
    return session._link.wire


def note(number: int, text: str = "x") -> Callable[[Transaction], None]:
    return lambda tx: tx.insert_rows(NOTES, ["note_id", "text"], [[number, text]])


def notes(admin: Admin) -> list[object]:
    return [row[0] for row in admin.execute("SELECT note_id FROM notes ORDER BY 1")]


def test_a_batch_of_steps_takes_two_round_trips(scene: Scene, wire: Wire) -> None:
    holder = scene.holder()
    runs = [scene.held(holder) for _ in range(20)]
    before = wire.trips

    scene.batch(*[(ADVANCE, scene.advance(run, holder, "a", "b")) for run in runs])
    assert wire.trips == before + 2

    scene.batch(
        *[(ADVANCE, scene.advance(run, holder, "a")) for run in runs[:-1]], (ADVANCE, finished(scene, runs[-1], holder))
    )
    assert wire.trips == before + 4


def finished(scene: Scene, run: str, holder: str) -> Any:
    return scene.advance(run, holder, "run_completed", finish=DONE)


def test_a_batch_of_starts_takes_two_round_trips(scene: Scene, wire: Wire) -> None:
    holder = scene.holder()
    scene.held(holder)
    before = wire.trips

    scene.batch(*[(START, StartRequest(scene.new_run(holder=holder))) for _ in range(20)])

    assert wire.trips == before + 2


def test_a_start_in_a_lane_and_a_claim_take_few_round_trips(scene: Scene, wire: Wire, admin: Admin) -> None:
    def marker() -> object:
        return admin.execute("SELECT marker FROM workflow_commits").fetchall()

    def trips(*units: tuple[Operation[Any, Any], Any]) -> tuple[Any, int]:
        before = wire.trips
        return scene.batch(*units)[-1], wire.trips - before

    holder = scene.holder()
    scene.held(holder)
    request = ClaimRequest(holder, ("w",), None, 10, scene.now, LaneRules(tenant=1))
    started, many = trips(*[
        (START, StartRequest(scene.new_run(holder=holder, lane=lane_of(tenant, "1")), rules=request.rules))
        for tenant in ("acme", "umbra")
    ])  # fmt: skip
    assert (started.holder, many) == (holder, 2)
    scene.start(lane=lane_of("acme", "2"))
    at = marker()

    claimed, many = trips((CLAIM, request))
    assert (claimed.runs, many, marker()) == ([], 3, at), "acme is full: there is nothing to commit, nor to wait for"
    scene.start(lane=lane_of("third", "1"))
    claimed, many = trips((CLAIM, request))
    assert (len(claimed.runs), many, marker() == at) == (1, 7, False)


def test_a_run_that_is_claimed_or_ends_gets_one_new_row(scene: Scene, admin: Admin) -> None:
    holder, other = scene.holder(), scene.holder()
    runs = [scene.start() for _ in range(2)]

    def versions() -> int:
        query = "SELECT pg_stat_get_tuples_updated('workflow_runs'::regclass)"
        return int(str(admin.execute(query).fetchall()[0][0]))

    def claim(claimer: str, most: int) -> list[str]:
        request = ClaimRequest(claimer, ("w",), None, most, scene.now, LaneRules())
        return [run.head.run_id for run in scene.do(CLAIM, request).runs]

    before = versions()
    assert (claim(holder, 1), claim(other, 2)) == (runs[:1], runs[1:])
    scene.finish(runs[0], holder)
    scene.session.close()

    assert wait_until(lambda: versions() - before) == 3


def test_claims_are_in_the_table_before_anybody_asks(scene: Scene) -> None:
    holder, first, second = scene.holder(), scene.start(), scene.start()

    def look(tx: Transaction) -> tuple[list[list[str]], list[object]]:
        taken = [[run.head.run_id for run in tx.claim_ready(holder, ["w"], None, 1)] for _ in range(3)]
        asked = tx.execute("SELECT holder FROM workflow_runs WHERE run_id = :run", {"run": second})
        return taken, asked.fetchall()

    assert scene.call(look) == ([[first], [second], []], [(holder,)])
    assert scene.call(lambda tx: tx.claim_ready(holder, ["w"], None, 1)) == []


def test_an_error_of_a_queued_write_fails_its_unit_alone(scene: Scene, admin: Admin) -> None:
    scene.call(note(2))

    answers = scene.batch(*[(CALL, note(number)) for number in (1, 2, 3)])

    assert answers[0] is None
    assert isinstance(answers[1], psycopg.errors.UniqueViolation)
    assert answers[2] is None
    assert notes(admin) == [1, 2, 3]


class Write(Operation[int, None]):
    """Writes a note outside any savepoint, before the calls of the same batch."""

    rank = 1

    def apply(self, tx: Transaction, units: Any) -> list[None]:
        tx.insert_rows(NOTES, ["note_id", "text"], [[unit, "x"] for unit in units])
        return [None] * len(units)


WRITE = Write()


def test_an_earlier_error_is_not_laid_at_a_later_units_door(scene: Scene, admin: Admin) -> None:
    """It first shows inside the savepoint of a unit that has nothing to do with it."""
    scene.call(note(1))

    answers = scene.batch((WRITE, 1), (CALL, lambda tx: tx.next_wake()), (CALL, note(2)))

    assert isinstance(answers[0], psycopg.errors.UniqueViolation)
    assert answers[1:] == [None, None]
    assert notes(admin) == [1, 2]


def test_an_error_that_user_code_swallows_takes_its_unit_back(scene: Scene, admin: Admin) -> None:
    def swallow(tx: Transaction) -> None:
        note(5)(tx)
        with pytest.raises(psycopg.errors.DivisionByZero):
            tx.execute("SELECT 1 / 0")

    answers = scene.batch((CALL, note(1)), (CALL, swallow), (CALL, note(2)))

    assert [type(answer) for answer in answers] == [type(None), psycopg.errors.InFailedSqlTransaction, type(None)]
    assert notes(admin) == [1, 2]


def test_what_comes_first_in_a_transaction_fails_alone(scene: Scene, admin: Admin) -> None:
    """Nothing but the transaction itself stands before it: no savepoint."""

    def fail(tx: Transaction) -> None:
        tx.execute("INSERT INTO notes (note_id, text) VALUES (7, 'x')")
        raise ValueError("no")

    alone = scene.batch((CALL, fail), (CALL, note(2)))
    behind = scene.batch((WRITE, 3), (CALL, fail), (CALL, note(4)))

    assert [type(answer) for answer in alone] == [ValueError, type(None)]
    assert [type(answer) for answer in behind] == [type(None), ValueError, type(None)]
    assert notes(admin) == [2, 3, 4]
    assert scene.start()


def test_code_that_ends_its_transaction_is_told_so(scene: Scene) -> None:
    [answer] = scene.batch((CALL, lambda tx: tx.execute("COMMIT")))

    assert "ended by somebody else" in str(answer)
    assert scene.start()


def test_an_error_swallowed_outside_any_savepoint_is_not_called_committed(scene: Scene) -> None:
    session = scene.session
    tx = session.begin(10**6)
    with pytest.raises(psycopg.errors.DivisionByZero):
        tx.execute("SELECT 1 / 0")

    with pytest.raises(TransactionLost):
        session.commit()


def test_savepoints_nest(scene: Scene, admin: Admin) -> None:
    tx = scene.session.begin(10**6)
    with tx.savepoint():
        note(1)(tx)
        with pytest.raises(ValueError, match="no"):
            fail_inside(tx, 2)
        note(3)(tx)
        with tx.savepoint():
            note(4)(tx)
    scene.session.commit()

    assert notes(admin) == [1, 3, 4]


def fail_inside(tx: Transaction, number: int) -> None:
    with tx.savepoint():
        note(number)(tx)
        tx.next_wake()
        raise ValueError("no")


def test_a_savepoint_in_which_nothing_is_written_costs_no_round_trip(scene: Scene, wire: Wire) -> None:
    before = wire.trips

    scene.batch(*[(CALL, lambda _tx: None) for _ in range(10)])

    assert wire.trips == before + 1


def test_a_statement_in_a_savepoint_is_stopped_when_its_time_is_up(scene: Scene, admin: Admin) -> None:
    tx = scene.session.begin(10**6)
    with pytest.raises(psycopg.errors.QueryCanceled), tx.savepoint(0.05):
        tx.execute("SELECT pg_sleep(60)")
    with tx.savepoint(30.0):
        with tx.savepoint():
            note(1)(tx)
        inside = tx.execute("SHOW statement_timeout").fetchone()
    after = tx.execute("SHOW statement_timeout").fetchone()
    idle = tx.execute("SHOW idle_in_transaction_session_timeout").fetchone()
    scene.session.commit()

    assert (inside, after, idle) == (("30s",), ("0",), ("5s",))
    assert notes(admin) == [1]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_code_that_ends_its_transaction_and_begins_another_is_told_so(scene: Scene, end: str) -> None:
    tx = scene.session.begin(10**6)
    with tx.savepoint(30.0):
        note(1)(tx)
        tx.execute(f"{end} AND CHAIN")
    with pytest.raises(Exception, match="ended by somebody else"):
        tx.next_wake()
    scene.session.rollback()
    assert scene.start()


def test_statements_see_what_was_queued_before_them(scene: Scene) -> None:
    def mixed(tx: Transaction) -> list[object]:
        count = sa.text("SELECT count(*) FROM notes")
        seen: list[object] = []
        note(1)(tx)
        seen.append(tx.connection.execute(count).scalar())
        note(2)(tx)
        seen.append(tx.execute("SELECT count(*) FROM notes WHERE note_id < :most", {"most": 9}).fetchall()[0][0])
        tx.execute("INSERT INTO notes (note_id, text) VALUES (:id, :text)", [{"id": n, "text": "50%"} for n in (3, 4)])
        note(5)(tx)
        seen.append(tx.connection.execute(count).scalar())
        return seen

    assert scene.call(mixed) == [1, 2, 5]


def test_user_code_plans_as_usual_and_the_engine_by_index(scene: Scene) -> None:
    def settings(tx: Transaction) -> list[object]:
        shown = "SELECT current_setting('enable_seqscan')"
        return [tx.connection.execute(sa.text(shown)).scalar(), tx.execute(shown).fetchall()[0][0]]

    def ours(tx: Transaction) -> object:
        tx.next_wake()
        return wire_of(tx).ask("SELECT current_setting('enable_seqscan')")[0][0]

    def taken_back(tx: Transaction) -> list[object]:
        tx.next_wake()
        with pytest.raises(ValueError, match="no"), tx.savepoint():
            settings_then_fail(tx, settings)
        return [ours(tx), *settings(tx), ours(tx)]

    assert scene.call(settings) == ["on", "on"]
    assert scene.call(ours) == "off"
    assert scene.call(taken_back) == ["off", "on", "on", "off"]
    assert scene.call(ours) == "off"


def settings_then_fail(tx: Transaction, settings: Callable[[Transaction], object]) -> None:
    settings(tx)
    raise ValueError("no")


def wire_of(tx: Transaction) -> Wire:
    wire = getattr(tx, "_wire", None)
    assert isinstance(wire, Wire)
    return wire


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_user_code_cannot_end_the_transaction_through_sqlalchemy(scene: Scene, admin: Admin, end: str) -> None:
    def write(tx: Transaction) -> None:
        note(1)(tx)
        tx.connection.execute(sa.text("SELECT 1"))
        getattr(tx.connection.connection, end)()

    answers = scene.batch((CALL, write))

    assert isinstance(answers[0], TransactionLost)
    assert notes(admin) == []


def test_a_connection_kept_beyond_its_transaction_is_refused(scene: Scene, admin: Admin) -> None:
    connection = scene.call(lambda tx: tx.connection)

    with pytest.raises(TransactionLost):
        connection.execute(sa.text("INSERT INTO notes (note_id, text) VALUES (1, 'x')"))

    assert notes(admin) == []
    assert scene.start()


def test_nested_transactions_of_sqlalchemy_are_savepoints(scene: Scene, admin: Admin) -> None:
    def write(tx: Transaction) -> None:
        insert = sa.text("INSERT INTO notes (note_id, text) VALUES (:id, 'x')")
        with tx.connection.begin_nested():
            tx.connection.execute(insert, {"id": 1})
        with pytest.raises(sa.exc.IntegrityError), tx.connection.begin_nested():
            tx.connection.execute(insert, {"id": 1})
        tx.connection.execute(insert, {"id": 2})

    scene.call(write)

    assert notes(admin) == [1, 2]


def test_a_connection_that_dies_inside_a_unit_loses_the_whole_batch(scene: Scene, admin: Admin) -> None:
    def die(tx: Transaction) -> None:
        pid = tx.execute("SELECT pg_backend_pid()").fetchall()[0][0]
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        tx.next_wake()

    writer = BatchWriter(scene.session)
    outcomes, _, _ = writer.write([Pending(CALL, unit, Future(), None, False) for unit in (note(1), die, note(2))])

    assert [type(error) for _, error in outcomes] == [ConnectionLost] * 3
    assert notes(admin) == []
    assert scene.start()


def test_a_server_process_that_ended_between_batches_is_not_noticed_outside(scene: Scene, admin: Admin) -> None:
    pid = scene.call(lambda tx: tx.execute("SELECT pg_backend_pid()").fetchall()[0][0])
    admin.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))

    assert scene.start()


def test_changing_a_table_does_not_make_the_connection_forget_its_statements(scene: Scene, wire: Wire) -> None:
    """Psycopg itself would: it drops what it has prepared when it sees a table altered."""

    def alter(tx: Transaction) -> None:
        for _ in range(10):
            tx.connection.execute(sa.text("SELECT :a"), {"a": 1})
        tx.connection.execute(sa.text("ALTER TABLE notes ADD COLUMN more int"))
        tx.connection.execute(sa.text("SELECT 1"))

    scene.call(alter)

    assert scene.start()
    assert not wire.lost


def test_forgotten_statements_are_prepared_anew(scene: Scene) -> None:
    scene.call(lambda tx: tx.execute("DEALLOCATE ALL"))
    with pytest.raises(ConnectionLost):
        scene.start()

    assert scene.start()


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(pg_dsn: str) -> None:
    wire = Wire(connect(parse(pg_dsn), {}), patience=0.1)

    with pytest.raises(ConnectionLost, match="no answer"):
        wire.ask("SELECT pg_sleep(3600)")

    assert wire.lost
