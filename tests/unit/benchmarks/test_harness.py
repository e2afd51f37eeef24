"""The parts of the measure that decide what a figure means."""

import json
from xml.etree import ElementTree as ET

import pytest

from benchmarks import load, report
from benchmarks.chart import Bar, bars
from benchmarks.contender import Outcome
from benchmarks.model import Benchmark, Goal, Ratio, Store, fraction, kilobytes, share, times
from benchmarks.sides import side
from benchmarks.table import BENCHMARKS

OURS = side("windlass", "ten-steps", "steps/s", Store.SQLITE, 100, 10)
BARE = side("bare", "ten-steps", "steps/s", Store.SQLITE, 100, 10)


def outcomes(*values: float) -> list[Outcome]:
    return [Outcome(value, {"p95": value * 2}) for value in values]


def test_a_ratio_is_the_quotient_of_medians_and_its_spread_is_by_round() -> None:
    ratio = Ratio("over bare", OURS, BARE, Goal(0.35, 0.55, share))
    measured = {OURS: outcomes(10, 30, 90), BARE: outcomes(100, 60, 20)}
    assert ratio.median(measured) == 0.5
    assert ratio.values(measured) == [0.1, 0.5, 4.5]


def test_a_ratio_over_two_commits_divides_by_both() -> None:
    ratio = Ratio("over two", OURS, BARE, None, times=2)
    assert ratio.median({OURS: outcomes(8), BARE: outcomes(2)}) == 2


def test_a_ratio_can_stand_alone_and_read_a_part() -> None:
    assert Ratio("alone", OURS, None, None).median({OURS: outcomes(7)}) == 7
    assert Ratio("part", OURS, None, None, part="p95").median({OURS: outcomes(7)}) == 14


def test_what_was_not_measured_has_no_ratio() -> None:
    assert Ratio("x", OURS, BARE, None).median({OURS: outcomes(7)}) is None
    assert Ratio("x", OURS, BARE, None).median({BARE: outcomes(7)}) is None


@pytest.mark.parametrize(
    "goal,value,verdict",
    [
        (Goal(25, 50, times), 50, "aim"),
        (Goal(25, 50, times), 49.9, "reached"),
        (Goal(25, 50, times), 24.9, "missed"),
        (Goal(2, 1.4, times, at_least=False), 1.4, "aim"),
        (Goal(2, 1.4, times, at_least=False), 2, "reached"),
        (Goal(2, 1.4, times, at_least=False), 2.1, "missed"),
    ],
)
def test_verdicts(goal: Goal, value: float, verdict: str) -> None:
    assert goal.verdict(value) == verdict


def test_figures_are_written_as_people_write_them() -> None:
    cross = "\N{MULTIPLICATION SIGN}"
    assert [times(v) for v in (25, 4, 1.44, 0.5)] == [
        f"25{cross}",
        f"4{cross}",
        f"1.4{cross}",
        f"0.50{cross}",
    ]
    assert fraction(1 / 40) == "1/40"
    assert share(0.352) == "0.35"
    assert kilobytes(300) == "0.30 kB"


@pytest.mark.parametrize(
    "buffer,length",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 40),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", None),
        (b"HTTP/1.1 200 OK\r\ncontent-le", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 27),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 59),
    ],
)
def test_the_load_generator_knows_when_an_answer_is_whole(buffer: bytes, length: int | None) -> None:
    assert load.answer_length(buffer) == length


def test_every_benchmark_has_a_name_of_its_own_and_measures_us() -> None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    assert len(set(names)) == len(names)
    for benchmark in BENCHMARKS:
        assert any(one.contender.startswith("windlass") for one in benchmark.sides()), benchmark.name


def test_reports_tell_goals_figures_and_spread() -> None:
    benchmark = Benchmark("bench", "a title", (Ratio("over bare", OURS, BARE, Goal(0.35, 0.55, share)),))
    results = {benchmark: {OURS: outcomes(20, 22), BARE: outcomes(100, 110)}}
    page = report.markdown(results, {"processor": "2 x Z"}, {"SQLite": "WAL"}, "chart.svg")
    assert "| a title: over bare | ≥ 0.35 | ≥ 0.55 | 0.20 | 0.20 … 0.20 | **missed** |" in page
    assert "| windlass ten-steps, SQLite | steps/s | 21 | 20 … 22 (2) |" in page
    assert "| processor | 2 x Z |" in page
    found = json.loads(report.as_json(results, {}, {}))
    assert found["benchmarks"]["bench"]["ratios"][0]["median"] == 0.2
    assert found["benchmarks"]["bench"]["sides"][0]["values"] == [20, 22]


def test_the_chart_is_well_formed_and_longest_first() -> None:
    drawn = bars({"rates & ratios": [Bar("small", 10, "bare"), Bar("<large>", 1000, "windlass")]})
    svg = ET.fromstring(drawn)  # noqa: S314  drawn here
    texts = [element.text for element in svg.iter() if element.tag.endswith("text")]
    assert texts[:4] == ["rates & ratios", "<large>", "1,000", "small"]
    widths = [float(r.attrib["width"]) for r in svg.iter() if r.tag.endswith("rect")]
    assert widths[1] > widths[2]
