"""Runs sides, each measurement in a process of its own, in turn within every round."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.contender import Outcome, answer
from benchmarks.databases import Databases
from benchmarks.install import ROOT, Peers
from benchmarks.model import Benchmark, Side, Store
from benchmarks.ours_http import FORKS
from windlass.settings import Settings

_LONGEST = 900
_PRELOADED = [
    "benchmarks.bare",
    "benchmarks.bare_effects",
    "benchmarks.ours",
    "benchmarks.ours_approvals",
    "benchmarks.ours_apart",
    "benchmarks.ours_crash",
    "benchmarks.ours_crowd",
    "benchmarks.ours_definitions",
    "benchmarks.ours_fleet",
    "benchmarks.ours_grown",
    "benchmarks.ours_histories",
    "benchmarks.ours_lists",
    "benchmarks.ours_unused",
    "benchmarks.served",
]
Knobs = dict[str, str]
Say = Callable[[str], None]


class MeasurementFailed(Exception):
    """A contender's process ended without a figure; says which and why."""


@dataclass
class Lab:
    """Everything a measurement needs.

    ``quick`` takes the small sizes; ``modes`` are the chosen settings of others by contender and store;
    ``failures`` collects what could not be measured, so that the rest still is.
    """

    databases: Databases
    peers: Peers | None
    quick: bool
    say: Say
    modes: dict[tuple[str, Store], Knobs] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def measure(self, side: Side, settings: Knobs | None = None, size: int | None = None) -> Outcome:
        """Run one side once on a new database."""
        asked = size or (side.quick if self.quick else side.size)
        chosen = self.modes.get((side.contender, side.store), {}) if settings is None else settings
        with self.databases.place(side.store) as place:
            arguments = [side.shape, "--size", str(asked), "--at-a-time", str(side.at_a_time)]
            arguments += ["--database", place.database, "--folder", str(place.folder)]
            for name, value in {**chosen, **self._places(side)}.items():
                arguments += ["--set", f"{name}={value}"]
            if self.quick:
                return _run_forked(side, arguments, place.folder)
            return in_process(
                side, [str(self._python(side)), "-m", side.module, *arguments], place.folder, environment()
            )

    def _python(self, side: Side) -> Path:
        if side.contender != "dbos":
            return Path(sys.executable)
        assert self.peers is not None
        return self.peers.dbos

    def _places(self, side: Side) -> Knobs:
        if side.contender != "restate":
            return {}
        assert self.peers is not None
        return {"server": str(self.peers.restate_server), "python": str(self.peers.restate)}


def environment() -> dict[str, str]:
    """Return our environment without the settings of a product that is run here, and with this code importable."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def in_process(side: Side, command: list[str], folder: Path, variables: dict[str, str]) -> Outcome:
    """Run a contender in a process group of its own, so that no server of it outlives a failure."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, cwd=folder, env=variables, start_new_session=True
    ) as process:
        try:
            said, complained = process.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired as error:
            raise MeasurementFailed(f"{side.name} took over {_LONGEST} s") from error
        finally:
            if process.returncode != 0:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    lines = said.strip().splitlines()
    if process.returncode != 0 or not lines:
        raise MeasurementFailed(f"{side.name} ended with {process.returncode}:\n{(complained + said)[-4000:]}")
    answer = json.loads(lines[-1])
    return Outcome(float(answer["value"]), answer["detail"])


def _run_forked(side: Side, arguments: list[str], folder: Path) -> Outcome:
    """Run a contender of our own in a process that has its modules loaded already: a second saved each time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(side.module, arguments, folder, there))
    process.start()
    there.close()
    try:
        outcome: Outcome = here.recv()
    except EOFError:
        process.join()
        raise MeasurementFailed(f"{side.name} ended with {process.exitcode}") from None
    process.join()
    return outcome


def _answer(module: str, arguments: list[str], folder: Path, pipe: Connection) -> None:
    variables = environment()
    os.environ.clear()
    os.environ.update(variables)
    os.environ[FORKS] = "1"
    os.chdir(folder)
    pipe.send(answer(importlib.import_module(module).SHAPES, arguments))


def run(lab: Lab, benchmark: Benchmark, wanted: Callable[[Side], bool], rounds: int) -> dict[Side, list[Outcome]]:
    """Measure the wanted sides of a benchmark round by round; each round begins with another side."""
    sides = [side for side in benchmark.sides() if wanted(side)]
    outcomes: dict[Side, list[Outcome]] = {side: [] for side in sides}
    for number in range(rounds):
        shift = number % len(sides) if sides else 0
        for side in sides[shift:] + sides[:shift]:
            if side.rounds is None or number < side.rounds:
                start = time.monotonic()
                try:
                    outcome = lab.measure(side)
                except MeasurementFailed as failure:
                    lab.failures.append(str(failure))
                    lab.say(str(failure))
                    continue
                outcomes[side].append(outcome)
                seconds = time.monotonic() - start
                lab.say(f"{number + 1}/{rounds} {side.name}: {outcome.value:,.6g} {side.unit} ({seconds:.0f} s)")
    return outcomes
