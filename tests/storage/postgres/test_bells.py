"""Doorbells over LISTEN and NOTIFY; promise 7."""

from collections.abc import Iterator
from contextlib import ExitStack
from queue import Empty, Queue

import psycopg
import pytest

from tests.storage.databases import Database
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until
from windlass.engine.ports import Ring
from windlass.storage.postgres.backend import PostgresBackend
from windlass.storage.rings import HELLO, pieces

Admin = psycopg.Connection[tuple[object, ...]]


class Ear:
    """What a process hears beside the greetings of those that begin to listen."""

    def __init__(self) -> None:
        self.heard: Queue[str] = Queue()

    def __call__(self, kind: str) -> None:
        if kind != HELLO:
            self.heard.put(kind)

    def next(self) -> str:
        return self.heard.get(timeout=20)

    def collected(self) -> set[str]:
        found: set[str] = set()
        while True:
            try:
                found.add(self.heard.get_nowait())
            except Empty:
                return found


@pytest.fixture
def ears(backend: PostgresBackend, other: PostgresBackend) -> Iterator[tuple[Ear, Ear]]:
    """Two processes that listen."""
    mine, theirs = Ear(), Ear()
    with ExitStack() as stack:
        stack.enter_context(backend.listen("me", mine))
        stack.enter_context(other.listen("you", theirs))
        yield mine, theirs


def test_the_others_hear_and_the_one_who_rings_does_not(
    backend: PostgresBackend, other: PostgresBackend, ears: tuple[Ear, Ear]
) -> None:
    mine, theirs = ears

    backend.ring([Ring("ready", "run")])
    assert theirs.next() == "ready"
    other.ring([Ring("ended", "run")])

    assert mine.next() == "ended"
    assert mine.collected() == theirs.collected() == set()


def test_an_inbox_rings_for_its_holder_alone(
    backend: PostgresBackend, other: PostgresBackend, ears: tuple[Ear, Ear]
) -> None:
    _, theirs = ears

    backend.ring([Ring("inbox", "run", "somebody"), Ring("inbox", "run", None), Ring("inbox", "run", "me")])
    backend.ring([Ring("inbox", "run", "you"), Ring("ended", "run")])

    assert {theirs.next(), theirs.next()} == {"inbox", "ended"}
    assert theirs.collected() == set()


def test_rings_go_out_together(
    backend: PostgresBackend, other: PostgresBackend, ears: tuple[Ear, Ear], pg_dsn: str
) -> None:
    _, theirs = ears
    with psycopg.connect(pg_dsn, autocommit=True) as watcher:
        watcher.execute("LISTEN windlass")
        for _ in range(300):
            backend.ring([Ring("ready", "run"), Ring("ended", "run")])
        backend.ring([Ring("inbox", "run", "you")])
        last = next(notice.payload for notice in watcher.notifies(timeout=20) if "inbox" in notice.payload)

    assert set(last.split(",")) <= {"ready", "ended", "inbox:you"}
    wait_until(lambda: "inbox" in theirs.collected())


def test_nothing_is_sent_where_nobody_listens(backend: PostgresBackend, admin: Admin) -> None:
    ear = Ear()
    admin.execute("LISTEN windlass")
    with backend.listen("me", ear):
        backend.ring([Ring("ready", "run")])
        wait_until(lambda: backend._bells._alone_until > 0)

    admin.execute("NOTIFY windlass, 'the end'")

    heard = admin.notifies(timeout=20)
    assert [next(heard).payload for _ in range(2)] == ["hello", "the end"]


def test_who_thought_itself_alone_hears_that_it_is_not(backend: PostgresBackend, other: PostgresBackend) -> None:
    ear = Ear()
    with backend.listen("me", Ear()):
        backend.ring([Ring("ready", "run")])
        wait_until(lambda: backend._bells._alone_until > 0)

        with other.listen("you", ear):
            wait_until(lambda: backend._bells._alone_until == 0)
            backend.ring([Ring("ended", "run")])

            assert ear.next() == "ended"


def test_a_process_that_does_not_listen_can_ring_on_its_way_out(database: Database, other: PostgresBackend) -> None:
    ear = Ear()
    with other.listen("you", ear):
        passing = database.open()
        passing.ring([Ring("inbox", "run", "you")])
        passing.close()

        assert ear.next() == "inbox"


def test_who_listens_no_more_hears_nothing(backend: PostgresBackend, other: PostgresBackend) -> None:
    before, after = Ear(), Ear()
    with other.listen("you", before):
        pass
    with other.listen("you again", after):
        backend.ring([Ring("ready", "run")])
        assert after.next() == "ready"

    assert before.collected() == set()


def test_a_cut_connection_is_made_again_and_everything_looked_for(
    backend: PostgresBackend, other: PostgresBackend, ears: tuple[Ear, Ear], admin: Admin
) -> None:
    mine, theirs = ears
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'windlass doorbell'")

    assert {theirs.next() for _ in range(3)} == {mine.next() for _ in range(3)} == {"ready", "ended", "inbox"}
    backend.ring([Ring("ready", "run")])
    assert theirs.next() == "ready"


def test_a_server_that_is_away_holds_nobody_up(private_pg: PostgresServer) -> None:
    backend = PostgresBackend(private_pg.dsn)
    ear = Ear()
    with backend.listen("me", ear):
        private_pg.stop()
        backend.ring([Ring("ready", "run")])
    backend.close()

    assert ear.collected() == set()


def test_payloads_stay_within_what_a_notification_holds() -> None:
    news = [f"inbox:{n:036d}" for n in range(1000)]

    payloads = list(pieces(news))

    assert ",".join(payloads).split(",") == news
    assert max(len(payload) for payload in payloads) < 8000
    assert len(payloads) < 8
