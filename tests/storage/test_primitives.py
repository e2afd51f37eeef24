"""The row primitives of a transaction, one by one."""

import pytest

from tests.storage.databases import NOTES
from tests.storage.scene import EPOCH, LEASE_SECONDS, Scene
from windlass.engine.ports import IdempotencyRow, Transaction
from windlass.engine.types import Event, InboxRow, Lease, RunHead, Status
from windlass.kernel.clock import to_iso


def letter(run_id: str, inbox_id: str, *, name: str = "x", dedup_id: str | None = None) -> InboxRow:
    return InboxRow(inbox_id, run_id, "signal", name, dedup_id, "1", EPOCH)


def test_a_head_holds_what_was_inserted(scene: Scene) -> None:
    run = scene.new_run(
        run_id="r", name="n", queue="q", priority=-3, parent_run_id="p", ready_at=7, created_at=EPOCH + 5
    )
    scene.call(lambda tx: tx.insert_runs([run]))

    assert scene.head("r") == RunHead("r", "n", "queued", None, None, None, 0, "q", -3, 1, 7, None, 0, "p", None, None)


def test_a_view_holds_what_was_inserted(scene: Scene) -> None:
    run = scene.new_run(
        tenant_id="t", owner="o", key="k", attributes='{"a":1}', interface_version="2", inputs='{"x":[]}', wake_at=EPOCH
    )
    scene.call(lambda tx: tx.insert_runs([run]))

    view = scene.view(run.run_id)
    assert (view.tenant_id, view.owner, view.key, view.interface_version) == ("t", "o", "k", "2")
    assert (view.attributes, view.inputs, view.outputs, view.error) == ({"a": 1}, {"x": []}, None, None)
    assert (view.created_at, view.wake_at, view.started_at, view.ended_at) == (to_iso(EPOCH), to_iso(EPOCH), None, None)


def test_locking_gives_known_runs_and_remembers_them(scene: Scene) -> None:
    first, second = scene.start(), scene.start()

    def look(tx: Transaction) -> None:
        locked = tx.lock_runs([second, "nobody", first])
        assert sorted(locked) == sorted([first, second])
        assert tx.heads[first] is locked[first]
        locked[first].status_reason = "changed in memory"
        assert tx.lock_runs([first])[first].status_reason == "changed in memory"
        assert tx.lock_runs([]) == {}

    scene.call(look)
    assert scene.head(first).status_reason is None


def test_a_second_run_of_an_id_is_refused(scene: Scene) -> None:
    run = scene.new_run()
    scene.call(lambda tx: tx.insert_runs([run]))

    with pytest.raises(Exception, match=r".+"):
        scene.call(lambda tx: tx.insert_runs([scene.new_run(), run]))

    assert len(scene.backend.reader.list_runs(scene.filter())) == 1


def test_bumping_writes_numbers_and_deaths_only(scene: Scene) -> None:
    run = scene.start()

    def bump(tx: Transaction) -> None:
        head = tx.lock_runs([run])[run]
        head.last_seq, head.deaths, head.status, head.holder = 9, 2, "running", "h"
        tx.bump_runs([head])

    scene.call(bump)
    with Scene(scene.database, scene.backend, "another") as another:
        head = another.head(run)
    assert (head.last_seq, head.deaths, head.status, head.holder) == (9, 2, "queued", None)


def test_the_highest_number_of_a_failed_attempt_is_remembered(scene: Scene) -> None:
    first, second, third = scene.start(), scene.start(), scene.start()

    scene.call(lambda tx: tx.note_failures([(first, 1), (second, 7)]))
    scene.call(lambda tx: tx.note_failures([(first, 3)]))
    scene.call(lambda tx: tx.note_failures([(first, 2)]))

    def found(least: int) -> set[str]:
        return {run.run_id for run in scene.backend.reader.list_runs(scene.filter()._replace(attempt_gte=least))}

    assert found(1) == {first, second}
    assert found(3) == {first, second}
    assert found(4) == {second}
    assert found(8) == set()
    assert third not in found(1)
    failing = scene.filter()._replace(failing=True)
    assert {run.run_id for run in scene.backend.reader.list_runs(failing)} == {first, second}
    scene.control(first, "cancel")
    assert {run.run_id for run in scene.backend.reader.list_runs(failing)} == {second}
    assert found(3) == {first, second}


