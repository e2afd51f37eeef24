"""The table of the project's speed goals: each file is one benchmark."""

from __future__ import annotations

from benchmarks.model import Benchmark
from benchmarks.table import (
    alone,
    children,
    idle,
    one_step,
    recovery,
    sleeping,
    step_kinds,
    ten_steps,
)

BENCHMARKS: tuple[Benchmark, ...] = (
    ten_steps.BENCHMARK,
    one_step.BENCHMARK,
    alone.BENCHMARK,
    idle.BENCHMARK,
    children.BENCHMARK,
    step_kinds.BENCHMARK,
    sleeping.BENCHMARK,
    recovery.BENCHMARK,
)
