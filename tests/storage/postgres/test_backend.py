"""Reading, connecting, and what columns look like from outside."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
import sqlalchemy as sa

from tests.storage.databases import NOTES, postgres_database
from tests.storage.scene import Scene
from tests.support.databases import with_database
from tests.support.postgres import PostgresServer
from windlass.kernel.errors import ConfigError, Unavailable
from windlass.storage.postgres.backend import PostgresBackend

Admin = psycopg.Connection[tuple[object, ...]]


def one(backend: PostgresBackend, statement: str) -> object:
    return backend.read(lambda connection: connection.execute(sa.text(statement)).scalar())


def test_connections_can_be_recognised_and_notice_a_peer_that_is_gone(backend: PostgresBackend) -> None:
    assert one(backend, "SHOW application_name") == "windlass"
    assert one(backend, "SHOW timezone") == "UTC"
    with backend.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        parameters = {option.keyword: option.val for option in raw.pgconn.info}
    assert parameters[b"keepalives"] == b"1"
    assert parameters[b"tcp_user_timeout"] == b"30000"
    assert parameters[b"connect_timeout"] == b"10"


def test_what_the_address_says_counts_more(pg_dsn: str) -> None:
    backend = PostgresBackend(f"{pg_dsn}?application_name=mine&pool_size=3&max_overflow=4")

    assert one(backend, "SHOW application_name") == "mine"
    assert (backend.engine.pool.size(), backend.url.max_overflow) == (3, 4)  # type: ignore[attr-defined]
    backend.close()


def test_reads_cannot_write(backend: PostgresBackend) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="read-only"):
        one(backend, "INSERT INTO notes (note_id, text) VALUES (1, 'x') RETURNING 1")


def test_a_session_that_writes_commits_durably_whatever_the_default(backend: PostgresBackend, admin: Admin) -> None:
    name = admin.info.dbname
    admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
    admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_isolation = serializable'.encode())
    session = backend.write_session()
    tx = session.begin(1)

    assert tx.execute("SHOW synchronous_commit").fetchone() == ("on",)
    assert tx.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
    session.rollback()
    session.close()


def test_json_goes_in_and_out_as_text_and_comes_back_equal(scene: Scene, backend: PostgresBackend) -> None:
    text = '{"b": [1.5, "\\u00e9", null], "a": {"z": true}}'
    scene.call(lambda tx: tx.connection.execute(sa.insert(NOTES).values(note_id=1, text="x", data=text)))
    scene.call(lambda tx: tx.insert_rows(NOTES, ["note_id", "text", "data"], [[2, "x", text], [3, "x", '"word"']]))
    scene.call(lambda tx: tx.connection.execute(sa.insert(NOTES).values(note_id=4, text="x", data=None)))

    read = sa.select(NOTES.c.data).order_by(NOTES.c.note_id)
    found = backend.read(lambda connection: connection.execute(read).scalars().all())

    assert [type(value) for value in found] == [str, str, str, type(None)]
    assert [scene.parsed(value) for value in found[:3]] == [scene.parsed(text), scene.parsed(text), "word"]
    with pytest.raises(TypeError, match="JSON text"):
        scene.call(lambda tx: tx.connection.execute(sa.insert(NOTES).values(note_id=5, text="x", data={"a": 1})))


def test_a_run_whose_output_is_a_word_ends_with_that_word(scene: Scene, backend: PostgresBackend) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.finish(run, holder, outputs='"word"')

    (ended,) = backend.reader.ended([run])

    assert (scene.parsed(ended.result or ""), scene.view(run).outputs) == ("word", "word")


def test_a_read_survives_that_its_connection_was_cut(backend: PostgresBackend, admin: Admin) -> None:
    assert one(backend, "SELECT 1") == 1
    admin.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'windlass'")

    assert one(backend, "SELECT 2") == 2


def test_a_read_says_that_the_database_is_away_and_comes_back_with_it(private_pg: PostgresServer) -> None:
    postgres_database(private_pg.dsn)
    backend = PostgresBackend(private_pg.dsn)
    assert one(backend, "SELECT 1") == 1
    private_pg.stop()
    for _ in range(2):
        with pytest.raises(Unavailable, match="not available"):
            one(backend, "SELECT 1")
    private_pg.start()

    assert one(backend, "SELECT 1") == 1
    backend.close()


def test_too_many_reads_at_once_are_refused(pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.storage.postgres.backend.READ_WAIT_SECONDS", 0.05)
    backend = PostgresBackend(pg_dsn, pool_size=1, max_overflow=1)
    started, go_on = threading.Semaphore(0), threading.Event()

    def hold(connection: sa.Connection) -> object:
        found = connection.execute(sa.text("SELECT 1")).scalar()
        started.release()
        go_on.wait(30)
        return found

    with ThreadPoolExecutor(2) as threads:
        held = [threads.submit(backend.read, hold) for _ in range(2)]
        for _ in held:
            started.acquire()
        with pytest.raises(Unavailable, match="too many"):
            one(backend, "SELECT 1")
        go_on.set()
        assert [read.result() for read in held] == [1, 1]
    backend.close()


@pytest.fixture
def stranger(admin: Admin, pg_dsn: str) -> Iterator[str]:
    """The address of somebody with an odd password and no special rights."""
    password = "p@ss/w:rd %41ü?&#"
    name = f"windlass_{admin.info.dbname.removeprefix('windlass_')}"
    admin.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(psycopg.sql.Identifier(name), password))
    admin.execute(
        psycopg.sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(psycopg.sql.Identifier(name))
    )
    admin.execute(
        psycopg.sql.SQL("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {}").format(psycopg.sql.Identifier(name))
    )
    parts = urlsplit(pg_dsn)
    yield urlunsplit(parts._replace(netloc=f"{name}:{quote(password, safe='')}@{parts.hostname}:{parts.port}"))
    admin.execute(psycopg.sql.SQL("DROP OWNED BY {}").format(psycopg.sql.Identifier(name)))
    admin.execute(psycopg.sql.SQL("DROP ROLE {}").format(psycopg.sql.Identifier(name)))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"])
def test_an_ordinary_user_with_an_odd_password_is_enough(stranger: str, scheme: str) -> None:
    url = stranger.replace("postgresql://", f"{scheme}://")
    backend = PostgresBackend(url)
    session = backend.write_session()
    tx = session.begin(1)
    tx.insert_rows(NOTES, ["note_id", "text"], [[1, "x"]])
    session._drop()
    session.rollback()

    assert session.committed(1) is False
    assert session.begin(2).next_wake() is None
    session.close()
    backend.close()


def test_a_database_in_another_encoding_is_refused(admin: Admin, pg_dsn: str) -> None:
    name = f"{admin.info.dbname}_latin"
    admin.execute(
        f'CREATE DATABASE "{name}" TEMPLATE template0 ENCODING SQL_ASCII LOCALE_PROVIDER libc LOCALE "C"'.encode()
    )
    backend = PostgresBackend(with_database(pg_dsn, name))
    try:
        with pytest.raises(ConfigError, match="UTF8"):
            one(backend, "SELECT 1")
    finally:
        backend.close()
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def test_an_old_server_is_refused(backend: PostgresBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.storage.postgres.connect.MINIMUM_VERSION", 990000)

    with pytest.raises(ConfigError, match="99 or newer"):
        one(backend, "SELECT 1")


def test_a_closed_session_leaves_no_marker(backend: PostgresBackend, admin: Admin) -> None:
    session = backend.write_session()
    session.begin(7)
    session.commit()
    assert admin.execute("SELECT marker FROM workflow_commits").fetchall() == [(7,)]

    session.close()

    assert admin.execute("SELECT marker FROM workflow_commits").fetchall() == []