def test_writing_a_head_writes_all_of_it(scene: Scene) -> None:
    run, other = scene.start(), scene.start()
    full = RunHead(
        run,
        "w",
        "waiting_human",
        "why",
        "wait",
        "h",
        5,
        "default",
        0,
        0,
        EPOCH,
        EPOCH + 1,
        4,
        None,
        None,
        to_iso(EPOCH),
    )
    empty = RunHead(run, "w", "queued", None, None, None, 0, "default", 0, 1, None, None, 0, None, None, None)

    for head in (full, empty):
        scene.call(lambda tx, head=head: tx.write_heads([head]))  # type: ignore[misc]
        assert scene.head(run) == head
    assert scene.head(other).status == "queued"


def test_an_outcome_is_written_with_its_head_and_can_be_taken_back(scene: Scene) -> None:
    run = scene.start()

    def end(status: str, outputs: str | None, error: str | None, at: int | None) -> None:
        def write(tx: Transaction) -> None:
            head = tx.lock_runs([run])[run]
            head.status, head.last_seq, head.started_at = status, head.last_seq + 1, to_iso(EPOCH)
            tx.finish_runs([(head, outputs, error, at)])

        scene.call(write)

    end("succeeded", '{"a":1}', None, EPOCH)
    assert (scene.view(run).outputs, scene.view(run).ended_at) == ({"a": 1}, to_iso(EPOCH))
    assert (scene.view(run).status, scene.view(run).started_at) == ("succeeded", to_iso(EPOCH))
    end("failed", None, '{"m":"x"}', EPOCH + 1)
    assert (scene.view(run).status, scene.view(run).outputs, scene.view(run).error) == ("failed", None, {"m": "x"})
    end("queued", None, None, None)
    assert (scene.view(run).outputs, scene.view(run).error, scene.view(run).ended_at) == (None, None, None)
    assert scene.head(run).last_seq == 3


def test_open_children_are_those_that_have_not_ended(scene: Scene) -> None:
    parents = [scene.start(), scene.start(), scene.start()]
    children = {status: scene.start(parent_run_id=parents[0], status=status) for status in Status}
    other = scene.start(parent_run_id=parents[1])

    found = scene.call(lambda tx: tx.open_children(parents, 100))

    still = [run for status, run in children.items() if not status.terminal]
    assert sorted(found) == sorted([*still, other])
    assert scene.call(lambda tx: tx.open_children([parents[2]], 100)) == []
    few = scene.call(lambda tx: tx.open_children(parents, 2))
    assert len(few) == 2
    assert set(few) < set(found)


def test_a_held_child_that_is_told_to_cancel_is_not_named_again(scene: Scene) -> None:
    holder = scene.holder()
    parent = scene.held(holder)
    child = scene.held(holder, parent_run_id=parent)
    scene.signal(child)
    assert scene.call(lambda tx: tx.open_children([parent], 10)) == [child]

    scene.control(child, "cancel")
    assert scene.call(lambda tx: tx.open_children([parent], 10)) == []

    scene.park(child, holder, ready=True)
    assert scene.view(child).status == "cancelled"

    other = scene.start(parent_run_id=parent)
    assert scene.call(lambda tx: tx.open_children([parent], 10)) == [other]
    assert scene.backend.reader.orphaned(10) == []
    scene.finish(parent, holder)
    assert scene.backend.reader.orphaned(10) == [parent]
    scene.control(other, "cancel")
    assert scene.backend.reader.orphaned(10) == []


