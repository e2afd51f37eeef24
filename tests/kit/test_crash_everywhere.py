"""A crash after every commit of somebody's own workflow: mistakes are found, and what has none passes."""

import re

import pytest

from tests.kit import healthy, planted
from windlass.testing import Driver, PromiseBroken, crash_everywhere


@pytest.mark.parametrize("mistake", planted.PLANTS)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    workflow, args, named = planted.PLANTS[mistake]

    with pytest.raises(PromiseBroken) as caught:
        crash_everywhere(workflow, *args, effects=lambda: [*planted.SENT], fresh=planted.fresh, reboot=planted.reboot)

    assert re.search(named.replace("()", r"\(\)"), str(caught.value)), str(caught.value)


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
