"""Functions of steps that other processes carry out: they tell what they do by files."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from windlass import step_info
from windlass.kernel.errors import WindlassError


class Particular(Exception):
    """An error that takes more than its text, and so cannot be unpacked elsewhere."""

    def __init__(self, what: str, *, code: int) -> None:
        super().__init__(what)
        self.code = code


def tell(numbers: list[int]) -> dict[str, Any]:
    """Compute something, and say where and for whom."""
    info = step_info()
    return {"sum": sum(numbers), "pid": os.getpid(), "path": info.path, "attempt": info.attempt, "run": info.run_id}


def refuse(kind: str) -> None:
    """Raise an error of a kind."""
    errors: dict[str, BaseException] = {
        "plain": ValueError("no such number"),
        "ours": WindlassError("not today", number=7),
        "particular": Particular("very", code=3),
        "exit": SystemExit(3),
    }
    raise errors[kind]


def linger(folder: str) -> str:
    """Say that it is there, and stay; what comes afterwards must never be."""
    Path(folder, f"here-{step_info().attempt}").write_text(str(os.getpid()))
    time.sleep(60)
    Path(folder, "survived").touch()
    return "survived"


def die_once(folder: str, how: str) -> str:
    """Die at the first attempt."""
    first = Path(folder, "first")
    if not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL) if how == "killed" else os._exit(3)
    return "done"


def large(size: int) -> str:
    """Return so many letters."""
    return "x" * size


def secret(of: object) -> object:
    """Return what cannot travel."""
    del of
    return sys._getframe()
