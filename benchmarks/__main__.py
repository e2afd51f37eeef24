"""The command ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks import machine, report
from benchmarks.databases import Databases
from benchmarks.install import install
from benchmarks.model import Benchmark, Side, Store
from benchmarks.modes import TUNED, choose
from benchmarks.report import Outcomes
from benchmarks.runner import Lab, run
from benchmarks.sides import PEERS
from benchmarks.table import BENCHMARKS

_HOME = Path(__file__).resolve().parent
_DISK = Path("/var/tmp")  # noqa: S108  on disk by convention, unlike /tmp; a folder with a random name is made in it


def _arguments() -> argparse.Namespace:
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ours, peers and bare limits.")
    parser.add_argument("--only", action="append", choices=names, help="only this benchmark (may be repeated)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round of tiny sizes without peers, for tests")
    parser.add_argument("--without-peers", action="store_true", help="install and measure no peers")
    parser.add_argument("--contender", action="append", help="measure only this contender (may be repeated)")
    parser.add_argument("--store", action="append", choices=[s.value for s in Store], help="only on this store")
    parser.add_argument("--folder", type=Path, default=_DISK, help="where data goes while measuring")
    parser.add_argument("--output", type=Path, help="where results are written (default: here, for a whole run)")
    return parser.parse_args()


def _settings(lab: Lab, results: dict[Benchmark, Outcomes]) -> dict[str, str]:
    """Return what servers and peers were set to, from what they said themselves."""
    found = {f"PostgreSQL {name}": value for name, value in lab.databases.settings().items()}
    found["SQLite"] = "journal_mode=WAL, synchronous=FULL"
    for outcomes in results.values():
        for side, rounds in outcomes.items():
            if side.contender in TUNED and rounds:
                said = {k: v for k, v in rounds[-1].detail.items() if not isinstance(v, float)}
                found[f"{side.contender}, {side.store}"] = ", ".join(f"{k}={v}" for k, v in said.items())
    return found


def main() -> None:
    """Measure what was asked for, print it, and write the results of a whole run."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    console = Console(soft_wrap=True)
    chosen = [benchmark for benchmark in BENCHMARKS if not given.only or benchmark.name in given.only]
    with_peers = not (given.quick or given.without_peers)

    def wanted(side: Side) -> bool:
        return (
            (with_peers or side.contender not in PEERS)
            and (not given.contender or side.contender in given.contender)
            and (not given.store or side.store.value in given.store)
        )

    if given.output is not None:
        given.output.mkdir(parents=True, exist_ok=True)  # before an hour of measuring, not after
    sides = [side for benchmark in chosen for side in benchmark.sides() if wanted(side)]
    contenders = {side.contender for side in sides}
    peers = install() if contenders & PEERS else None
    described = machine.describe(given.folder)
    if not given.quick and machine.is_busy():
        console.print(
            "The machine is busy: the figures will say more about that than about anything else.", style="bold"
        )
    start = time.monotonic()
    databases = Databases(given.folder, durable=not given.quick)
    try:
        lab = Lab(databases, peers, given.quick, lambda text: console.print(text, style="dim", highlight=False))
        if not given.quick:
            choose(lab, sides)
        results: dict[Benchmark, Outcomes] = {}
        for benchmark in chosen:
            results[benchmark] = run(lab, benchmark, wanted, 1 if given.quick else given.rounds)
            report.show(console, benchmark, results[benchmark])
        settings = _settings(lab, results)
    finally:
        databases.close()
    described["took"] = f"{(time.monotonic() - start) / 60:.1f} minutes"
    whole = not (given.only or given.quick or given.contender or given.store or given.without_peers)
    output = given.output or (_HOME if whole else None)
    if output is not None:
        report.write(output, results, described, settings)
        console.print(f"written to {output}")
    if lab.failures:
        raise SystemExit(f"{len(lab.failures)} measurements failed; the last: {lab.failures[-1]}")


if __name__ == "__main__":
    main()