def test_held_runs_come_in_id_order_and_not_all_at_once(scene: Scene) -> None:
    holder, other = scene.holder(), scene.holder()
    runs = [scene.held(holder, run_id=run_id) for run_id in ("c", "a", "b")]
    scene.held(other)

    assert scene.call(lambda tx: tx.held_runs(holder, 10)) == sorted(runs)
    assert scene.call(lambda tx: tx.held_runs(holder, 2)) == ["a", "b"]
    assert scene.call(lambda tx: tx.held_runs("nobody", 2)) == []


def test_due_runs_are_promoted_in_order_and_not_all_at_once(scene: Scene) -> None:
    runs = [scene.start(wake_at=EPOCH + delay) for delay in (30, 10, 20, 40)]

    assert scene.call(lambda tx: tx.next_wake()) == EPOCH + 10
    scene.call(lambda tx: tx.promote_due(EPOCH + 9, 10))
    assert [scene.head(run).ready_at for run in runs] == [None] * 4
    scene.call(lambda tx: tx.promote_due(EPOCH + 30, 2))
    assert [scene.head(run).ready_at for run in runs] == [None, EPOCH + 10, EPOCH + 20, None]
    scene.call(lambda tx: tx.promote_due(EPOCH + 30, 2))
    assert [scene.head(run).wake_at for run in runs] == [None, None, None, EPOCH + 40]
    assert scene.call(lambda tx: tx.next_wake()) == EPOCH + 40
    scene.call(lambda tx: tx.promote_due(EPOCH + 40, 2))
    assert scene.call(lambda tx: tx.next_wake()) is None


@pytest.mark.parametrize("status", ["paused", "succeeded", "failed", "cancelled"])
def test_a_run_that_time_alone_does_not_wake_is_nobodys_next_wake(scene: Scene, status: str) -> None:
    run = scene.start(wake_at=EPOCH, status=Status(status))
    later = scene.start(wake_at=EPOCH + 50)

    scene.call(lambda tx: tx.promote_due(EPOCH + 1, 10))
    assert scene.call(lambda tx: tx.next_wake()) == EPOCH + 50
    assert scene.backend.reader.poll("h", ["w"], EPOCH + 1).next_wake == EPOCH + 50
    assert not scene.backend.reader.poll("h", ["w"], EPOCH + 1).ready
    assert scene.head(run).ready_at is None
    assert scene.head(later).ready_at is None


def test_journals_come_back_in_order(scene: Scene) -> None:
    first, second = scene.start(), scene.start()
    events = [Event(run, seq, f"e{seq}", None, "{}", EPOCH + seq) for seq in (1, 2, 10) for run in (second, first)]
    odd = Event(first, 11, "e11", "näme#1", '{"a": "\\u001e \\"\\n"}', EPOCH + 61_000_001)

    scene.call(lambda tx: tx.append_events([odd, *events, odd._replace(run_id=second)]))

    found = scene.call(lambda tx: tx.load_events([first, second, "nobody"]))
    assert scene.call(lambda tx: tx.load_events(["nobody"])) == {}
    assert {run: [event.seq for event in journal] for run, journal in found.items()} == {
        first: [1, 2, 10, 11],
        second: [1, 2, 10, 11],
    }
    assert found[first][2:] == [Event(first, 10, "e10", None, "{}", EPOCH + 10), odd]


def test_a_number_is_given_once(scene: Scene) -> None:
    run = scene.start()
    event = Event(run, 1, "a", None, "{}", EPOCH)
    scene.call(lambda tx: tx.append_events([event]))

    with pytest.raises(Exception, match=r".+"):
        scene.call(lambda tx: tx.append_events([event._replace(seq=2), event]))

    assert [found.seq for found in scene.events(run)] == [1]


