"""A crash after every commit of somebody's own workflow: mistakes are found, and what has none passes."""

import random
import re

import pytest

from tests.kit import healthy, planted
from windlass.engine.history import History
from windlass.engine.types import Event
from windlass.testing import Driver, PromiseBroken, crash_everywhere
from windlass.testing.crash import FATES, Everywhere


@pytest.mark.parametrize("mistake", planted.PLANTS)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    workflow, args, named = planted.PLANTS[mistake]

    with pytest.raises(PromiseBroken) as caught:
        crash_everywhere(workflow, *args, effects=lambda: [*planted.SENT], fresh=planted.fresh, reboot=planted.reboot)

    assert re.search(named.replace("()", r"\(\)"), str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    "mistake",
    [
        "date",
        "random",
        "uuid",
        "module-global counter",
        "argument changed by a step",
        "effect outside of a step",
        "BaseException caught",
        "state that is not recorded",
        "state in memory",
        "step that cannot run twice",
    ],
)
def test_the_crashes_alone_show_what_goes_wrong_and_where(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow, args, _ = planted.PLANTS[mistake]
    monkeypatch.setattr(Everywhere, "_replay", lambda *_: None)
    random.seed(3)

    def anew() -> None:
        planted.fresh()
        planted.reboot()

    with pytest.raises(PromiseBroken) as caught:
        crash_everywhere(
            workflow,
            *args,
            effects=lambda: [*planted.SENT],
            fresh=anew,
            reboot=planted.reboot if mistake == "state in memory" else None,
            watch=False,
            lint=False,
            signals=[("go", 1)],
        )

    assert caught.value.commit is not None
    assert caught.value.fate in FATES
    assert f"commit {caught.value.commit}, {caught.value.fate}" in str(caught.value)


def test_an_engine_that_forgot_what_a_step_came_to_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = History._read

    def forgetful(self: History, event: Event) -> None:
        if (event.type, event.step_id) != ("step_completed", "kit_do#2"):
            read(self, event)

    def crash() -> None:
        crash_everywhere(healthy.steps, 3, fresh=healthy.DONE.clear, fates=["crash after"])

    monkeypatch.setattr(Everywhere, "_replay", lambda *_: None)
    monkeypatch.setattr(History, "_read", forgetful)

    with pytest.raises(PromiseBroken, match="'kit_do#2' ran again although its outcome was recorded"):
        crash()


@pytest.mark.parametrize("kind", healthy.HEALTHY)
def test_a_healthy_workflow_passes(kind: str) -> None:
    workflow, args, more, status = healthy.HEALTHY[kind]
    options = {"fresh": healthy.DONE.clear, "effects": lambda: [*healthy.DONE], **more}

    report = crash_everywhere(workflow, *args, **options)

    assert report.status == status, report
    assert report.commits >= 4
    assert all(lives >= report.commits for fate, lives in report.lives.items() if fate.startswith("commit crash"))


async def test_an_async_test_may_do_it_too_and_a_drivers_mistake_is_its_own() -> None:
    async def drive(run: Driver) -> None:
        await run.sleep(60)
        await run.cancel()

    async def mistaken(run: Driver) -> None:
        raise LookupError("the test's own")

    report = crash_everywhere(healthy.signals, drive=drive)

    assert (report.status, report.result) == ("cancelled", None)
    spread = crash_everywhere(healthy.steps, 3, most=3, fates=["crash after"])
    assert spread.lives == {"nothing goes wrong": 2, "commit crash after": 3}
    assert "ends as cancelled whatever happens at each of its" in str(report)
    with pytest.raises(LookupError, match="the test's own"):
        crash_everywhere(healthy.signals, drive=mistaken)
