"""A progress bar on stderr when that is a terminal, else nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from windlass.cli.output import console, is_terminal


class Progress(Protocol):
    """How far something is."""

    def at(self, done: int, total: int | None = None, said: str = "") -> None:
        """Show that ``done`` of ``total`` is done."""
        ...


class _Silent:
    def at(self, done: int, total: int | None = None, said: str = "") -> None:
        """Show nothing."""


@contextmanager
def progress(title: str, total: int | None, unit: str) -> Iterator[Progress]:
    """Show a bar with rate and time left while the block runs.

    Args:
        title: what is being done.
        total: how much there is; None when nobody knows.
        unit: ``bytes`` or what is counted.
    """
    if not is_terminal(sys.stderr):
        yield _Silent()
        return
    from rich import progress as rich

    amount: list[rich.ProgressColumn] = (
        [rich.DownloadColumn(), rich.TransferSpeedColumn()]
        if unit == "bytes"
        else [rich.MofNCompleteColumn(), rich.TextColumn(unit)]
    )
    columns = [rich.TextColumn("{task.description}"), rich.BarColumn(), *amount, rich.TimeRemainingColumn()]
    shown = rich.Progress(
        *columns, rich.TextColumn("{task.fields[said]}"), console=console(stderr=True), transient=True
    )
    task = shown.add_task(title, total=total, said="")

    class Bar:
        def at(self, done: int, total: int | None = None, said: str = "") -> None:
            shown.update(task, completed=done, total=total, said=said)

    with shown:
        yield Bar()
