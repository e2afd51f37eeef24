"""Several processes at work on the same rows: who passes over what, who waits, and nobody for ever."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.storage.scene import EPOCH, Scene
from tests.support.waiting import wait_until
from windlass.engine.ports import IdempotencyRow, Transaction
from windlass.storage.batches import ConnectionLost
from windlass.storage.postgres.backend import PostgresBackend
from windlass.storage.postgres.session import PostgresSession

Admin = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def rival(other: PostgresBackend) -> Iterator[PostgresSession]:
    """Another process's connection that writes."""
    session = other.write_session()
    yield session
    session.rollback()
    session.close()


def claim(tx: Transaction, limit: int = 100) -> list[str]:
    return [run.head.run_id for run in tx.claim_ready("h", ["w"], None, limit)]


def waiting(admin: Admin) -> bool:
    return admin.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None


def test_a_claim_passes_over_what_another_is_taking(scene: Scene, rival: PostgresSession) -> None:
    runs = [scene.start() for _ in range(5)]

    assert claim(rival.begin(1), limit=2) == runs[:2]
    assert claim(scene.session.begin(10**6)) == runs[2:]

    rival.rollback()
    scene.session.commit()
    assert claim(rival.begin(2)) == runs[:2]


def test_a_claim_passes_over_runs_that_somebody_writes_to(scene: Scene, rival: PostgresSession) -> None:
    runs = [scene.start() for _ in range(3)]

    rival.begin(1).lock_runs([runs[0]])

    assert claim(scene.session.begin(10**6)) == runs[1:]
    scene.session.rollback()


def test_due_runs_are_promoted_past_those_that_somebody_has_locked(scene: Scene, rival: PostgresSession) -> None:
    runs = [scene.start(wake_at=EPOCH + 1) for _ in range(3)]

    rival.begin(1).lock_runs([runs[1]])

    scene.call(lambda tx: tx.promote_due(EPOCH + 2, 10))
    rival.rollback()
    assert [scene.head(run).ready_at for run in runs] == [EPOCH + 1, None, EPOCH + 1]
    scene.call(lambda tx: tx.promote_due(EPOCH + 2, 10))
    assert scene.head(runs[1]).ready_at == EPOCH + 1


@pytest.mark.parametrize("queue", ["a", "*"])
def test_a_slot_that_is_being_taken_counts_until_it_is_known_that_it_was_not(
    scene: Scene, rival: PostgresSession, queue: str
) -> None:
    scene.call(lambda tx: tx.set_queue(queue, 2, False))
    runs = [scene.start(queue="a") for _ in range(4)]

    assert claim(rival.begin(1), limit=1) == runs[:1]
    assert claim(scene.session.begin(10**6)) == runs[1:2]
    scene.session.commit()
    assert claim(scene.session.begin(10**6 + 1)) == []
    scene.session.commit()

    rival.rollback()
    assert claim(scene.session.begin(10**6 + 2)) == runs[:1]
    scene.session.commit()


def test_a_slot_that_is_being_given_back_is_not_taken_before_it_is(scene: Scene, rival: PostgresSession) -> None:
    scene.call(lambda tx: tx.set_queue("a", 1, False))
    runs = [scene.start(queue="a") for _ in range(2)]
    holder = scene.holder()
    assert scene.claim(holder) == runs[:1]

    tx = rival.begin(1)
    tx.free_slots(runs[:1])
    tx.lock_runs(runs[:1])
    assert scene.claim(holder) == []

    rival.commit()
    assert scene.claim(holder) == runs[1:]


@pytest.mark.parametrize("leaves", [False, True])
def test_those_beyond_a_lowered_limit_count_while_one_of_them_is_leaving(
    scene: Scene, rival: PostgresSession, admin: Admin, leaves: bool
) -> None:
    scene.call(lambda tx: tx.set_queue("a", 3, False))
    runs = [scene.start(queue="a") for _ in range(6)]
    holder = scene.holder()
    assert scene.claim(holder) == runs[:3]
    scene.call(lambda tx: tx.set_queue("a", 2, False))
    seats = by_slot(admin)
    scene.call(lambda tx: tx.free_slots([seats[1]]))

    tx = rival.begin(1)
    tx.free_slots([seats[3]])
    tx.lock_runs([seats[3]])
    assert scene.claim(holder) == []
    if leaves:
        rival.commit()
    else:
        rival.rollback()
    assert scene.claim(holder) == (runs[3:4] if leaves else [])
    assert len(by_slot(admin)) == 2