def test_an_inbox_keeps_the_order_of_arrival(scene: Scene) -> None:
    run, other = scene.start(), scene.start()
    ids = ["m", "child:z", "a", "z", "cancel:b"]
    for inbox_id in ids[:2]:
        scene.call(lambda tx, inbox_id=inbox_id: tx.add_inbox([letter(run, inbox_id)]))  # type: ignore[misc]
    scene.call(lambda tx: tx.add_inbox([letter(run, inbox_id) for inbox_id in ids[2:]] + [letter(other, "b")]))

    found = scene.call(lambda tx: tx.load_inbox([run, other, "nobody"]))

    assert {key: [row.inbox_id for row in rows] for key, rows in found.items()} == {run: ids, other: ["b"]}


def test_inbox_rows_keep_what_they_say(scene: Scene) -> None:
    run = scene.start()
    row = InboxRow("i", run, "child", "child-1", "d", '{"status":"failed","result":null}', EPOCH + 3)

    assert scene.call(lambda tx: tx.add_inbox([row])) == set()

    (found,) = scene.inbox(run)
    assert found._replace(payload="") == row._replace(payload="")
    assert scene.parsed(found.payload) == {"status": "failed", "result": None}


def test_a_dedup_id_is_taken_once_per_run_and_name_for_ever(scene: Scene) -> None:
    run, other = scene.start(), scene.start()
    rows = [
        letter(run, "1", dedup_id="d"),
        letter(run, "2", dedup_id="d"),
        letter(run, "3"),
        letter(run, "4"),
        letter(run, "5", name="y", dedup_id="d"),
        letter(other, "6", dedup_id="d"),
    ]

    assert scene.call(lambda tx: tx.add_inbox(rows)) == {"2"}
    scene.call(lambda tx: tx.consume_inbox(["1", "3", "nobody"]))
    assert scene.call(lambda tx: tx.add_inbox([letter(run, "7", dedup_id="d"), letter(run, "8")])) == {"7"}

    assert [row.inbox_id for row in scene.inbox(run)] == ["4", "5", "8"]
    assert [row.inbox_id for row in scene.inbox(other)] == ["6"]


def test_a_key_belongs_to_its_first_run_until_it_expires(scene: Scene) -> None:
    first = IdempotencyRow("s", "k", "r1", "h1", EPOCH + 100)
    second = IdempotencyRow("s", "k", "r2", "h2", EPOCH + 200)
    elsewhere = IdempotencyRow("t", "k", "r3", "h3", EPOCH + 100)

    assert scene.call(lambda tx: tx.claim_keys([first, second, elsewhere], EPOCH)) == {
        ("s", "k"): first,
        ("t", "k"): elsewhere,
    }
    assert scene.call(lambda tx: tx.claim_keys([second], EPOCH + 99)) == {("s", "k"): first}
    assert scene.call(lambda tx: tx.claim_keys([second], EPOCH + 100)) == {("s", "k"): second}
    assert scene.call(lambda tx: tx.claim_keys([first], EPOCH + 100)) == {("s", "k"): second}


def test_a_lease_lives_until_it_is_ended(scene: Scene) -> None:
    holder = scene.holder()

    assert not scene.call(lambda tx: tx.end_lease(holder, force=False))
    assert scene.call(lambda tx: tx.lease_is_live(holder))
    assert scene.backend.reader.lease_is_live(holder)

    def end(tx: Transaction) -> None:
        assert tx.end_lease(holder, force=True)
        assert not tx.lease_is_live(holder)

    scene.call(end)
    assert scene.call(lambda tx: tx.end_lease(holder, force=False))
    assert not scene.call(lambda tx: tx.lease_is_live(holder))
    assert not scene.backend.reader.lease_is_live(holder)
    assert not scene.call(lambda tx: tx.lease_is_live("nobody"))


