"""Leases by heartbeat: kept, lost, and taken from a process that was stopped; promise 5."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest

from tests.storage.databases import postgres_database
from tests.storage.scene import Scene
from tests.support.paths import ROOT
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until
from windlass.engine.control import retire
from windlass.engine.ports import Transaction
from windlass.engine.types import Lease
from windlass.kernel.clock import SECOND, SystemClock
from windlass.storage.postgres.backend import PostgresBackend
from windlass.storage.postgres.clock import ServerClock

Admin = psycopg.Connection[tuple[object, ...]]

SHORT = 0.6
PATIENCE = "SHOW idle_in_transaction_session_timeout"


class StandingClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds


def expiry(admin: Admin, holder: str) -> float:
    query = "SELECT extract(epoch FROM expires_at)::float8 FROM workflow_leases WHERE holder = %s"
    found = admin.execute(query, (holder,)).fetchall()[0][0]
    assert isinstance(found, float)
    return found


def expire(admin: Admin, holder: str) -> None:
    admin.execute("UPDATE workflow_leases SET expires_at = now() - interval '1 s' WHERE holder = %s", (holder,))


def add(scene: Scene, holder: str, ttl: float) -> None:
    scene.call(lambda tx: tx.add_lease(Lease(holder, "host", 1, "w"), ttl))


def test_a_lease_is_renewed_again_and_again_even_while_a_batch_holds_it(
    scene: Scene, backend: PostgresBackend, admin: Admin
) -> None:
    lost = threading.Event()
    with backend.keep_lease("h", SHORT, lost.set) as keeper:
        add(scene, "h", SHORT)
        first, until = expiry(admin, "h"), keeper.valid_until
        tx = scene.session.begin(10**6)
        assert tx.lease_is_live("h")

        wait_until(lambda: expiry(admin, "h") > first + 3 * SHORT)

        assert keeper.valid_until > until
        scene.session.rollback()
        assert not lost.is_set()
        assert backend.reader.lease_is_live("h")


def test_a_lease_kept_before_its_row_is_there_is_not_lost(scene: Scene, backend: PostgresBackend, admin: Admin) -> None:
    lost = threading.Event()
    with backend.keep_lease("h", 3.0, lost.set) as keeper:
        until = keeper.valid_until
        wait_until(lambda: has_asked(admin))
        add(scene, "h", 3.0)

        wait_until(lambda: keeper.valid_until > until)

        assert not lost.is_set()


def has_asked(admin: Admin) -> bool:
    """Say whether a heartbeat has looked for its row."""
    seen = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT state FROM workflow_leases%'"
    return admin.execute(seen).fetchone() is not None


def test_the_holder_hears_that_its_lease_was_ended(scene: Scene, backend: PostgresBackend) -> None:
    lost = threading.Event()
    with backend.keep_lease("h", SHORT, lost.set):
        add(scene, "h", SHORT)
        scene.call(lambda tx: tx.end_lease("h", force=True))

        assert lost.wait(30)


def test_the_holder_hears_that_its_lease_was_taken_over_and_forgotten(scene: Scene, backend: PostgresBackend) -> None:
    lost = threading.Event()
    with backend.keep_lease("h", SHORT, lost.set) as keeper:
        until = keeper.valid_until
        add(scene, "h", SHORT)
        wait_until(lambda: keeper.valid_until > until)
        scene.call(lambda tx: retire(tx, "h"))

        assert lost.wait(30)
    assert scene.tables()["leases"] == []


def test_the_holder_hears_when_it_could_not_renew_in_time_and_not_before(private_pg: PostgresServer) -> None:
    database = postgres_database(private_pg.dsn)
    clock = StandingClock()
    backend = PostgresBackend(private_pg.dsn, clock=clock)
    lost: list[float] = []
    with (
        Scene(database, backend) as scene,
        backend.keep_lease("h", SHORT, lambda: lost.append(clock.seconds)) as keeper,
    ):
        add(scene, "h", SHORT)
        assert keeper.valid_until == clock.seconds + SHORT
        private_pg.stop()
        clock.seconds += SHORT * 0.9
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("windlass-lease")]
        assert len(threads) == 2
        assert lost == []

        clock.seconds += SHORT * 0.2
        wait_until(lambda: lost)

        assert lost == [clock.seconds]
        private_pg.start()
    backend.close()


def test_renewing_starts_again_when_the_server_does(private_pg: PostgresServer) -> None:
    database = postgres_database(private_pg.dsn)
    clock = StandingClock()
    backend = PostgresBackend(private_pg.dsn, clock=clock)
    lost = threading.Event()
    with Scene(database, backend) as scene, backend.keep_lease("h", SHORT, lost.set) as keeper:
        add(scene, "h", 600.0)
        private_pg.crash()
        private_pg.start()
        clock.seconds += SHORT / 2

        wait_until(lambda: keeper.valid_until == clock.seconds + SHORT)

        assert not lost.is_set()
    backend.close()


def test_a_lease_that_a_batch_has_checked_is_not_ended_under_it(
    scene: Scene, other: PostgresBackend, admin: Admin
) -> None:
    add(scene, "h", 600.0)
    taker = other.write_session()
    assert scene.session.begin(10**6).lease_is_live("h")
    expire(admin, "h")

    tx = taker.begin(1)
    assert tx.end_lease("h", force=False) is False
    taker.rollback()

    scene.session.rollback()
    tx = taker.begin(2)
    assert tx.end_lease("h", force=False) is True
    taker.commit()
    taker.close()


def test_a_batch_waits_for_the_one_that_ends_its_lease_and_finds_it_dead(
    scene: Scene, other: PostgresBackend, admin: Admin
) -> None:
    add(scene, "h", 600.0)
    taker = other.write_session()
    assert taker.begin(1).end_lease("h", force=True)

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(lambda: scene.session.begin(10**6).lease_is_live("h"))
        wait_until(lambda: admin.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())
        assert not asked.done()
        taker.commit()
        assert asked.result() is False
    scene.session.rollback()
    taker.close()


def live_in_a_failed_savepoint(tx: Transaction, holder: str) -> bool:
    live = False
    with suppress(ValueError), tx.savepoint():
        live = tx.lease_is_live(holder)
        raise ValueError
    return live


def test_a_lease_checked_in_a_savepoint_that_is_taken_back_is_checked_again(
    scene: Scene, other: PostgresBackend
) -> None:
    add(scene, "h", 600.0)
    tx = scene.session.begin(10**6)
    assert live_in_a_failed_savepoint(tx, "h") is True

    taker = other.write_session()
    assert taker.begin(1).end_lease("h", force=True)
    taker.commit()

    assert tx.lease_is_live("h") is False
    scene.session.rollback()
    taker.close()


WORKER = """
import os
import sys
import threading
from concurrent.futures import Future
from windlass.engine.errors import Fenced
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL
from windlass.engine.types import Advance, Lease, NewEvent, NewRun, StartRequest
from windlass.storage.batches import BatchWriter, Pending
from windlass.storage.postgres.backend import PostgresBackend

