"""Windlass with a million records and finished runs behind it, against Windlass on an empty database.

Two servers stand side by side and are asked in turn, so that the machine's moods meet both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from benchmarks import load
from benchmarks.contender import Options, Outcome, Shape, main
from benchmarks.filling import fill
from benchmarks.ours_http import asked, post_records, run_flow, server

_ROUNDS = 5
_LARGE = 10_000
_CONNECTIONS = 64
_LISTS = (
    "/records",
    "/records?status=pending",
    "/records?category=category-7",
    "/records?source=source-2&sort_by=category&sort_order=asc",
    "/records?status=pending&category=category-3&limit=20",
)


@contextmanager
def empty_database(options: Options) -> Iterator[str]:
    """Yield a second, empty database beside the one that was given."""
    if options.sqlite:
        yield f"sqlite:///{options.folder / 'empty.db'}"
        return
    base, _, query = options.database.partition("?")
    name = f"{base.rsplit('/', 1)[1]}_empty"
    with psycopg.connect(options.database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield f"{base}_empty?{query}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _gets(port: int, paths: tuple[str, ...], times: int) -> load.Report:
    requests = [load.request_bytes(port, path, method="GET") for _ in range(times) for path in paths]
    return asked(port, requests, 1, "200")


def _grown(options: Options) -> Outcome:
    """Figures with ``size`` records and runs over those without, by name: two rates and two 95th percentiles."""
    some = max(20, min(3000, options.size // 10))
    measures: dict[str, Callable[[int], float]] = {
        "posts": lambda port: post_records(port, "/records", some, _CONNECTIONS).per_second,
        "runs": lambda port: run_flow(port, "chain", 1, some, _CONNECTIONS).per_second,
        "list": lambda port: _gets(port, _LISTS, max(2, some // 60)).p95_ms,
        "summary": lambda port: _gets(port, ("/reports/summary",), max(10, some // 30)).p95_ms,
    }
    fill(options.database, options.size)
    with (
        empty_database(options) as empty,
        server("windlass", options.database, options) as full_port,
        server("windlass", empty, options) as empty_port,
    ):
        found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in measures}
        for turn in range((_ROUNDS if options.size >= _LARGE else 1) + 1):
            for name, measure in measures.items():
                full, bare = measure(full_port), measure(empty_port)
                if turn > 0:
                    found[name][0].append(full)
                    found[name][1].append(bare)
    detail: dict[str, object] = {}
    for name, rounds in found.items():
        full, bare = (statistics.median(figures) for figures in rounds)
        detail |= {name: full / bare, f"{name}_full": full, f"{name}_empty": bare}
    return Outcome(statistics.median(found["posts"][0]), detail)


SHAPES: dict[str, Shape] = {"grown": _grown}

if __name__ == "__main__":
    main(SHAPES)
