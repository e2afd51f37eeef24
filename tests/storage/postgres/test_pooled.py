"""Through a pooler in transaction mode: each transaction may be another process's of the server.

The proxy only says that it is a pooler; tests/system has PgBouncer itself.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import Queue

import psycopg
import pytest
import sqlalchemy as sa

from tests.storage.databases import NOTES, Database
from tests.storage.postgres.proxy import Loss, Proxy
from tests.support.waiting import wait_until
from windlass.engine.errors import UnknownCommit
from windlass.engine.ports import Ring
from windlass.kernel.errors import ConfigError
from windlass.storage.backups import postgres as backups
from windlass.storage.postgres.arrival import Arrival
from windlass.storage.postgres.backend import PostgresBackend
from windlass.storage.postgres.session import PostgresSession
from windlass.storage.postgres.upkeep import maintain

Admin = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def proxy(pg_dsn: str) -> Iterator[Proxy]:
    """A way to the database that looks like a pooler's."""
    proxy = Proxy(pg_dsn, pooler=True)
    yield proxy
    proxy.close()


LEFT_BEHIND = """SELECT name FROM pg_settings WHERE source = 'session' AND name NOT IN ('TimeZone', 'application_name')
 UNION ALL SELECT name FROM pg_prepared_statements"""
"""What others would find who have the server's process next."""


def test_nothing_of_a_session_stays_with_the_server(distant: PostgresBackend, admin: Admin) -> None:
    name = admin.info.dbname
    admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
    session = distant.write_session()
    for number in (1, 2):
        tx = session.begin(number)
        assert tx.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert tx.execute("SHOW jit").fetchone() == ("off",)
        tx.insert_rows(NOTES, ["note_id", "text"], [[number, "x"]])
        tx.connection.execute(NOTES.select()).all()
        session.commit()
    for number in range(10):
        query = sa.select(NOTES.c.text).where(NOTES.c.note_id == number)
        distant.read(lambda connection, query=query: connection.execute(query).all())  # type: ignore[misc]

    assert session._link is not None
    wire = session._link.wire
    assert wire.raw.pooled
    assert wire.ask(LEFT_BEHIND) == []
    assert distant.read(lambda connection: connection.exec_driver_sql(LEFT_BEHIND).all()) == []
    assert admin.execute("SELECT note_id FROM notes ORDER BY 1").fetchall() == [(1,), (2,)]
    session.close()


def test_a_commit_said_not_to_be_there_does_not_come_in_late(
    distant: PostgresBackend, proxy: Proxy, admin: Admin
) -> None:
    """Nobody knows the server's process that has it, so that none can be sent away."""
    session = PostgresSession(distant.url)
    session.begin(1)
    session.commit()
    tx = session.begin(2)
    tx.insert_rows(NOTES, ["note_id", "text"], [[2, "late"]])
    proxy.lose(Loss.DELAY)
    with pytest.raises(UnknownCommit):
        session.commit()

    assert session.committed(2) is False
    session.begin(3).insert_rows(NOTES, ["note_id", "text"], [[3, "next"]])
    session.commit()
    session.close()

    proxy.deliver()
    assert admin.execute("SELECT note_id FROM notes").fetchall() == [(3,)]


def test_doorbells_are_rung_and_not_heard_unless_there_is_a_way_past(
    database: Database, distant: PostgresBackend, backend: PostgresBackend, caplog: pytest.LogCaptureFixture
) -> None:
    deaf: Queue[str] = Queue()
    heard: Queue[str] = Queue()
    with caplog.at_level(logging.WARNING), distant.listen("deaf", deaf.put), backend.listen("me", heard.put):
        wait_until(lambda: "DATABASE_DIRECT_URL" in caplog.text, what="a word about it")
        distant.ring([Ring("ready", "run")])
        wait_until(lambda: heard.get(timeout=20) == "ready")
        backend.ring([Ring("ready", "run")])
    assert deaf.empty()

    past = PostgresBackend(replace(distant.url, direct=backend.url))

    def rung() -> bool:
        backend.ring([Ring("ended", "run")])  # for a second it still believes to be alone
        return "ended" in heard.queue

    with past.listen("past", heard.put):
        wait_until(rung)
    past.close()


@pytest.mark.parametrize("what", ["a copy", "a move", "maintenance"])
def test_what_needs_a_session_is_refused_by_name(what: str, distant: PostgresBackend, tmp_path: Path) -> None:
    work: dict[str, Callable[[], object]] = {
        "a copy": lambda: backups.backup(distant.url, tmp_path / "copy.dump", lambda *_: None),
        "a move": lambda: Arrival(distant.url),
        "maintenance": lambda: maintain(distant.url),
    }
    with pytest.raises(ConfigError, match=f"{what} .* a pooler .*DATABASE_DIRECT_URL"):
        work[what]()
