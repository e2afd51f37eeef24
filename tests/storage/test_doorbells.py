"""Processes wake each other, and see each other die. Promises 5 and 7."""

from collections.abc import Iterator
from contextlib import ExitStack
from queue import SimpleQueue

import pytest

from tests.storage.databases import Database
from tests.storage.scene import LEASE_SECONDS, Scene
from tests.support.waiting import wait_until
from windlass.engine.ports import Backend, Ring
from windlass.engine.types import InboxRow


class Ears:
    """A process that listens."""

    def __init__(self, backend: Backend, holder: str, stack: ExitStack) -> None:
        self.backend = backend
        self.holder = holder
        self._heard: SimpleQueue[str] = SimpleQueue()
        stack.callback(backend.close)
        stack.enter_context(backend.listen(holder, self._heard.put))

    def hears(self, *kinds: str) -> None:
        """Wait until these have been heard; a bell may ring more often than asked."""
        wanted = set(kinds)
        while wanted:
            wanted.discard(self._heard.get(timeout=10))

    def heard(self) -> list[str]:
        """Return what was heard and not waited for."""
        return [self._heard.get() for _ in range(self._heard.qsize())]


@pytest.fixture
def ears(database: Database) -> Iterator[list[Ears]]:
    with ExitStack() as stack:
        yield [Ears(database.open(), holder, stack) for holder in ("holder-a", "holder-b", "holder-c")]


def letter(run_id: str) -> InboxRow:
    return InboxRow("i", run_id, "signal", "x", None, "1", 1)


def test_others_hear_that_something_is_ready(ears: list[Ears]) -> None:
    first, second, third = ears

    first.backend.ring([Ring("ready", "r")])

    second.hears("ready")
    third.hears("ready")
    assert "ready" not in first.heard()


def test_only_the_holder_hears_of_its_inbox(ears: list[Ears]) -> None:
    first, second, third = ears

    first.backend.ring([Ring("inbox", "r", second.holder, letter("r"))])
    second.hears("inbox")
    first.backend.ring([Ring("ended", "r")])
    third.hears("ended")

    assert "inbox" not in third.heard()


def test_many_rings_are_heard_as_few(ears: list[Ears]) -> None:
    first, second, _ = ears

    first.backend.ring(
        [Ring("ready", f"r{n}") for n in range(500)]
        + [Ring("ended", f"r{n}") for n in range(500)]
        + [Ring("inbox", f"r{n}", second.holder, letter(f"r{n}")) for n in range(500)]
    )

    second.hears("ready", "ended", "inbox")
    assert len(second.heard()) < 100


def test_news_of_a_run_come_with_its_name_and_newcomers_with_a_greeting(database: Database, ears: list[Ears]) -> None:
    first, second, third = ears

    first.backend.ring([Ring("news", "r1"), Ring("follow", "r2")])
    second.hears("news:r1", "follow:r2")
    third.hears("news:r1", "follow:r2")
    with ExitStack() as stack:
        Ears(database.open(), "holder-d", stack)
        first.hears("hello")
    second.backend.ring([Ring("news", f"run-{n:032}") for n in range(1000)])
    third.hears(*(f"news:run-{n:032}" for n in range(1000)))


def test_a_process_without_ears_may_ring(database: Database, ears: list[Ears]) -> None:
    silent = database.open()
    try:
        silent.ring([Ring("ready", "r")])
        for process in ears:
            process.hears("ready")
    finally:
        silent.close()


def test_a_bell_nobody_hears_harms_nobody(backend: Backend) -> None:
    backend.ring([Ring("ready", "r"), Ring("inbox", "r", "gone", letter("r"))])
    backend.ring([])


def test_who_has_left_is_not_rung(database: Database) -> None:
    with ExitStack() as staying:
        first = Ears(database.open(), "holder-a", staying)
        with ExitStack() as leaving:
            second = Ears(database.open(), "holder-b", leaving)
            first.backend.ring([Ring("ready", "r")])
            second.hears("ready")
        first.backend.ring([Ring("ready", "r"), Ring("inbox", "r", "holder-b", letter("r"))])
        third = Ears(database.open(), "holder-c", staying)
        first.backend.ring([Ring("ended", "r")])
        third.hears("ended")
        assert second.heard() == []


def test_a_kept_lease_lives_and_one_let_go_can_be_taken_over(scene: Scene, other: Scene) -> None:
    holder = scene.holder()
    run = scene.held(holder)
    assert other.take_over(holder) == 0
    assert other.call(lambda tx: tx.dead_holders()) == []

    scene.die(holder)

    wait_until(lambda: other.call(lambda tx: tx.dead_holders()) == [holder])
    assert other.take_over(holder) == 1
    assert other.claim(other.holder()) == [run]


def test_a_kept_lease_says_how_long_it_holds(scene: Scene) -> None:
    holder = scene.new_id("holder")
    with scene.backend.keep_lease(holder, LEASE_SECONDS, lambda: None) as keeper:
        assert keeper.valid_until > 0


def test_what_one_process_writes_the_others_read(scene: Scene, other: Scene) -> None:
    run = other.start()
    assert scene.view(run).status == "queued"
    holder = scene.holder()
    assert scene.claim(holder) == [run]
    scene.write(run, holder, "a")
    assert other.types(run) == ["run_started", "a"]
    assert other.control(run, "cancel").result == "sent"
    assert [row.kind for row in scene.inbox(run)] == ["cancel"]