def test_a_lease_counts_in_the_transaction_that_takes_it(scene: Scene) -> None:
    def take(tx: Transaction) -> bool:
        assert not tx.lease_is_live("new")
        tx.add_lease(Lease("new", "host", 1, ""), LEASE_SECONDS)
        return tx.lease_is_live("new")

    with scene.backend.keep_lease("new", LEASE_SECONDS, lambda: None):
        assert scene.call(take)


def test_dead_holders_are_those_with_something_left_to_do(scene: Scene) -> None:
    alive, dead, idle, ended, done = (scene.holder() for _ in range(5))
    for holder in (alive, dead, ended):
        scene.held(holder)
    for holder in (dead, idle):
        scene.die(holder)
    for holder in (ended, done):
        scene.call(lambda tx, holder=holder: tx.end_lease(holder, force=True))  # type: ignore[misc]

    left = sorted([dead, idle, ended, done])
    assert sorted(scene.call(lambda tx: tx.dead_holders())) == left
    assert sorted(scene.backend.reader.poll(alive, [], EPOCH).dead) == left
    assert scene.call(lambda tx: tx.end_lease(idle, force=False))
    for holder in (alive, dead, idle, ended, done, "nobody"):
        scene.call(lambda tx, holder=holder: tx.forget_lease(holder))  # type: ignore[misc]

    assert sorted(scene.call(lambda tx: tx.dead_holders())) == sorted([dead, ended])
    assert scene.call(lambda tx: tx.lease_is_live(alive))


def test_queues_that_are_paused_or_limited_are_restricted(scene: Scene) -> None:
    def change(tx: Transaction) -> frozenset[str]:
        assert tx.restricted_queues() == frozenset()
        tx.set_queue("limited", 2, False)
        tx.set_queue("paused", None, True)
        tx.set_queue("free", None, False)
        tx.set_queue("*", 10, False)
        return tx.restricted_queues()

    assert scene.call(change) == {"limited", "paused", "*"}
    scene.call(lambda tx: tx.set_queue("limited", None, False))
    assert scene.call(lambda tx: tx.restricted_queues()) == {"paused", "*"}
    assert scene.backend.reader.poll("h", [], EPOCH).restricted == {"paused", "*"}


def test_rows_of_others_are_inserted_with_one_statement(scene: Scene) -> None:
    rows = [(n, f"t{n}", f'{{"n":{n}}}', to_iso(EPOCH + n)) for n in range(1, 501)]

    scene.call(lambda tx: tx.insert_rows(NOTES, ["note_id", "text", "data", "at"], rows))
    scene.call(lambda tx: tx.insert_rows(NOTES, ["note_id", "text"], []))
    scene.call(lambda tx: tx.insert_rows(NOTES, ["note_id", "text"], [(501, "quo\"te\n's")]))

    found = scene.notes()
    assert len(found) == 501
    assert found[41] == (42, "t42", {"n": 42}, EPOCH + 42)
    assert found[500] == (501, "quo\"te\n's", None, None)


def test_sql_of_others_takes_named_parameters(scene: Scene) -> None:
    insert = "INSERT INTO notes (note_id, text) VALUES (:id, :text)"

    def write(tx: Transaction) -> list[str]:
        tx.execute(insert, {"id": 1, "text": "a:b %s"})
        tx.execute(insert, [{"id": 2, "text": "c"}, {"id": 3, "text": "d"}])
        tx.connection.execute(NOTES.insert(), [{"note_id": 4, "text": "e"}])
        found = tx.execute("SELECT text FROM notes WHERE note_id > :least ORDER BY note_id", {"least": 1})
        return [row[0] for row in found.fetchall()]

    assert scene.call(write) == ["c", "d", "e"]
    assert [note[1] for note in scene.notes()] == ["a:b %s", "c", "d", "e"]


def test_readers_cannot_write(scene: Scene) -> None:
    with pytest.raises(Exception, match=r".+"):
        scene.backend.read(lambda connection: connection.execute(NOTES.insert(), [{"note_id": 1, "text": "a"}]))

    assert scene.notes() == []
