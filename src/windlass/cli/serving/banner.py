"""What a server says to the person who started it, on stderr: stdout belongs to the log."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from windlass.cli.output import console, is_terminal, note

PAGES = {"Start page": "/", "API": "/docs", "Health": "/health", "Metrics": "/metrics"}
CANDIDATES = {"Candidates": "/candidates"}
REGISTER = (
    '{"company_name":"Fresh Fruit Ltd","contact_email":"me@example.com","products":["apples"],"truck_count":3,'
    '"capacity_tons_per_day":12}'
)
EXAMPLE = '{"source":"curl","category":"hello","payload":{"priority":7,"impact":5}}'


def show(
    address: str, database: str, *, keyed: bool, worker: bool, login: tuple[str, str] | None = None, alone: bool = False
) -> None:
    """Print the addresses to look at and a command to try.

    Args:
        address: where the server answers, ``http://host:port``.
        database: its database, without the password.
        keyed: whether writes need a key.
        worker: whether this process carries out runs.
        login: name and password of the administrator of development, where there is one.
        alone: whether providers alone are served.
    """
    lines = [f"{name:11} {address}{path}" for name, path in {**PAGES, **CANDIDATES}.items()]
    lines += [f"{'Database':11} {database}"]
    if login is not None:
        lines += [f"{'Login':11} {login[0]} / {login[1]}, an administrator in development alone (APP_ENV=dev)"]
    if not worker:
        lines += ["", "Runs are left to `windlass worker`."]
    key = ' -H "X-API-Key: $API_KEY"' if keyed else ""
    place, example = ("candidates", REGISTER) if alone else ("records", EXAMPLE)
    lines += [
        "",
        "Try:",
        f"curl -X POST {address}/{place} -H 'Content-Type: application/json'{'' if alone else key} \\",
        f"  -d '{example}'",
    ]
    framed("Windlass is up", lines)


def framed(title: str, lines: Sequence[str]) -> None:
    """Print lines under a title, in a frame where people look at them."""
    if not is_terminal(sys.stderr):
        note("\n".join([title, *lines]))  # at once: who waits for the title reads the rest
        return
    from rich.panel import Panel
    from rich.text import Text

    console(stderr=True).print(Panel(Text("\n".join(lines)), title=title, border_style="green", expand=False))


def address(host: str, port: int) -> str:
    """Return the address a person on this machine can open."""
    shown = "localhost" if host in {"", "0.0.0.0", "::", "127.0.0.1", "::1"} else host  # noqa: S104  shown, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
