"""Quote the measured figures of `benchmarks/results.json` in the README.

`python -m tools.readme_speed` writes what stands between its two marks; a test fails when it is out of date.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results.json"
BEGIN, END = "<!-- figures of benchmarks/results.json -->\n", "<!-- end of the figures -->\n"
RATES = ("ten-steps", "one-step")
"""The benchmarks whose absolute figures are quoted; of the others the ratios."""

LONG = ("unused",)
"""Those with too many ratios to be quoted."""


def speed(found: dict[str, Any] | None) -> str:
    """Return the section's figures; without any, where they come from."""
    if found is None:
        return "`make bench` measures it on your machine and writes `results.md` into `benchmarks/`.\n"
    text = [
        f"Measured on {machine(found['machine'])}. Everybody is durable; figures are medians of interleaved runs.\n"
    ]
    for name in RATES:
        one = found["benchmarks"].get(name)
        if one is not None:
            text += [f"\n{one['title']}\n\n| | |\n|---|---|\n", *_rates(one)]
    text += ["\n| ratio | measured | to reach |\n|---|---|---|\n"]
    for name, one in found["benchmarks"].items():
        text += _ratios(one) if name not in LONG else []
    return "".join(text) + "\nAll of it, with versions and settings: [results](benchmarks/results.md).\n"


def machine(described: dict[str, str]) -> str:
    """Return the machine of the figures in words."""
    names = ("processor", "cores", "memory")
    return ", ".join(described[name] for name in names if name in described) or "one machine"


def _rates(one: dict[str, Any]) -> list[str]:
    return [
        f"| {side['side']} | {statistics.median(side['values']):,.0f} {side['unit']} |\n"
        for side in one["sides"]
        if side["values"]
    ]


def _ratios(one: dict[str, Any]) -> list[str]:
    return [
        f"| {one['title']}: {ratio['title']} | {ratio['median']:.3g} | {ratio['reach']:g} |\n"
        for ratio in one["ratios"]
        if ratio["median"] is not None and ratio["reach"] is not None
    ]


def results() -> dict[str, Any] | None:
    """Return what `make bench` wrote, if it is there."""
    found: dict[str, Any] | None = json.loads(RESULTS.read_text()) if RESULTS.exists() else None
    return found


def quoted(readme: str, found: dict[str, Any] | None) -> str:
    """Return a README with these figures between its marks."""
    return between(readme, BEGIN, END, speed(found))


def between(text: str, begin: str, end: str, fresh: str) -> str:
    """Return a text with something else between two marks."""
    before, begin, rest = text.partition(begin)
    _, end, after = rest.partition(end)
    return before + begin + "\n" + fresh + "\n" + end + after


def main() -> int:
    """Write the README if it is out of date."""
    text = README.read_text()
    if text != (fresh := quoted(text, results())):
        README.write_text(fresh)
        print("wrote README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
