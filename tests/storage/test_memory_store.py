"""What only the memory backend offers: a clock of one's own, processes that die as told, a store that outlives them."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.databases import NOTES, Database, memory_database
from tests.storage.scene import EPOCH, Scene
from windlass.engine.errors import Fenced
from windlass.engine.types import Lease, Status
from windlass.kernel.clock import SECOND
from windlass.storage.memory.backend import MemoryBackend
from windlass.storage.memory.store import MemoryStore
from windlass.storage.memory.tables import DuplicateRow, Ranking, Table, UndoLog


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return EPOCH + int(self.seconds * SECOND)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Iterator[MemoryStore]:
    store = MemoryStore(clock)
    store.create_tables(NOTES.metadata)
    yield store
    store.close()


@pytest.fixture
def scene(store: MemoryStore) -> Iterator[Scene]:
    database = Database("memory", lambda: MemoryBackend(store))
    with Scene(database, database.open()) as scene:
        yield scene


def take_lease(scene: Scene, holder: str, seconds: float = 10.0) -> None:
    scene.call(lambda tx: tx.add_lease(Lease(holder, "host", 1, ""), seconds))


def test_a_lease_nobody_keeps_runs_out_by_the_stores_clock(scene: Scene, clock: Clock) -> None:
    take_lease(scene, "h")
    run = scene.held("h")

    clock.seconds = 9.999
    scene.write(run, "h", "a")
    assert scene.take_over("h") == 0
    clock.seconds = 10
    with pytest.raises(Fenced):
        scene.write(run, "h", "b")
    assert scene.call(lambda tx: tx.dead_holders()) == ["h"]
    assert scene.take_over("h") == 1


def test_a_kept_lease_does_not_run_out(scene: Scene, clock: Clock) -> None:
    with scene.backend.keep_lease("h", 10, lambda: None) as keeper:
        take_lease(scene, "h")
        clock.seconds = 10**6
        assert scene.call(lambda tx: tx.lease_is_live("h"))
        assert keeper.valid_until > clock.monotonic()
    clock.seconds += 9
    assert scene.call(lambda tx: tx.lease_is_live("h"))
    clock.seconds += 1
    assert not scene.call(lambda tx: tx.lease_is_live("h"))


def test_a_frozen_process_that_wakes_in_time_goes_on(scene: Scene, store: MemoryStore, clock: Clock) -> None:
    lost: list[int] = []
    with scene.backend.keep_lease("h", 10, lambda: lost.append(1)) as keeper:
        take_lease(scene, "h")
        clock.seconds = 100
        store.life.freeze("h")
        assert keeper.valid_until == 110
        clock.seconds = 109
        store.thaw("h")
        clock.seconds = 1000
        assert scene.call(lambda tx: tx.lease_is_live("h"))
        assert keeper.valid_until > 1000
    assert lost == []


@pytest.mark.parametrize("taken_over", [True, False])
def test_a_frozen_process_that_wakes_too_late_is_told(
    scene: Scene, store: MemoryStore, clock: Clock, taken_over: bool
) -> None:
    lost: list[int] = []
    with scene.backend.keep_lease("h", 10, lambda: lost.append(1)) as keeper:
        take_lease(scene, "h")
        run = scene.held("h")
        store.life.freeze("h")
        clock.seconds = 11
        if taken_over:
            assert scene.take_over("h") == 1
        store.thaw("h")
        assert lost == [1]
        assert keeper.valid_until < clock.monotonic()
        with pytest.raises(Fenced):
            scene.write(run, "h", "late")


def test_a_killed_process_is_dead_at_once(scene: Scene, store: MemoryStore) -> None:
    with scene.backend.keep_lease("h", 10, lambda: None):
        take_lease(scene, "h")
        run = scene.held("h")
        store.life.kill("h")
        with pytest.raises(Fenced):
            scene.write(run, "h", "late")
        assert scene.take_over("h") == 1


def test_a_store_outlives_its_sessions(store: MemoryStore) -> None:
    database = Database("memory", lambda: MemoryBackend(store))
    with Scene(database, database.open(), "one-") as first:
        run = first.start()
        first.call(lambda tx: tx.execute("INSERT INTO notes (note_id, text) VALUES (1, 'kept')"))
        first.backend.close()

    with Scene(database, database.open(), "two-") as second:
        assert second.view(run).status == "queued"
        assert [note[1] for note in second.notes()] == ["kept"]
    assert len(store.commits) == 0


def test_a_thread_cannot_wait_for_itself(scene: Scene, store: MemoryStore) -> None:
    other = MemoryBackend(store).write_session()
    scene.session.begin(10**6)
    try:
        assert not other.reserve()
        with pytest.raises(RuntimeError, match="transaction open"):
            other.begin(1)
    finally:
        scene.session.rollback()
    assert other.reserve()
    other.rollback()
    other.close()


def test_tables_of_others_can_be_added_later(scene: Scene, store: MemoryStore) -> None:
    more = sa.Table("more", sa.MetaData(), sa.Column("n", sa.Integer))

    store.create_tables(more.metadata)

    scene.call(lambda tx: tx.connection.execute(more.insert(), [{"n": 1}]))
    assert scene.backend.read(lambda connection: connection.execute(sa.select(more)).all()) == [(1,)]


def test_a_hundred_thousand_sleepers_leave_claims_alone() -> None:
    database, store = memory_database()
    with Scene(database, database.open()) as scene:
        holder = scene.holder()
        due = EPOCH + 10**9
        runs = [scene.new_run(status=Status.RUNNING, wake_at=due + place) for place in range(100_000)]
        scene.call(lambda tx: tx.insert_runs(runs))
        awake = [scene.start() for _ in range(100)]
        assert [scene.claim(holder, limit=1) for _ in range(100)] == [[run] for run in awake]
        for run in runs[:1000]:
            scene.signal(run.run_id)
        assert scene.claim(holder, limit=2000) == [run.run_id for run in runs[:1000]]
        scene.now = due + 1500
        assert scene.claim(holder, limit=2000) == [run.run_id for run in runs[1000:1501]]
    store.close()


@given(st.lists(st.tuples(st.sampled_from("ad"), st.integers(0, 9))))
def test_a_ranking_knows_its_smallest_member(changes: list[tuple[str, int]]) -> None:
    ranking: Ranking[tuple[int]] = Ranking()
    members: set[tuple[int]] = set()
    for change, number in changes * 20:
        (members.add if change == "a" else members.discard)((number,))
        (ranking.add if change == "a" else ranking.discard)((number,))
        assert ranking.first() == min(members, default=None)
        assert len(ranking) == len(members)


@given(st.lists(st.tuples(st.sampled_from(["put", "remove", "insert"]), st.integers(0, 4), st.integers(0, 9))))
def test_a_table_goes_back_to_any_mark(changes: list[tuple[str, int, int]]) -> None:
    undo = UndoLog()
    table: Table[int, int] = Table(undo)
    states = [(undo.mark(), table.items())]
    for change, key, value in changes:
        if change == "remove":
            table.remove(key)
        elif change == "put":
            table.put(key, value)
        elif key in table:
            with pytest.raises(DuplicateRow):
                table.insert(key, value)
        else:
            table.insert(key, value)
        states.append((undo.mark(), table.items()))
    for mark, items in reversed(states):
        undo.rewind(mark)
        assert sorted(table.items()) == sorted(items)
    assert len(table) == 0
