"""Transactional steps, sync steps and steps with 1 kB payloads against no-op steps; 100 at a time."""

from benchmarks.model import Benchmark, Goal, Ratio, Store, share
from benchmarks.sides import DATABASES, side

_UNIT = "steps/s"
_NOOP = {store: side("windlass", "ten-steps", _UNIT, store, 2000, 20) for store in DATABASES}
_KINDS = (
    ("transactional-steps", "transactional steps over no-op steps", Goal(0.3, 0.5, share)),
    ("sync-steps", "sync steps over no-op steps", Goal(0.3, 0.5, share)),
    ("payload-steps", "steps with 1 kB payloads over no-op steps", Goal(0.7, 0.9, share)),
)

_EFFECTS = side("windlass", "transactional-steps", _UNIT, Store.POSTGRES, 1000, 20)
_BARE = side("bare effects", "transactional-steps", _UNIT, Store.POSTGRES, 1000, 20)
"""Each step is a commit of its own there, so this bounds them, not what commits for a hundred at once."""

BENCHMARK = Benchmark(
    name="step-kinds",
    title="kinds of steps: steps/s over those of no-op steps",
    ratios=(
        *(
            Ratio(f"{title}, {store}", side("windlass", shape, _UNIT, store, 1000, 20), _NOOP[store], goal)
            for shape, title, goal in _KINDS
            for store in DATABASES
        ),
        Ratio("transactional steps over the bare limit, PostgreSQL", _EFFECTS, _BARE, Goal(0.35, 0.55, share)),
    ),
)
