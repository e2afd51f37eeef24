"""A bar chart as SVG, on a logarithmic scale: contenders differ by factors of a hundred."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _ROW, _HEAD = 760, 210, 90, 22, 34
_COLOURS = {"windlass": "#0b6e4f", "windlass http": "#3fa37c", "bare": "#9aa0a6", "dbos": "#b5651d"}
_OTHER = "#6a4c93"


@dataclass(frozen=True)
class Bar:
    """A labelled value; ``colour`` names the contender."""

    label: str
    value: float
    colour: str


def bars(groups: dict[str, list[Bar]]) -> str:
    """Draw groups of horizontal bars under their titles, the longest first."""
    everything = [bar.value for group in groups.values() for bar in group]
    low = 10 ** math.floor(math.log10(min(everything)))
    span = math.log10(max(everything) / low)
    parts: list[str] = []
    y = 0
    for title, group in groups.items():
        parts.append(f'<text x="0" y="{y + 22}" font-weight="bold">{escape(title)}</text>')
        y += _HEAD
        for bar in sorted(group, key=lambda one: -one.value):
            length = max(2.0, (_WIDTH - _LEFT - _RIGHT) * math.log10(bar.value / low) / span)
            fill = _COLOURS.get(bar.colour, _OTHER)
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(bar.label)}</text>')
            parts.append(f'<rect x="{_LEFT}" y="{y + 3}" width="{length:.1f}" height="{_ROW - 6}" fill="{fill}"/>')
            parts.append(f'<text x="{_LEFT + length + 6:.1f}" y="{y + 15}">{bar.value:,.0f}</text>')
            y += _ROW
        y += 10
    parts.append(f'<text x="0" y="{y + 14}" font-size="11">logarithmic scale, from {low:,.0f} on</text>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 22}" width="{_WIDTH}"'
        ' font-family="sans-serif" font-size="13" role="img" aria-label="Rates by contender">'
        f'<rect width="{_WIDTH}" height="{y + 22}" fill="#ffffff"/><g fill="#202124">'
    )
    return head + "\n".join(parts) + "</g></svg>\n"
