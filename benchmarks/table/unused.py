"""What a feature costs that is there and not used: the no-op ten-step workflow with it over the same without."""

from benchmarks.model import Benchmark, Goal, Ratio, Side, Store, share
from benchmarks.sides import DATABASES, side

_UNIT = "steps/s"
_FEATURES = (
    ("again", "the same once more: what chance does"),
    ("limits", "limits of fifty other queues"),
    ("executors", "fifty steps of other executors"),
    ("versions", "fifty other workflows in two versions each"),
    ("checkpoint", "a checkpoint at every turn that is never due"),
    ("listeners", "metrics, a log and spans"),
    ("clockwork", "schedules, collection of artifacts, maintenance and dead letters"),
    ("kit", "the test kit, replay and checks of releases loaded"),
    ("fleet", "another worker without work"),
)


def _of(shape: str) -> dict[Store, Side]:
    return {s: side("windlass unused", shape, _UNIT, s, 2000, 5) for s in DATABASES}


_PLAIN, _ALONE = _of("plain"), _of("alone")
_GOAL = Goal(0.95, 0.98, share)

_PAIRS = [("all that a server has beside its engine", _PLAIN, _ALONE)]
_PAIRS += [(title, _of(shape), _PLAIN) for shape, title in _FEATURES]
_RATE = "processor_rate"
"""Of the processor, which other load of the machine disturbs less."""

BENCHMARK = Benchmark(
    name="unused",
    title="features that are there and not used, 10-step no-op workflows: steps/s over those without",
    ratios=(
        *(Ratio(f"{title}, {s}", there[s], without[s], _GOAL) for title, there, without in _PAIRS for s in DATABASES),
        *(
            Ratio(f"{title}, {s}, processor", there[s], without[s], _GOAL, part=_RATE, over_part=_RATE)
            for title, there, without in _PAIRS
            for s in DATABASES
        ),
    ),
)
