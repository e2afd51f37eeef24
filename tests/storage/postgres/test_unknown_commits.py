"""What becomes of a commit whose answer is lost; promise 3."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg
import pytest

from tests.storage.databases import NOTES, Database, postgres_database
from tests.storage.postgres.proxy import Loss, Proxy
from tests.storage.scene import Scene
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until
from windlass.engine.errors import UnknownCommit
from windlass.engine.ops import CALL
from windlass.engine.ports import Transaction
from windlass.storage.batches import BatchWriter, ConnectionLost, Pending
from windlass.storage.committer import Committer
from windlass.storage.postgres.backend import PostgresBackend
from windlass.storage.postgres.session import PostgresSession

Admin = psycopg.Connection[tuple[object, ...]]

COMMIT_SOMETHING = "SELECT pg_logical_emit_message(true, '', '')"
"""Only a commit with something in the WAL waits for standbys."""


def note(number: int) -> Callable[[Transaction], None]:
    def write(tx: Transaction) -> None:
        tx.insert_rows(NOTES, ["note_id", "text"], [[number, "x"]])

    return write


def notes(admin: Admin) -> list[object]:
    return [row[0] for row in admin.execute("SELECT note_id FROM notes ORDER BY 1")]


def server_process(tx: Transaction) -> int:
    pid: int = tx.execute("SELECT pg_backend_pid()").fetchall()[0][0]
    return pid


class LosingSession(PostgresSession):
    """Loses something at its next commit."""

    def __init__(self, backend: PostgresBackend, proxy: Proxy) -> None:
        super().__init__(backend.url)
        self._proxy = proxy
        self.loss: Loss | None = None

    def commit(self) -> None:
        if self.loss is not None:
            self._proxy.lose(self.loss)
            self.loss = None
        super().commit()


@pytest.mark.parametrize("loss", [Loss.ANSWER, Loss.QUESTION])
def test_a_lost_answer_is_settled_by_the_marker(
    distant: PostgresBackend, proxy: Proxy, admin: Admin, loss: Loss
) -> None:
    session = LosingSession(distant, proxy)
    writer = BatchWriter(session)
    writer.write([Pending(CALL, note(1), Future(), None, False)])

    session.loss = loss
    outcomes, _, _ = writer.write([Pending(CALL, note(n), Future(), None, False) for n in (2, 3)])

    if loss is Loss.ANSWER:
        assert [error for _, error in outcomes] == [None, None]
        assert notes(admin) == [1, 2, 3]
    else:
        assert [type(error) for _, error in outcomes] == [ConnectionLost, ConnectionLost]
        assert notes(admin) == [1]
    outcomes, _, _ = writer.write([Pending(CALL, note(4), Future(), None, False)])
    assert outcomes == [(None, None)]
    session.close()


def test_a_whole_transaction_still_on_its_way_is_not_mistaken_for_none(
    distant: PostgresBackend, proxy: Proxy, admin: Admin
) -> None:
    """The server hears of it after the client has asked, and been told that it is not there."""
    session = LosingSession(distant, proxy)
    session.begin(1)
    session.commit()
    session.loss = Loss.DELAY
    tx = session.begin(2)
    tx.insert_rows(NOTES, ["note_id", "text"], [[2, "x"]])
    with pytest.raises(UnknownCommit):
        session.commit()

    assert session.committed(2) is False

    proxy.deliver()
    assert notes(admin) == []
    session.close()


def test_a_transaction_the_server_is_at_work_on_is_ended_before_it_is_asked_for(
    distant: PostgresBackend, proxy: Proxy, admin: Admin, pg_dsn: str
) -> None:
    session = LosingSession(distant, proxy)
    session.begin(1)
    session.commit()
    with psycopg.connect(pg_dsn) as blocker:
        blocker.execute("LOCK TABLE notes IN EXCLUSIVE MODE")
        session.loss = Loss.WAIT
        tx = session.begin(2)
        tx.insert_rows(NOTES, ["note_id", "text"], [[2, "x"]])
        with pytest.raises(UnknownCommit):
            session.commit()

        assert session.committed(2) is False

        blocker.rollback()
    assert notes(admin) == []
    session.close()


def test_a_deferred_error_at_the_commit_is_a_plain_no(backend: PostgresBackend, admin: Admin) -> None:
    admin.execute("CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    session = backend.write_session()
    tx = session.begin(1)
    tx.execute("INSERT INTO late VALUES (1), (1)")

    with pytest.raises(psycopg.errors.UniqueViolation):
        session.commit()

    tx = session.begin(2)
    tx.execute("INSERT INTO late VALUES (1)")
    session.commit()
    assert admin.execute("SELECT count(*) FROM late").fetchone() == (1,)
    session.close()


def test_an_error_before_the_commit_is_a_plain_no(backend: PostgresBackend, admin: Admin) -> None:
    session = backend.write_session()
    tx = session.begin(1)
    for _ in range(2):
        tx.insert_rows(NOTES, ["note_id", "text"], [[1, "x"]])

    with pytest.raises(psycopg.errors.UniqueViolation):
        session.commit()

    assert notes(admin) == []
    session.close()


def test_a_server_process_that_ends_before_the_commit_is_a_plain_no(backend: PostgresBackend, admin: Admin) -> None:
    session = backend.write_session()
    tx = session.begin(1)
    pid = server_process(tx)
    tx.insert_rows(NOTES, ["note_id", "text"], [[1, "x"]])
    admin.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))

    with pytest.raises(ConnectionLost):
        session.commit()

    assert notes(admin) == []
    session.close()


def test_a_transaction_that_somebody_else_ended_is_not_called_committed(backend: PostgresBackend) -> None:
    session = backend.write_session()
    tx = session.begin(1)
    tx.insert_rows(NOTES, ["note_id", "text"], [[1, "x"]])
    tx.execute("ROLLBACK")

    with pytest.raises(Exception, match="ended by somebody else"):
        session.commit()
    session.close()


def test_a_commit_that_standbys_may_lack_is_asked_about(private_pg: PostgresServer) -> None:
    postgres_database(private_pg.dsn)
    with (
        closing(PostgresBackend(private_pg.dsn)) as backend,
        closing(backend.write_session()) as session,
        psycopg.connect(private_pg.dsn, autocommit=True) as admin,
        ThreadPoolExecutor(1) as thread,
    ):
        tx = session.begin(1)
        pid = server_process(tx)
        tx.insert_rows(NOTES, ["note_id", "text"], [[1, "x"]])

        with missing_standby(private_pg, admin):
            commit = thread.submit(session.commit)
            wait_until(lambda: pid in waiting_for_standbys(admin))
            admin.execute("SELECT pg_cancel_backend(%s)", (pid,))
            assert isinstance(commit.exception(), UnknownCommit)

            answer = thread.submit(session.committed, 1)
            wait_until(lambda: answer.done() or waiting_for_standbys(admin) - {pid})
            assert not answer.done()
        assert answer.result() is True


@contextmanager
def missing_standby(server: PostgresServer, admin: Admin) -> Iterator[None]:
    """Have every commit wait for a standby that is not there; none waits for one afterwards.

    What a session is told of the setting is no sign: commits go by what the checkpointer has heard, perhaps later.
    """
    try:
        name_standbys(admin, "nobody")
        with psycopg.connect(server.dsn, autocommit=True) as other, ThreadPoolExecutor(1) as thread:
            wait_until(lambda: waits_for_standbys(admin, other, thread), what="a commit that waits for standbys")
        yield
    finally:
        name_standbys(admin, "")
        admin.execute(COMMIT_SOMETHING)


def name_standbys(admin: Admin, names: str) -> None:
    admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    admin.execute("SELECT pg_reload_conf()")


def waits_for_standbys(admin: Admin, other: Admin, thread: ThreadPoolExecutor) -> bool:
    """Commit something on the other connection, and say whether that waited for standbys until it was cancelled."""
    pid = other.info.backend_pid
    commit = thread.submit(other.execute, COMMIT_SOMETHING)
    wait_until(lambda: commit.done() or pid in waiting_for_standbys(admin))
    waits = not commit.done()
    if waits:
        admin.execute("SELECT pg_cancel_backend(%s)", (pid,))
    commit.result()
    return waits


def waiting_for_standbys(admin: Admin) -> set[object]:
    """Return the server's processes whose commits do."""
    return {row[0] for row in admin.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")}


def test_nothing_is_lost_or_doubled_when_the_server_is_killed_at_work(private_pg: PostgresServer) -> None:
    database: Database = postgres_database(private_pg.dsn)
    futures: list[Future[None]] = []
    enough = threading.Event()
    with closing(database.open()) as backend, closing(Committer(backend.write_session())) as committer:
        committer.start()

        def submit() -> None:
            while not enough.is_set():
                futures.append(committer.submit_from_thread(CALL, note(len(futures))))
                wait_until(lambda: committer.waiting < 20)

        thread = threading.Thread(target=submit)
        thread.start()
        try:
            for _ in range(3):
                seen = len(futures)
                wait_until(lambda seen=seen: len(futures) > seen + 50, timeout=60)  # type: ignore[misc]
                private_pg.crash()
                private_pg.start()
        finally:
            enough.set()
            thread.join()
        for future in futures:
            future.result(timeout=60)

    with psycopg.connect(private_pg.dsn) as admin:
        assert notes(admin) == list(range(len(futures)))


def test_a_session_finds_a_restarted_server_by_itself(private_pg: PostgresServer) -> None:
    database = postgres_database(private_pg.dsn)
    backend = database.open()
    with Scene(database, backend) as scene:
        scene.start()
        private_pg.stop()
        with pytest.raises(ConnectionLost):
            scene.start()
        private_pg.start()

        assert scene.start()
        assert len(scene.view(scene.start()).run_id) > 0
    backend.close()
