"""Waiting for a run: until it has ended or the time is over, with what its children have done."""

from typing import Any

import pytest

from tests.unit.cli.fakes import scripted
from windlass.cli import waiting
from windlass.cli.exits import CommandError, ExitCode
from windlass.cli.waiting import Watch, add_counts

QUEUED = {"status": "queued", "name": "flow", "interface_version": "1", "holder": None}
RUNNING = {"status": "running", "name": "flow", "holder": "h"}
DONE = {"status": "succeeded", "name": "flow", "holder": None}


class Shown:
    """Keeps what a progress bar is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int | None, str]] = []

    def at(self, done: int, total: int | None = None, said: str = "") -> None:
        self.told.append((done, total, said))


def child(seq: int, result: Any) -> dict[str, Any]:
    return {"event_seq": seq, "event_type": "child_completed", "payload": {"result": result}}


async def test_a_run_is_watched_to_its_end() -> None:
    script, client = scripted(get_run=[QUEUED, RUNNING, DONE])

    assert await Watch(client, "r", None).ended() == DONE
    assert [asked[0] for asked in script.asked] == ["get_run"] * 3


async def test_progress_adds_up_what_children_have_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PAGE", 2)
    shown = Shown()
    other = {"event_seq": 2, "event_type": "step_completed", "payload": {}}
    pages = [
        [child(1, {"processed": 3, "failed": 1, "skipped": 0}), other],
        [],
        [child(4, {"processed": 2, "failed": 0, "skipped": 0}), child(5, "no counts")],
        [],
    ]
    script, client = scripted(get_run=[RUNNING, DONE], events=pages)

    await Watch(client, "r", None).ended(shown, 6)

    assert shown.told == [(4, 6, "3 processed, 1 failed"), (6, 6, "5 processed, 1 failed")]
    assert [asked[2] for asked in script.asked if asked[0] == "events"] == [0, 2, 2, 5]


async def test_the_wait_is_given_up_in_time() -> None:
    _, client = scripted(get_run=[RUNNING, RUNNING])

    with pytest.raises(CommandError) as caught:
        await Watch(client, "r", 0).ended()

    assert caught.value.code is ExitCode.UNAVAILABLE
    assert caught.value.message == "run r is still running after 0 s"
    assert "windlass runs wait r" in caught.value.hint


async def test_a_run_that_ends_at_the_last_moment_counts() -> None:
    _, client = scripted(get_run=[RUNNING, DONE])

    assert await Watch(client, "r", 0).ended() == DONE


@pytest.mark.parametrize(
    "workers,said",
    [([], True), ([{"workflows": ("other",)}], True), ([{"workflows": ("flow",)}], False), (None, False)],
)
async def test_nobody_to_take_a_run_is_worth_a_word(
    workers: list[Any] | None, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "LONELY_SECONDS", -1.0)
    _, client = scripted(get_run=[QUEUED, QUEUED, DONE], workers=[workers])

    await Watch(client, "r", None).ended()

    assert ("no live process carries out flow" in capsys.readouterr().err) is said


def test_only_counts_are_added_up() -> None:
    sums: dict[str, int] = {}

    for result in ({"a": 1}, {"a": 2, "b": 3}, {"a": True}, {"a": "x"}, None, [1]):
        add_counts(sums, result)

    assert sums == {"a": 3, "b": 3}
