"""What every contender script shares: its arguments and the one JSON line it answers with.

Standard library only: the peers' scripts import it from virtual environments that hold nothing of ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What a shape is asked to do.

    ``size`` is how many workflows (or steps, children, records: the shape says which), ``at_a_time`` how many
    of them are open at once, ``folder`` an empty folder for files, ``settings`` the peer's own knobs.
    """

    database: str
    size: int
    at_a_time: int
    folder: Path
    settings: Mapping[str, str]

    @property
    def sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.database.startswith("sqlite:")

    @property
    def sqlite_path(self) -> str:
        """The path of the SQLite file."""
        return self.database.removeprefix("sqlite:///")


@dataclass(frozen=True)
class Outcome:
    """One measurement: a figure in the side's unit, and whatever else was seen on the way."""

    value: float
    detail: dict[str, object] = field(default_factory=dict)


Shape = Callable[[Options], Outcome]


def p50_ms(seconds: Sequence[float]) -> float:
    """Return the median of durations given in seconds, in milliseconds."""
    return statistics.median(seconds) * 1000


def timed(call: Callable[[], object]) -> float:
    """Return how long a call took, in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def resident_bytes(pid: int | str = "self") -> int:
    """Return the resident memory of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} reports no resident memory")


def family_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants in bytes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return resident_bytes(pid) + sum(family_bytes(int(child)) for child in children)


def answer(shapes: Mapping[str, Shape], arguments: Sequence[str]) -> Outcome:
    """Run the shape that the arguments of a command line name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=sorted(shapes))
    parser.add_argument("--database", default="")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--at-a-time", type=int, default=100)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args(arguments)
    settings = dict(pair.split("=", 1) for pair in given.set)
    options = Options(given.database, given.size, given.at_a_time, given.folder, settings)
    return shapes[given.shape](options)


def main(shapes: Mapping[str, Shape]) -> None:
    """Run the shape named on the command line and print its outcome as one JSON line."""
    outcome = answer(shapes, sys.argv[1:])
    sys.stdout.write(json.dumps({"value": outcome.value, "detail": outcome.detail}) + "\n")
    sys.stdout.flush()
