"""The connection that writes a SQLite file does not read again what it has written itself."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import pytest

from tests.storage.scene import Scene
from windlass.engine.births import insert
from windlass.engine.errors import Fenced
from windlass.engine.ports import Transaction
from windlass.engine.types import RunHead
from windlass.storage.sqlite import known

pytestmark = pytest.mark.parametrize("database", ["sqlite", "sqlite-inline"], indirect=True)


@contextmanager
def heads_read(scene: Scene) -> Iterator[list[str]]:
    """Yield what the connection that writes asks about runs from now on."""
    asked: list[str] = []
    raw = scene.session._connection()  # type: ignore[attr-defined]
    raw.set_trace_callback(lambda said: asked.append(said) if "json_array(run_id,name,status" in said else None)
    try:
        yield asked
    finally:
        raw.set_trace_callback(None)


def seen(scene: Scene, run: str) -> RunHead:
    """Return a run's head as a transaction sees it that writes something."""

    def look(tx: Transaction) -> RunHead:
        head = tx.lock_runs([run])[run]
        tx.bump_runs([head])
        return copy(head)

    return scene.call(look)


def test_held_runs_are_read_only_when_they_are_in_doubt(scene: Scene) -> None:
    holder = scene.holder()
    with heads_read(scene) as asked:
        run = scene.held(holder, parent_run_id="p", priority=3, on_end="w")
        born = seen(scene, run)
        for name in "abc":
            scene.write(run, holder, name)
        written = seen(scene, run)
        assert asked == []

        with pytest.raises(ZeroDivisionError):
            scene.call(lambda tx: [tx.lock_runs([run]), 1 // 0])
        assert seen(scene, run) == written
        assert len(asked) == 1

    assert (born.last_seq, born.status, born.holder, born.started_at is None) == (1, "running", holder, False)
    assert {**vars_of(written), "last_seq": 1} == vars_of(born)


def vars_of(head: RunHead) -> dict[str, object]:
    return {name: getattr(head, name) for name in RunHead.__slots__}


def test_only_some_are_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 2)
    holder = scene.holder()
    runs = [scene.held(holder) for _ in range(3)]
    with heads_read(scene) as asked:
        assert [seen(scene, run).run_id for run in reversed(runs)] == runs[::-1]
    assert len(asked) == 1


def test_a_claimed_run_is_its_holders_as_it_was_claimed(scene: Scene) -> None:
    holder, run = scene.holder(), scene.start()
    (claimed,) = scene.claimed(holder)
    scene.write(run, holder, "a")
    scene.write(run, holder, "b")
    assert claimed.head.last_seq == 1
    assert seen(scene, run).last_seq == 3


@pytest.mark.parametrize("theirs", [True, False], ids=["another connection", "code in a transaction"])
def test_what_others_write_about_a_run_is_heard(scene: Scene, theirs: bool) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.write(run, holder, "a")
    change = "UPDATE workflow_runs SET holder = 'someone' WHERE run_id = :run"

    if theirs:
        with sqlite3.connect(scene.backend.path) as other:  # type: ignore[attr-defined]
            other.execute(change, {"run": run})
        other.close()
    else:
        scene.call(lambda tx: tx.execute(change, {"run": run}))

    with pytest.raises(Fenced):
        scene.write(run, holder, "b")
    assert scene.types(run) == ["run_started", "a"]


def test_a_run_that_a_savepoint_took_back_is_not_known(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.new_run(holder=holder)

    def fail(tx: Transaction) -> None:
        with tx.savepoint():
            insert(tx, [run])
            raise ZeroDivisionError

    def take_back(tx: Transaction) -> None:
        with pytest.raises(ZeroDivisionError):
            fail(tx)
        tx.bump_runs([tx.lock_runs([other])[other]])

    other = scene.held(holder)
    scene.call(take_back)
    assert scene.call(lambda tx: tx.lock_runs([run.run_id])) == {}
