"""What only a file on a disk can do: fill up, grow a WAL, be shared by writers who queue for it."""

import asyncio
import fcntl
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

import pytest

from tests.storage.databases import sqlite_database
from tests.storage.scene import Scene
from tests.support.paths import ROOT
from tests.support.waiting import wait_until, wait_until_async
from windlass.engine.journal import ADVANCE, START
from windlass.engine.ops import CALL
from windlass.engine.ports import Ring
from windlass.engine.types import Event, StartRequest
from windlass.kernel.errors import Unavailable
from windlass.storage.batches import ConnectionLost
from windlass.storage.committer import Committer
from windlass.storage.sqlite import session as sessions
from windlass.storage.sqlite.backend import SqliteBackend
from windlass.storage.sqlite.folder import RunFolder, TurnLock, hang_bell, ring_bell
from windlass.storage.sqlite.journals import load_events

PAGE_BYTES = 4096 + 24
"""Of a page in the WAL."""
BIG = '"' + "x" * 100_000 + '"'


@pytest.fixture(params=[False, True], ids=["thread", "inline"])
def scene(request: pytest.FixtureRequest, sqlite_model: Path, tmp_path: Path) -> Iterator[Scene]:
    path = tmp_path / "windlass.db"
    path.write_bytes(sqlite_model.read_bytes())
    database = sqlite_database(path, inline=request.param)
    backend = database.open()
    with Scene(database, backend) as scene:
        yield scene
    backend.close()


def wal(scene: Scene) -> int:
    return Path(f"{scene.backend.path}-wal").stat().st_size  # type: ignore[attr-defined]


