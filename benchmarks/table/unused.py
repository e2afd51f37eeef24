"""What a feature costs that is there and not used: the no-op ten-step workflow with it over the same without."""

from benchmarks.model import Benchmark, Goal, Ratio, share
from benchmarks.sides import DATABASES, side

_FEATURES = (
    ("server", "all that a server has beside its engine"),
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
_GOAL = Goal(0.95, 0.98, share)
_SIDES = {
    (shape, s): side("windlass unused", shape, "of those without", s, 6000, 2, rounds=3)
    for shape, _ in _FEATURES
    for s in DATABASES
}

BENCHMARK = Benchmark(
    name="unused",
    title="features that are there and not used, 10-step no-op workflows: steps/s over those without",
    ratios=tuple(
        Ratio(f"{title}, {s}", _SIDES[shape, s], None, _GOAL) for shape, title in _FEATURES for s in DATABASES
    ),
)
