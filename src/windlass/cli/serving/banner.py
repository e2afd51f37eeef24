"""What a server says to the person who started it, on stderr: stdout belongs to the log."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from windlass.cli.output import console, is_terminal, note

PAGES = {"Start page": "/", "API": "/docs", "Health": "/health", "Metrics": "/metrics"}
EXAMPLE = '{"source":"curl","category":"hello","payload":{"priority":7,"impact":5}}'


def show(address: str, database: str, *, keyed: bool, worker: bool) -> None:
    """Print the addresses to look at and a command to try.

    Args:
        address: where the server answers, ``http://host:port``.
        database: its database, without the password.
        keyed: whether writes need a key.
        worker: whether this process carries out runs.
    """
    lines = [f"{name:11} {address}{path}" for name, path in PAGES.items()]
    lines += [f"{'Database':11} {database}"]
    if not worker:
        lines += ["", "Runs are left to `windlass worker`."]
    key = ' -H "X-API-Key: $API_KEY"' if keyed else ""
    lines += [
        "",
        "Try:",
        f"curl -X POST {address}/records -H 'Content-Type: application/json'{key} \\",
        f"  -d '{EXAMPLE}'",
    ]
    framed("Windlass is up", lines)


def framed(title: str, lines: Sequence[str]) -> None:
    """Print lines under a title, in a frame where people look at them."""
    if not is_terminal(sys.stderr):
        for line in [title, *lines]:
            note(line)
        return
    from rich.panel import Panel
    from rich.text import Text

    console(stderr=True).print(Panel(Text("\n".join(lines)), title=title, border_style="green", expand=False))


def address(host: str, port: int) -> str:
    """Return the address a person on this machine can open."""
    shown = "localhost" if host in {"", "0.0.0.0", "::", "127.0.0.1", "::1"} else host  # noqa: S104  shown, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