url, inside = sys.argv[1], sys.argv[2] == "inside"
backend = PostgresBackend(url)
session = backend.write_session()
writer = BatchWriter(session)


def say(word):
    os.write(1, f"{word}\\n".encode())  # at once: two threads speak, and print ends its line in a second piece


def write(op, unit):
    (value, error), = writer.write([Pending(op, unit, Future(), None, False)])[0]
    return type(error).__name__ if error else "written"


step = Advance("run", "h", 5, [NewEvent("late", None, "{}", 5)])
gone = threading.Event()


def lost():
    say("lost")
    gone.set()


with backend.keep_lease("h", 1.0, lost):
    write(CALL, lambda tx: tx.add_lease(Lease("h", "host", 1, "w"), 1.0))
    say(write(START, StartRequest(NewRun("run", "w", "{}", 1, holder="h"))))
    if inside:
        tx = session.begin(10**6)
        tx.lock_runs(["run"])
        ADVANCE.apply(tx, [step])
    say("ready")
    sys.stdin.readline()
    if inside:
        try:
            session.commit()
            say("written")
        except Exception as error:
            say(type(error).__name__)
    say(write(ADVANCE, step))
    gone.wait(30)
backend.close()
"""


@pytest.fixture
def worker(pg_dsn: str, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, pg_dsn, request.param],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("worker", ["between", "inside"], indirect=True)
def test_a_stopped_process_that_comes_back_can_write_nothing(
    scene: Scene, worker: subprocess.Popen[str], request: pytest.FixtureRequest
) -> None:
    """Stopped between two transactions, and inside one, with its lease and its run locked."""
    assert worker.stdout is not None
    inside = "inside" in request.node.name
    assert [worker.stdout.readline().strip() for _ in range(2)] == ["written", "ready"]

    os.kill(worker.pid, signal.SIGSTOP)
    wait_until(lambda: scene.backend.reader.poll("me", ["w"], scene.now).dead == ["h"], timeout=30)
    wait_until(lambda: scene.take_over("h"), timeout=30)
    os.kill(worker.pid, signal.SIGCONT)
    output, _ = worker.communicate("go on\n", timeout=30)

    said = output.split()
    assert [word for word in said if word != "lost"] == (["ConnectionLost", "Fenced"] if inside else ["Fenced"])
    assert said.count("lost") == 1
    assert scene.types("run") == ["run_started", "run_requeued"]
    assert scene.claim(scene.holder()) == ["run"]


def test_a_lease_is_locked_only_when_the_users_code_is_done(
    scene: Scene, pg_dsn: str, other: PostgresBackend, admin: Admin
) -> None:
    add(scene, "h", 600.0)
    backend = PostgresBackend(pg_dsn, lease_seconds=4)
    session, taker = backend.write_session(), other.write_session()

    def ended_meanwhile() -> bool:
        expire(admin, "h")
        ended = taker.begin(1).end_lease("h", force=False)
        taker.commit()
        return ended

    def step(marker: int, meanwhile: Callable[[], bool]) -> tuple[bool, bool, list[object]]:
        tx = session.begin(marker)
        with tx.savepoint(60.0):
            patience = [tx.connection.exec_driver_sql(PATIENCE).scalar()]
            said = meanwhile()
        tx.code_done("h")
        tx.lock_runs(["unknown"])
        live = tx.lease_is_live("h")
        patience.append(tx.connection.exec_driver_sql(PATIENCE).scalar())
        session.commit()
        return said, live, patience

    for marker in (1, 2):
        assert step(marker, lambda: False) == (False, True, ["65s", "2s"])
    assert step(3, ended_meanwhile) == (True, False, ["65s", "2s"])
    session.close()
    taker.close()
    backend.close()


class LateMachine(ServerClock):
    """A machine whose clock is five minutes behind."""

    behind = 300 * SECOND

    def now(self) -> int:
        return super().now() - self.behind


def test_a_process_goes_by_the_servers_clock(scene: Scene, pg_dsn: str, admin: Admin) -> None:
    clock = LateMachine()
    backend = PostgresBackend(pg_dsn, clock=clock)
    assert abs(backend.agree().now() - SystemClock().now()) < 2 * SECOND

    clock.behind = -300 * SECOND
    with backend.keep_lease("h", SHORT, lambda: None):
        add(scene, "h", SHORT)
        wait_until(lambda: abs(clock.now() - SystemClock().now()) < 2 * SECOND, what="a renewal that tells the time")
    clock.behind -= SECOND // 2
    before = clock.now() - clock.machine()
    assert backend.agree().now() - clock.machine() == pytest.approx(before, abs=SECOND // 10)
    backend.close()
