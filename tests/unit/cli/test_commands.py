"""Small decisions of commands."""

from typing import Any

import pytest

from tests.unit.cli.fakes import scripted
from windlass.cli.exits import CommandError
from windlass.cli.serving import banner
from windlass.cli.work.people import read_fields
from windlass.cli.work.queues import read_limit
from windlass.cli.work.records import in_order
from windlass.cli.work.runs import why_it_waits
from windlass.contexts.records.sheets import flat

RUN: dict[str, Any] = {
    "status": "running", "status_reason": None, "wait_reason": None, "wake_at": None, "holder": None, "deaths": 0,
    "name": "flow", "queue": "mail", "interface_version": "1",
}  # fmt: skip
UNTIL = {"wake_at": "2026-11-22T16:30:06.000000Z"}


@pytest.mark.parametrize(
    "fields,why",
    [
        ({"status": "succeeded"}, None),
        ({"holder": "h"}, None),
        ({"status": "paused", "status_reason": "lunch"}, "paused: lunch; resume it to let it go on"),
        (
            {"status": "paused", "status_reason": "poisoned", "deaths": 5},
            "paused: 5 processes died while they held it; look at why, then resume it",
        ),
        ({"wait_reason": "signal:paid"}, "waits for the signal 'paid'"),
        ({"wait_reason": "signal:paid", **UNTIL}, "waits for the signal 'paid' until 2026-11-22 16:30:06Z"),
        (
            {"status": "waiting_human", "wait_reason": "signal:decision:1", **UNTIL},
            "waits for a person to decide; `windlass inbox --all` shows what is asked",
        ),
        ({"wait_reason": "child:c1"}, "waits for its child c1"),
        ({"wait_reason": "3 things"}, "waits for 3 things"),
        ({"wait_reason": "timer", **UNTIL}, "asleep until 2026-11-22 16:30:06Z"),
        (
            {"status": "queued", "wait_reason": "delayed", **UNTIL},
            "starts later: waits until 2026-11-22 16:30:06Z",
        ),
        (
            {"wait_reason": "write_failed", **UNTIL},
            "its last write failed: put aside until 2026-11-22 16:30:06Z",
        ),
    ],
)
async def test_why_a_run_waits_is_said_in_words(fields: dict[str, Any], why: str | None) -> None:
    _, client = scripted()

    assert await why_it_waits(client, RUN | fields) == why


async def test_fields_are_a_json_object() -> None:
    assert read_fields('{"amount": 7}') == {"amount": 7}
    for text in ("{", "7", "[]"):
        with pytest.raises(CommandError, match="--fields"):
            read_fields(text)


@pytest.mark.parametrize(
    "workers,why",
    [
        ([], "no live process carries out flow; start one with `windlass worker`"),
        ([{"workflows": ("flow",)}], "ready: waits for a place in the queue 'mail'"),
        (None, "ready: waits for a place in the queue 'mail'"),
    ],
)
async def test_a_ready_run_waits_for_a_process(workers: list[Any] | None, why: str) -> None:
    _, client = scripted(workers=[workers])

    assert await why_it_waits(client, RUN | {"status": "queued"}) == why


@pytest.mark.parametrize("version,lacks", [("1", "flow"), ("2", None), ("3", "flow@3"), ("", None)])
async def test_a_run_waits_for_a_process_with_its_version(version: str, lacks: str | None) -> None:
    _, client = scripted(workers=[[{"workflows": ("other",)}, {"workflows": ("flow@2", "other@3")}]])

    why = await why_it_waits(client, RUN | {"status": "queued", "interface_version": version})

    assert (f"no live process carries out {lacks};" in str(why)) == (lacks is not None)


def test_a_limit_is_a_number_or_none() -> None:
    assert read_limit("12") == 12
    assert read_limit("none") is None
    for text in ("0", "-1", "x", "", "1.5", "٣"):
        with pytest.raises(CommandError, match="a limit is a number from 1 on, or none"):
            read_limit(text)


def test_counts_have_one_order() -> None:
    counts = in_order({"failed": 1, "skipped": 0, "processed": 2})

    assert list(counts.items()) == [("processed", 2), ("failed", 1), ("skipped", 0)]


def test_a_summary_becomes_rows() -> None:
    summary = {
        "generated_at": "now",
        "filters": {"status": None},
        "totals": {"all": 3, "failed": 1},
        "by_day": [{"day": "2026-01-01", "count": 3, "failed": 1}],
        "failure_reasons": [],
    }

    assert list(flat(summary)) == [
        ("totals", "", "all", 3),
        ("totals", "", "failed", 1),
        ("by_day", "2026-01-01", "count", 3),
        ("by_day", "2026-01-01", "failed", 1),
    ]


@pytest.mark.parametrize(
    "host,expected",
    [
        ("127.0.0.1", "http://localhost:80"),
        ("0.0.0.0", "http://localhost:80"),  # noqa: S104  shown, not bound
        ("::", "http://localhost:80"),
        ("10.1.2.3", "http://10.1.2.3:80"),
        ("fd00::1", "http://[fd00::1]:80"),
    ],
)
def test_the_address_shown_can_be_opened(host: str, expected: str) -> None:
    assert banner.address(host, 80) == expected


def test_the_banner_says_what_the_server_needs(capsys: pytest.CaptureFixture[str]) -> None:
    banner.show("http://localhost:80", "sqlite:///x.db", keyed=True, worker=False)

    said = capsys.readouterr()
    assert said.out == ""
    assert "Windlass is up\n" in said.err
    assert "http://localhost:80/docs" in said.err
    assert '-H "X-API-Key: $API_KEY"' in said.err
    assert "Runs are left to `windlass worker`." in said.err
