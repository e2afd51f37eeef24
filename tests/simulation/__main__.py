"""Run any number of seeds: ``python -m tests.simulation --seeds 1000 --from 0 --backend memory``.

A failing seed is printed and replays exactly: ``--seed N --trace``. PostgreSQL is a server started for it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.simulation.checks import Violation
from tests.simulation.postgres_site import on_postgres
from tests.simulation.scenario import BACKENDS, MakeStore, simulate
from tests.support.databases import migrate
from tests.support.postgres import CARELESS, PostgresServer

say = partial(print, flush=True)


def main() -> int:
    """Run the seeds of the command line; the exit code is 1 when any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--backend", choices=[*BACKENDS, "postgres"], default="memory")
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    parser.add_argument("--keep-going", action="store_true", help="do not end with the first failure")
    options = parser.parse_args()
    with _store(options.backend) as store:
        return _run(options, store)


@contextmanager
def _store(backend: str) -> Iterator[str | MakeStore]:
    if backend != "postgres":
        yield backend
        return
    server = PostgresServer(CARELESS)
    try:
        server.start()
        migrate(server.dsn)
        yield on_postgres(server.dsn)
    finally:
        server.close()


def _run(options: argparse.Namespace, store: str | MakeStore) -> int:
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
    total: Counter[str] = Counter()
    failed = []
    begun = time.monotonic()
    for number, seed in enumerate(seeds, 1):
        try:
            world = simulate(seed, store, keep_trace=options.trace)
        except Violation as violation:
            failed.append(seed)
            say(f"seed {seed} on {options.backend}: {violation}")
            if options.trace:
                say("\n".join(violation.world.lines))
            if not options.keep_going:
                break
            continue
        total.update(runs=world.checks.runs, commits=world.faults.commits, deaths=len(world.graveyard))
        if options.trace:
            say("\n".join(world.lines))
        if number % 50 == 0 or number == len(seeds):
            pace = number / (time.monotonic() - begun)
            say(f"{number} seeds, {pace:.1f}/s: {dict(total)}")
    say(f"failed: {failed}" if failed else f"all {len(seeds)} seeds from {seeds[0]} hold on {options.backend}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