@contextmanager
def full_disk(scene: Scene) -> Iterator[None]:
    """Let no file grow beyond what the WAL needs for a few small rows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal(scene) + 20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_does_not_fit_on_the_disk_is_written_when_there_is_room_again(scene: Scene) -> None:
    holder = scene.holder()
    runs = [scene.held(holder) for _ in range(4)]
    units = [(ADVANCE, scene.advance(run, holder, "a")) for run in runs]
    new = scene.new_run(inputs=BIG)
    units_and_new = [*units[:2], (START, StartRequest(new)), *units[2:]]

    with full_disk(scene):
        refused = scene.batch(*units_and_new)  # type: ignore[arg-type]

    assert [type(answer) for answer in refused] == [ConnectionLost] * 5
    assert scene.rings == []
    assert [scene.types(run) for run in runs] == [["run_started"]] * 4
    accepted = scene.batch(*units_and_new)  # type: ignore[arg-type]
    assert [isinstance(answer, Exception) for answer in accepted] == [False] * 5
    assert [scene.types(run) for run in runs] == [["run_started", "a"]] * 4
    assert scene.view(new.run_id).inputs == BIG.strip('"')


def test_a_call_that_fills_the_disk_takes_nobody_along(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    insert = "INSERT INTO notes (note_id, text) VALUES (1, :text)"
    units = [
        (ADVANCE, scene.advance(run, holder, "a")),
        (CALL, lambda tx: tx.execute(insert, {"text": BIG})),
        (ADVANCE, scene.advance(run, holder, "b")),
    ]

    with full_disk(scene):
        scene.batch(*units)  # type: ignore[arg-type]
        scene.batch(*units)  # type: ignore[arg-type]

    types = scene.types(run)
    assert types == ["run_started", *["a", "b"] * ((len(types) - 1) // 2)]
    assert scene.notes() == []


def test_a_checkpoint_that_fails_does_not_undo_its_commit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    failures = []

    def fail(_session: object, _raw: object) -> None:
        failures.append(1)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sessions.SqliteSession, "_checkpoint", fail)
    assert scene.batch(*((ADVANCE, scene.advance(run, holder, name)) for name in "ab")) == [None, None]

    assert failures
    monkeypatch.undo()
    scene.write(run, holder, "c")
    assert scene.types(run) == ["run_started", "a", "b", "c"]


def test_the_wal_stays_small_while_nobody_reads(scene: Scene) -> None:
    largest = 0
    for _ in range(100):
        scene.batch(*((START, StartRequest(scene.new_run(inputs=BIG))) for _ in range(5)))
        largest = max(largest, wal(scene))

    assert largest < 64 * 1024 * 1024


def test_the_wal_stays_small_while_somebody_holds_an_old_snapshot(scene: Scene) -> None:
    scene.start()
    reader = sqlite3.connect(scene.backend.path, isolation_level=None)  # type: ignore[attr-defined]
    try:
        for _ in range(4):
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM workflow_runs").fetchall()
            for _ in range(20):
                scene.batch(*((START, StartRequest(scene.new_run(inputs=BIG))) for _ in range(5)))
            reader.execute("COMMIT")
        for _ in range(5):
            scene.start()
        assert wal(scene) < 64 * 1024 * 1024
    finally:
        reader.close()


def test_a_wal_in_use_is_given_its_room_at_once_and_read_without_it(scene: Scene, tmp_path: Path) -> None:
    """With what it writes in its room, also where the process died: SQLite takes the zeros behind it for its end."""
    started = [scene.start()]
    sizes = [wal(scene)]
    while sizes[-1] < sessions.CHECKPOINT_BYTES:
        started.append(scene.start())
        sizes.append(wal(scene))
    assert sizes[-1] == sessions.CHECKPOINT_BYTES
    assert max(sizes[:-1]) <= sessions.ROOMY_BYTES + 200_000
    started += [scene.start() for _ in range(20)]
    assert wal(scene) == sessions.CHECKPOINT_BYTES

    path = Path(scene.backend.path)  # type: ignore[attr-defined]
    for end in ("", "-wal"):
        (tmp_path / f"died.db{end}").write_bytes(path.with_name(path.name + end).read_bytes())
    with sqlite3.connect(tmp_path / "died.db") as connection:
        kept = connection.execute("SELECT run_id FROM workflow_runs ORDER BY run_id").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert [row[0] for row in kept] == started


def test_a_run_that_parks_and_goes_on_writes_few_pages(scene: Scene) -> None:
    """The status stands in most indexes of runs, and stays what it is."""
    raw = sqlite3.connect(scene.backend.path)  # type: ignore[attr-defined]
    names = [row[1] for row in raw.execute("PRAGMA index_list(workflow_runs)")]
    listed = [name for name in names if "status" in [row[2] for row in raw.execute(f"PRAGMA index_info({name})")]]
    raw.close()
    holder = scene.holder()
    run = scene.held(holder, name="workflows.run", owner="somebody", workflow_id=1)
    sizes = [wal(scene)]

    scene.park(run, holder, wake_at=scene.now)
    sizes.append(wal(scene))
    scene.later()
    assert scene.claim(holder, names=["workflows.run"]) == [run]
    sizes.append(wal(scene))

    parked, claimed = ((sizes[place + 1] - sizes[place]) // PAGE_BYTES for place in (0, 1))
    assert 0 < parked < len(listed) / 2
    assert 0 < claimed < len(listed)


def test_what_changes_nothing_is_not_written(scene: Scene) -> None:
    holder = scene.holder()
    before = wal(scene)

    assert scene.claim(holder) == []
    assert wal(scene) == before

    scene.call(lambda tx: tx.execute("CREATE TABLE theirs (text TEXT)"))
    scene.call(lambda tx: tx.connection.exec_driver_sql("DROP TABLE notes"))
    connection = sqlite3.connect(scene.backend.path)  # type: ignore[attr-defined]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert ("theirs" in tables, "notes" in tables) == (True, False)


QUEUER = """
import fcntl, sys
from pathlib import Path
from tests.storage.test_sqlite_files import take_turns
take_turns(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), "w")
"""
WRITER = """
import sys
from pathlib import Path
from windlass.storage.sqlite.backend import SqliteBackend
backend = SqliteBackend(Path(sys.argv[1]))
session = backend.write_session()
print("ready", flush=True)
sys.stdin.readline()
for marker in range(int(sys.argv[2])):
    session.begin(marker).execute("INSERT INTO notes (text) VALUES (:name)", {"name": sys.argv[3]})
    session.commit()