def by_slot(admin: Admin) -> dict[int, str]:
    found = admin.execute("SELECT slot, run_id FROM workflow_queue_slots WHERE run_id IS NOT NULL").fetchall()
    return {int(str(slot)): str(run_id) for slot, run_id in found}


def test_a_limit_waits_for_claims_under_way_and_counts_them(scene: Scene, rival: PostgresSession, admin: Admin) -> None:
    runs = [scene.start(queue="a") for _ in range(3)]
    assert claim(rival.begin(1), limit=2) == runs[:2]

    with ThreadPoolExecutor(1) as thread:
        limited = thread.submit(scene.call, lambda tx: tx.set_queue("a", 2, False))
        wait_until(lambda: waiting(admin))
        rival.commit()
        limited.result()

    assert scene.claim(scene.holder()) == []
    assert sorted(by_slot(admin).values()) == runs[:2]


def test_a_birth_waits_for_a_limit_under_way(scene: Scene, rival: PostgresSession, admin: Admin) -> None:
    holder = scene.holder()
    tx = rival.begin(1)
    tx.set_queue("a", 1, False)
    tx.next_wake()

    with ThreadPoolExecutor(1) as thread:
        born = thread.submit(scene.held, holder, queue="a")
        wait_until(lambda: waiting(admin))
        rival.commit()
        run = born.result()

    assert scene.head(run).holder is None
    assert scene.claim(holder) == [run]


def test_batches_over_the_same_runs_in_any_order_never_wait_for_each_other_in_a_circle(
    scene: Scene, rival: PostgresSession
) -> None:
    runs = [scene.start() for _ in range(30)]

    def batches(session: PostgresSession, seed: int) -> None:
        dice = random.Random(seed)
        for marker in range(60):
            tx = session.begin(10**6 + marker)
            for head in tx.lock_runs(dice.sample(runs, 20)).values():
                head.last_seq += 1
            tx.write_heads(list(tx.heads.values()))
            session.commit()

    session = scene.session
    assert isinstance(session, PostgresSession)
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(batches, session, 1), threads.submit(batches, rival, 2)]:
            done.result()

    assert sum(head.last_seq for head in session.begin(10**7).lock_runs(runs).values()) == 2 * 60 * 20


def test_one_key_in_two_batches_at_once_belongs_to_the_first(
    scene: Scene, rival: PostgresSession, admin: Admin
) -> None:
    first, second = (IdempotencyRow("s", "k", run, "hash", EPOCH + 100) for run in ("run-a", "run-b"))
    assert scene.session.begin(10**6).claim_keys([first], EPOCH) == {("s", "k"): first}

    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(lambda: rival.begin(1).claim_keys([second], EPOCH))
        wait_until(lambda: waiting(admin))
        scene.session.commit()
        assert found.result() == {("s", "k"): first}


def test_who_is_chosen_to_end_a_deadlock_may_try_again(scene: Scene, rival: PostgresSession, admin: Admin) -> None:
    run, key = scene.start(), scene.start()
    tx = scene.session.begin(10**6)
    tx.lock_runs([key])
    enemy = rival.begin(1)
    enemy.lock_runs([run])
    with ThreadPoolExecutor(1) as thread:
        theirs = thread.submit(enemy.lock_runs, [key])
        wait_until(lambda: waiting(admin))
        errors = [error for error in (lost(lambda: tx.lock_runs([run])), theirs.exception()) if error]

    assert [type(error) for error in errors] == [ConnectionLost]
    scene.session.rollback()


def lost(fn: Callable[[], object]) -> ConnectionLost | None:
    try:
        fn()
    except ConnectionLost as error:
        return error
    return None
