"""Running a command's coroutine, and leaving when nobody reads its output any more."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

T = TypeVar("T")


def _interrupt(_number: int, _frame: object) -> None:
    """Stop at once: asyncio's own handler would wait for a read from stdin to come back."""
    raise KeyboardInterrupt


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end.

    A reader that has had enough (``| head``) ends the command without a word: it got what it wanted.
    """
    import asyncio

    signal.signal(signal.SIGINT, _interrupt)
    try:
        value = asyncio.run(work)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    return value