session.close()
backend.close()
"""


@contextmanager
def process(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that begins when it is told to, and is gone afterwards in any case."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            if started.poll() is None:
                started.kill()


def go(started: subprocess.Popen[str]) -> None:
    assert started.stdin is not None
    started.stdin.write("go\n")
    started.stdin.flush()


def somebody_waits(folder: Path) -> bool:
    with (folder / "turn.lock").open("rb") as turnstile:
        try:
            fcntl.flock(turnstile, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def take_turns(database: Path, log: Path, number: int, name: str) -> None:
    """Take turns as fast as possible, but give none up before the other process has asked for it."""
    folder = RunFolder(database).path
    lock = TurnLock(folder)
    if name == "w":
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
    with log.open("ab", buffering=0) as file:
        for turn in range(number):
            lock.acquire()
            file.write(name.encode())
            if turn < number - 1:
                wait_until(lambda: somebody_waits(folder), what="the other process asks")
            lock.release()
    lock.close()


def test_who_waits_for_a_turn_is_next(tmp_path: Path) -> None:
    database, log = tmp_path / "windlass.db", tmp_path / "log"
    with process(QUEUER, database, log, 30) as other:
        go(other)
        take_turns(database, log, 30, "m")
        assert other.wait(20) == 0

    assert log.read_text() in {"mw" * 30, "wm" * 30}


def test_a_turn_can_be_had_at_once_only_when_nobody_wants_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "windlass.db").path
    first, second = TurnLock(folder), TurnLock(folder)
    assert first.try_acquire()
    assert not second.try_acquire()
    with process(QUEUER, tmp_path / "windlass.db", tmp_path / "log", 1) as other:
        go(other)
        wait_until(lambda: somebody_waits(folder), what="the other process asks")
        first.release()
        assert other.wait(20) == 0
    assert second.try_acquire()
    assert not first.try_acquire()
    second.release()
    first.close()
    second.close()


@pytest.fixture
def disk_path() -> Iterator[Path]:
    """A folder on a disk, where a commit lasts longer than the system takes to let another process go on."""
    with TemporaryDirectory(prefix="windlass-", dir="/var/tmp") as folder:
        yield Path(folder)


def test_writers_at_full_speed_share_the_file(sqlite_model: Path, disk_path: Path) -> None:
    path = disk_path / "windlass.db"
    path.write_bytes(sqlite_model.read_bytes())
    turns, names = 300, "abc"
    with ExitStack() as stack:
        writers = [stack.enter_context(process(WRITER, path, turns, name)) for name in names]
        for writer in writers:
            go(writer)
        assert [writer.wait(60) for writer in writers] == [0, 0, 0]

    with sqlite3.connect(path) as connection:
        order = "".join(row[0] for row in connection.execute("SELECT text FROM notes ORDER BY note_id"))
    connection.close()
    assert sorted(order) == sorted(names * turns)
    together = order[max(order.index(name) for name in names) : min(order.rindex(name) for name in names)]
    assert all(together.count(name) > len(together) / 10 for name in names)
    assert max(len(stretch) for name in names for stretch in together.split(name)) <= 60


@contextmanager
def foreign_writer(path: Path, *, exclusive: bool = False) -> Iterator[sqlite3.Connection]:
    """A program that is not ours, in a transaction that writes; ``exclusive``: it lets nobody read."""
    foreign = sqlite3.connect(path, isolation_level=None)
    if exclusive:
        foreign.execute("PRAGMA locking_mode = EXCLUSIVE")
    foreign.execute("BEGIN IMMEDIATE")
    try:
        yield foreign
    finally:
        foreign.close()


@pytest.mark.parametrize("scene", [True], indirect=True)
async def test_an_event_loop_goes_on_while_another_program_writes(scene: Scene) -> None:
    committer = Committer(scene.backend.write_session())
    committer.start()
    run = scene.new_run()
    try:
        with foreign_writer(scene.backend.path) as foreign:  # type: ignore[attr-defined]
            answer = committer.submit(START, StartRequest(run), bounded=True)
            await wait_until_async(lambda: committer._in_hand == 1, what="the thread to take the batch")
            foreign.execute("COMMIT")
            started = await answer
    finally:
        await asyncio.to_thread(committer.close)

    assert started.run_id == scene.view(run.run_id).run_id


def test_a_caller_hears_that_another_program_holds_the_file(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scene.start()
    units = [(START, StartRequest(scene.new_run())) for _ in range(2)]
    with foreign_writer(scene.backend.path):  # type: ignore[attr-defined]
        if scene.database.inline:
            assert not scene.session.reserve()
            with pytest.raises(ConnectionLost, match=r"^another program holds the file$"):
                scene.session.begin(1)
        else:
            monkeypatch.setattr(sessions, "BUSY_MILLISECONDS", 0)
            assert [str(answer) for answer in scene.batch(*units)] == ["another program holds the file"] * 2

    assert [answer.created for answer in scene.batch(*units)] == [True, True]
    assert scene.view(run).status == "queued"


def test_a_reader_hears_that_another_program_holds_the_file(
    sqlite_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "windlass.db"
    path.write_bytes(sqlite_model.read_bytes())
    monkeypatch.setattr(sessions, "BUSY_MILLISECONDS", 0)
    backend = SqliteBackend(path)
    with foreign_writer(path, exclusive=True), pytest.raises(Unavailable, match=r"another program holds the file$"):
        backend.reader.get_run("r")

    assert backend.reader.get_run("r") is None
    backend.close()


def test_a_transaction_begun_for_nothing_is_no_hindrance(scene: Scene) -> None:
    session = scene.backend.write_session()
    assert session.reserve()
    assert session.reserve()
    session.close()

    assert scene.view(scene.start()).status == "queued"


def beside(backend: SqliteBackend) -> set[str]:
    """Return what processes have put beside the database, but for the writers' locks."""
    folder = backend.folder
    return {path.name for path in (*folder.bells.iterdir(), *(folder.path / "holders").iterdir())} - {
        "holders", "turn.lock", "write.lock",
    }  # fmt: skip


