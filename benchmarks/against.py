"""The command ``python -m benchmarks.against FOLDER``: this code against an older checkout of it, in turns.

For what cannot be switched off at run time: each checkout runs its own ``benchmarks.ours`` on its own engine and on
new databases, by the same interpreter. A round measures both, the one that begins changes; what counts is the median
of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.databases import Databases
from benchmarks.install import ROOT
from benchmarks.model import Goal, Side, share
from benchmarks.runner import Say, environment, in_process
from benchmarks.sides import DATABASES, side

_DISK = Path("/var/tmp")  # noqa: S108  as the whole table's
_SIZES = {"ten-steps": (3000, 10), "one-step": (8000, 10), "alone": (2000, 20), "idle": (500, 10)}
"""The shapes that both have, with what is asked of each: in full, and by a test."""
_SLOWER = {"alone": "ms/step", "idle": "ms p50"}
"""Those whose figure is a time."""
_GOAL = Goal(0.95, 1, share)


@dataclass(frozen=True)
class Rival:
    """A checkout whose engine is measured."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which its own code is found first."""
        paths = os.pathsep.join([str(self.folder), str(self.folder / "src")])
        return environment() | {"PYTHONPATH": paths}

    def check(self) -> None:
        """Make sure that its engine is its own.

        Raises:
            SystemExit: it is not.
        """
        ask = "import windlass, benchmarks.ours as ours; print(windlass.__file__, ours.__file__, sep='\\n')"
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env=self.variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        places = [Path(line) for line in done.stdout.splitlines()]
        if len(places) != 2 or not all(place.is_relative_to(self.folder) for place in places):
            raise SystemExit(f"{self.folder} is no checkout with an engine and benchmarks: {done.stderr}{done.stdout}")

    def measure(self, databases: Databases, one: Side, size: int) -> tuple[float, float]:
        """Run a side once, on a new database; return its figure and the seconds of the processor it took."""
        before = _processor()
        with databases.place(one.store) as place:
            command = [sys.executable, "-m", one.module, one.shape, "--size", str(size), "--folder", str(place.folder)]
            command += ["--at-a-time", str(one.at_a_time), "--database", place.database]
            value = in_process(one, command, place.folder, self.variables).value
        return value, _processor() - before


def _processor() -> float:
    """Return the seconds of the processor that ended children have taken; a PostgreSQL server is none of them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def turns(
    databases: Databases, one: Side, rivals: tuple[Rival, Rival], rounds: int, size: int, say: Say
) -> tuple[list[float], list[float]]:
    """Return how fast the second rival is over the first in each round: by the clock, and by the processor.

    What a process takes to begin is no part of the latter: a tiny run is taken off.
    """
    speeds, processor = [], []
    for number in range(rounds):
        turn = -1 if number % 2 else 1
        found = []
        for rival in rivals[::turn]:
            idle = rival.measure(databases, one, one.quick)[1] if size > one.quick else 0
            value, worked = rival.measure(databases, one, size)
            found.append((value, worked - idle))
        (before, begun), (after, ended) = found[::turn]
        speeds.append(before / after if one.shape in _SLOWER else after / before)
        processor.append(begun / ended)
        say(f"{number + 1}/{rounds} {one.name}: {speeds[-1]:.3f}, processor {processor[-1]:.3f}")
    return speeds, processor


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--after", type=Path, default=ROOT, help="the other checkout (default: this one)")
    parser.add_argument("--shape", action="append", choices=list(_SIZES), help="only this (default: ten-steps)")
    parser.add_argument("--store", action="append", choices=[s.value for s in DATABASES], help="only on this store")
    parser.add_argument("--rounds", type=int, default=10, help="how often both are measured (default 10)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, for tests")
    parser.add_argument("--folder", type=Path, default=_DISK, help="where data goes while measuring")
    parser.add_argument("--output", type=Path, help="a file for the ratios, as JSON")
    return parser.parse_args()


def main() -> None:
    """Measure both in turns and print how fast the later one is over the earlier one."""
    given = _arguments()
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, style="dim", highlight=False)

    if not given.quick and machine.is_busy():
        console.print("The machine is busy: the figures will say more about that than about anything else.")
    rivals = Rival(given.before.resolve()), Rival(given.after.resolve())
    for rival in set(rivals):
        rival.check()
    table = Table("what", "to reach", "median", "min … max", "verdict", title="the later over the earlier code's speed")
    found: dict[str, list[float]] = {}
    databases = Databases(given.folder, durable=not given.quick)
    try:
        for shape in given.shape or ["ten-steps"]:
            for store in DATABASES:
                if given.store and store.value not in given.store:
                    continue
                one = side("windlass", shape, _SLOWER.get(shape, "per second"), store, *_SIZES[shape])
                size = one.quick if given.quick else one.size
                both = turns(databases, one, rivals, given.rounds, size, say)
                for which, ratios in zip(("", ", processor"), both, strict=True):
                    median = statistics.median(ratios)
                    spread = f"{share(min(ratios))} … {share(max(ratios))}"
                    verdict = _GOAL.verdict(median)
                    table.add_row(one.name + which, _GOAL.bound(_GOAL.reach), f"{median:.3f}", spread, verdict)
                    found[one.name + which] = ratios
    finally:
        databases.close()
    console.print(table)
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
