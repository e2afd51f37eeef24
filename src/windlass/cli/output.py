"""What commands print: tables for people, JSON for programs; notes go to stderr so that neither mixes with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "processed": "green",
    "succeeded": "green",
    "ok": "green",
    "running": "cyan",
    "paused": "yellow",
    "waiting_human": "yellow",
    "waiting_approval": "yellow",
    "warning": "yellow",
    "failed": "red",
    "cancelled": "dim",
    "skipped": "dim",
}
_WIDE = 10_000


def is_terminal(stream: IO[str]) -> bool:
    """Say whether people look at a stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def colours(stream: IO[str]) -> bool:
    """Say whether a stream takes colours."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def console(*, stderr: bool = False) -> Console:
    """Return rich's console on a stream: plain and never wrapped unless it is a terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = is_terminal(stream)
    return Console(
        file=stream,
        no_color=not colours(stream),
        force_terminal=terminal,
        width=None if terminal else _WIDE,
        highlight=False,
        soft_wrap=not terminal,
        emoji=False,
        markup=False,
    )


def note(text: str) -> None:
    """Say something beside the output."""
    print(text, file=sys.stderr, flush=True)


def as_json(value: object) -> None:
    """Print a value as JSON: indented for a terminal, else on one line."""
    import orjson

    options = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if is_terminal(sys.stdout) else 0)
    sys.stdout.write(orjson.dumps(value, option=options).decode())
    sys.stdout.flush()


def as_json_line(value: object) -> None:
    """Print a value as one line of JSON at once: one of a stream of them."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE).decode())
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[str] = ()) -> None:
    """Print rows under their columns; those named in ``numbers`` are set to the right.

    A pipe gets columns separated by two spaces or more, and every cell whole.
    """
    cells = [[text(cell) for cell in row] for row in rows]
    if not is_terminal(sys.stdout):
        for line in aligned(columns, cells, numbers):
            print(line)
        return
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        shown.add_column(column, justify="right" if column in numbers else "left", overflow="fold", no_wrap=place == 0)
    for row in cells:
        shown.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console().print(shown)


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> list[str]:
    """Return a table as lines of text."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ).rstrip()
        for row in [columns, *rows]
    ]


def fields(values: Mapping[str, object]) -> None:
    """Print names with their values, one a line."""
    width = max(map(len, values), default=0)
    shown = console()
    from rich.text import Text

    for name, value in values.items():
        said = text(value)
        shown.print(Text.assemble((f"{name.ljust(width)}  ", "bold"), (said, STYLES.get(said, ""))))


def heading(title: str) -> None:
    """Print the title of what follows."""
    from rich.text import Text

    shown = console()
    shown.print()
    shown.print(Text(title, style="bold underline"))


def text(value: object) -> str:
    """Return a value as people read it: nothing as a dash, JSON compactly, times to the second."""
    import orjson

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    if isinstance(value, float):
        return f"{value:g}"
    said = str(value)
    if len(said) == 27 and said[10] == "T" and said.endswith("Z"):
        return f"{said[:19].replace('T', ' ')}Z"
    return said


def bar(count: int, most: int, width: int = 24) -> str:
    """Return a bar as long as ``count`` is beside ``most``, to an eighth of a character."""
    eighths = round(count / most * width * 8) if most else 0
    return "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8] or ("▏" if count else "")


def number(value: float) -> str:
    """Return a number with its thousands apart."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:,.3g}"


def short(value: Any, limit: int = 100) -> str:
    """Return a value as one line that is not too long."""
    said = " ".join(text(value).split())
    return said if len(said) <= limit else said[: limit - 1] + "…"
