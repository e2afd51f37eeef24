"""The best mode of others, found on this machine before anything is measured: each setting worth trying is tried."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.model import Side, Store
from benchmarks.runner import Knobs, Lab
from benchmarks.sides import dbos, restate, side

_DBOS: list[Knobs] = [
    {"style": "sync", "pool": "5"},
    {"style": "sync", "pool": "20"},
    {"style": "async", "pool": "5"},
]
_RESTATE: list[Knobs] = [
    {"partitions": "24", "workers": "1", "loop": "asyncio"},
    {"partitions": "4", "workers": "1", "loop": "asyncio"},
    {"partitions": "4", "workers": "2", "loop": "asyncio"},
    {"partitions": "4", "workers": "1", "loop": "uvloop"},
    {"partitions": "1", "workers": "1", "loop": "uvloop"},
]
_SESSION_SQLITE: list[Knobs] = [{"style": "sync", "pool": "1"}, {"style": "sync", "pool": "5"}]
_SESSION_POSTGRES: list[Knobs] = [
    {"style": "sync", "pool": "20"},
    {"style": "async", "pool": "5"},
    {"style": "async", "pool": "20"},
]
_TRIALS: list[tuple[Side, list[Knobs]]] = [
    (dbos("ten-steps", "steps/s", Store.SQLITE, 60), _DBOS),
    (dbos("ten-steps", "steps/s", Store.POSTGRES, 60), _DBOS),
    (restate("ten-steps", "steps/s", 200), _RESTATE),
    (side("session", "post-session", "req/s", Store.SQLITE, 500, 50, at_a_time=64), _SESSION_SQLITE),
    (side("session", "post-session", "req/s", Store.POSTGRES, 500, 50, at_a_time=64), _SESSION_POSTGRES),
]
TUNED = frozenset(trial.contender for trial, _ in _TRIALS)


def choose(lab: Lab, sides: Sequence[Side]) -> None:
    """Try the settings of every contender and store that will be measured, and keep the fastest."""
    wanted = {(one.contender, one.store) for one in sides}
    for trial, settings in _TRIALS:
        if (trial.contender, trial.store) not in wanted:
            continue
        figures = [lab.measure(trial, tried).value for tried in settings]
        best = settings[max(range(len(settings)), key=figures.__getitem__)]
        lab.modes[trial.contender, trial.store] = best
        listed = "; ".join(
            f"{' '.join(tried.values())}: {figure:,.0f}" for tried, figure in zip(settings, figures, strict=True)
        )
        lab.say(f"{trial.contender} on {trial.store}, {trial.unit}: {listed}; chosen: {' '.join(best.values())}")
