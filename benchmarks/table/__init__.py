"""The table of the project's speed goals: each file is one benchmark."""

from __future__ import annotations

from benchmarks.model import Benchmark
from benchmarks.table import (
    alone,
    apart,
    approvals,
    bulk_import,
    children,
    crowd,
    definitions,
    fleet,
    grown,
    histories,
    idle,
    one_step,
    post_records,
    recovery,
    run_lists,
    sleeping,
    step_kinds,
    ten_steps,
    unused,
)

BENCHMARKS: tuple[Benchmark, ...] = (
    ten_steps.BENCHMARK,
    one_step.BENCHMARK,
    alone.BENCHMARK,
    idle.BENCHMARK,
    apart.BENCHMARK,
    children.BENCHMARK,
    step_kinds.BENCHMARK,
    post_records.BENCHMARK,
    bulk_import.BENCHMARK,
    sleeping.BENCHMARK,
    recovery.BENCHMARK,
    grown.BENCHMARK,
    crowd.BENCHMARK,
    fleet.BENCHMARK,
    definitions.BENCHMARK,
    run_lists.BENCHMARK,
    approvals.BENCHMARK,
    histories.BENCHMARK,
    unused.BENCHMARK,
)