def test_what_a_dead_process_left_is_removed_and_nothing_of_the_living(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "windlass.db")
    with backend.keep_lease("alive", 1.0, lambda: None), backend.listen("alive", lambda _kind: None):
        os.close(backend.folder.lock_holder("dead"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
            hang_bell(bell, backend.folder.bell("dead"))
        assert beside(backend) == {"alive.lock", "alive.bell", "dead.lock", "dead.bell"}

        for holder in ("dead", "alive", "nobody"):
            backend.sweep(holder)

        assert beside(backend) == {"alive.lock", "alive.bell"}
    assert beside(backend) == set()
    backend.close()


def test_a_doorbell_that_is_being_closed_is_left_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "bell"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        hang_bell(bell, path)
        bell.shutdown(socket.SHUT_RD)

        ring_bell(path, b"ready")

        assert path.exists()


def test_a_doorbell_nobody_answers_is_taken_down(tmp_path: Path) -> None:
    first, second = SqliteBackend(tmp_path / "windlass.db"), SqliteBackend(tmp_path / "windlass.db")
    heard: SimpleQueue[str] = SimpleQueue()
    with first.listen("alive", heard.put):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
            hang_bell(bell, first.folder.bell("dead"))

        second.ring([Ring("ready", "r")])

        assert heard.get(timeout=10) == "ready"
        assert beside(first) == {"alive.bell"}
    first.close()
    second.close()


def test_journals_that_are_too_long_together_are_read_all_the_same(scene: Scene) -> None:
    """SQLite makes no text beyond 10^9 bytes; the limit is lowered here."""
    first, second = scene.start(), scene.start()
    events = [Event(run, seq, "e", None, '{"a": 1}', seq) for run in (second, first) for seq in range(20, 0, -1)]
    scene.call(lambda tx: tx.append_events(events))
    with sqlite3.connect(scene.backend.path) as raw:  # type: ignore[attr-defined]
        whole = load_events(raw, [first, second, "nobody"])
        assert [event.seq for event in whole[first]] == [event.seq for event in whole[second]] == list(range(1, 21))
        raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 500)

        assert load_events(raw, [first, second, "nobody"]) == whole
    raw.close()
