"""What may be asked about runs without writing."""

import pytest

from tests.storage.scene import BROKEN, EPOCH, GONE, Scene
from windlass.engine.types import RunFilter, Status
from windlass.kernel.clock import to_iso


def ids(scene: Scene, **fields: object) -> list[str]:
    return [run.run_id for run in scene.backend.reader.list_runs(scene.filter(**fields))]


def test_an_unknown_run_is_none(scene: Scene) -> None:
    reader = scene.backend.reader

    assert reader.get_run("nobody") is None
    assert reader.ended(["nobody"]) == []
    assert reader.ended([]) == []
    assert reader.events("nobody", 0, 10) == []
    assert reader.list_runs(RunFilter()) == []
    assert not reader.lease_is_live("nobody")


def test_runs_are_listed_newest_first(scene: Scene) -> None:
    runs = [scene.start(created_at=EPOCH + second // 2) for second in range(6)]

    assert ids(scene) == runs[::-1]
    assert ids(scene, limit=2) == runs[:-3:-1]


def test_a_list_goes_on_where_it_stopped(scene: Scene) -> None:
    runs = [scene.start(created_at=EPOCH + second // 3) for second in range(10)]
    seen: list[str] = []
    before = None
    while page := scene.backend.reader.list_runs(RunFilter(limit=4, before=before)):
        seen += [run.run_id for run in page]
        before = (page[-1].created_at, page[-1].run_id)
        scene.start(created_at=EPOCH + 100)

    assert seen == runs[::-1]


def test_lists_are_filtered(scene: Scene) -> None:
    parent = scene.start(name="a", queue="p")
    child = scene.start(name="b", queue="q", parent_run_id=parent, created_at=EPOCH + 10)
    done = scene.start(name="a", queue="q", status=Status.SUCCEEDED, created_at=EPOCH + 20)

    assert ids(scene, name="a") == [done, parent]
    assert ids(scene, queue="q") == [done, child]
    assert ids(scene, name="a", queue="q") == [done]
    assert ids(scene, parent_run_id=parent) == [child]
    assert ids(scene, status=("queued",)) == [child, parent]
    assert ids(scene, status=("succeeded", "failed")) == [done]
    assert ids(scene, created_after=to_iso(EPOCH + 10)) == [done, child]
    assert ids(scene, created_before=to_iso(EPOCH + 10)) == [child, parent]
    assert ids(scene, created_after=to_iso(EPOCH + 1), created_before=to_iso(EPOCH + 19)) == [child]
    assert ids(scene, name="nothing") == []


def test_events_are_read_in_pages(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.write(run, holder, *"abcdef")
    reader = scene.backend.reader

    assert [event.type for event in reader.events(run, 0, 3)] == ["run_started", "a", "b"]
    assert [event.seq for event in reader.events(run, 3, 100)] == [4, 5, 6, 7]
    assert reader.events(run, 7, 100) == []


def test_only_runs_that_have_ended_have(scene: Scene) -> None:
    holder = scene.holder()
    runs = [scene.held(holder) for _ in range(4)]
    for run, outcome in zip(runs, (BROKEN, GONE), strict=False):
        scene.finish(run, holder, outcome)
    scene.park(runs[2], holder)

    ended = {run.run_id: (run.status, scene.parsed(run.result)) for run in scene.backend.reader.ended(runs)}

    assert ended == {
        runs[0]: ("failed", {"type": "ValueError", "message": "no"}),
        runs[1]: ("cancelled", {"type": "Cancelled", "message": "x"}),
    }


def test_an_output_may_be_null(scene: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    scene.finish(run, holder, outputs="null")

    (ended,) = scene.backend.reader.ended([run])

    assert (ended.status, ended.result) == ("succeeded", "null")
    assert scene.view(run).outputs is None


def test_a_poll_says_whether_a_claim_would_find_something(scene: Scene) -> None:
    reader = scene.backend.reader
    assert reader.poll("h", ["w"], EPOCH).ready is False

    scene.start(wake_at=EPOCH + 10)
    poll = reader.poll("h", ["w"], EPOCH + 9)
    assert (poll.ready, poll.next_wake) == (False, EPOCH + 10)
    assert reader.poll("h", ["w"], EPOCH + 10).ready is True
    assert reader.poll("h", [], EPOCH + 10).ready is False

    run = scene.start()
    assert reader.poll("h", ["w"], EPOCH).ready is True
    scene.claim(scene.holder())
    assert reader.poll("h", ["w"], EPOCH).ready is False
    assert scene.view(run).status == "running"


def test_a_poll_brings_what_the_holders_runs_have_not_heard(scene: Scene) -> None:
    holder, other = scene.holder(), scene.holder()
    mine, theirs = scene.held(holder), scene.held(other)
    for name in ("b", "a"):
        scene.signal(mine, name)
    scene.signal(theirs)
    scene.control(mine, "pause")

    rows = scene.backend.reader.poll(holder, [], EPOCH).inbox

    assert [(row.run_id, row.kind, row.name) for row in rows] == [
        (mine, "signal", "b"),
        (mine, "signal", "a"),
        (mine, "pause", ""),
    ]
    scene.write(mine, holder, consumed=[rows[0].inbox_id])
    assert len(scene.backend.reader.poll(holder, [], EPOCH).inbox) == 2


def test_what_is_not_committed_is_not_read(scene: Scene) -> None:
    run = scene.start()
    tx = scene.session.begin(10**6)
    try:
        tx.finish_runs([(tx.lock_runs([run])[run], "1", None, EPOCH)])
        if scene.backend.name == "memory":
            with pytest.raises(RuntimeError, match="transaction open"):
                scene.view(run)
        else:
            assert scene.view(run).outputs is None
    finally:
        scene.session.rollback()
    assert scene.view(run).outputs is None
