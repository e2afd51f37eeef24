"""Watches a workflow's own code while it runs: does it look at a clock, throw dice, open files, start bare tasks?

Whatever way a function was imported, the interpreter tells of every call. What engine and steps do is their own
business: a call counts when the first frame above it that belongs to no library is the workflow's.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import random
import socket
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import windlass
from windlass.engine.scope import CURRENT
from windlass.testing.rules import CLOCK, ENVIRONMENT, OUTSIDE, RANDOM, TASKS, UUID, WAITS, Finding, Rule

_OURS = str(Path(windlass.__file__).parent)
_LIBRARIES = (*{sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}, "<frozen ")
_TELLERS = (
    "/logging/",
    "/traceback.py",
    "/linecache.py",
    "/warnings.py",
    "/structlog/",
    "/loguru/",
    "<frozen importlib",
)
"""Who writes logs may look at the clock, and who imports may open files."""

_FUNCTIONS: dict[object, tuple[Rule, str]] = {
    **{getattr(time, name): (CLOCK, f"time.{name}()") for name in (
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime",
    )},
    dt.datetime.now: (CLOCK, "datetime.now()"),
    dt.datetime.utcnow: (CLOCK, "datetime.utcnow()"),
    dt.datetime.today: (CLOCK, "datetime.today()"),
    dt.date.today: (CLOCK, "date.today()"),
    time.sleep: (WAITS, "time.sleep()"),
    os.urandom: (RANDOM, "os.urandom()"),
    open: (OUTSIDE, "open()"),
    os.open: (OUTSIDE, "os.open()"),
    os.stat: (OUTSIDE, "os.stat()"),
    os.listdir: (OUTSIDE, "os.listdir()"),
    os.scandir: (OUTSIDE, "os.scandir()"),
    socket.getaddrinfo: (OUTSIDE, "socket.getaddrinfo()"),
}  # fmt: skip
_DICE = {getattr(random._inst, name) for name in ("random", "getrandbits", "seed")}
_ENVIRON = type(os.environ).__getitem__.__code__


class Watch:
    """What has been seen; the first of each place."""

    def __init__(self) -> None:
        self.findings: dict[tuple[str, int], Finding] = {}

    @contextmanager
    def __call__(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Watch what runs meanwhile; a profiler that is at work already is left alone."""
        loop.set_task_factory(self._task)
        alone = sys.getprofile() is None
        if alone:
            sys.setprofile(self._called)
        try:
            yield
        finally:
            if alone:
                sys.setprofile(None)
            loop.set_task_factory(None)

    def _called(self, frame: FrameType, event: str, function: Any) -> None:
        seen: tuple[Rule, str] | None = None
        if event == "c_call":
            seen = self._builtin(function)
        elif event == "call" and frame.f_code is _ENVIRON:
            seen = (ENVIRONMENT, "os.environ")
        if seen is not None and CURRENT.get() is not None:
            self._note(frame, *seen)

    @staticmethod
    def _builtin(function: Any) -> tuple[Rule, str] | None:
        try:
            known = _FUNCTIONS.get(function)
        except TypeError:  # a method of something that has no hash
            return None
        if known is None and function in _DICE:
            return RANDOM, f"random.{function.__name__}()"
        if known is None and function.__name__ == "connect" and isinstance(function.__self__, socket.socket):
            return OUTSIDE, "socket.connect()"
        return known

    def _note(self, frame: FrameType | None, rule: Rule, what: str) -> None:
        while frame is not None:
            file = frame.f_code.co_filename
            if any(teller in file for teller in _TELLERS) or file.startswith(_OURS):
                return
            if what == "os.urandom()" and file.endswith("/uuid.py"):
                rule, what = UUID, "uuid.uuid4()"
            if not file.startswith(_LIBRARIES):
                self.findings.setdefault((file, frame.f_lineno), Finding(file, frame.f_lineno, rule, what))
                return
            frame = frame.f_back

    def _task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        scope = CURRENT.get()
        if scope is not None and scope.task is not None and asyncio.current_task() is scope.task:
            self._note(sys._getframe(1), TASKS, "a task of asyncio's own")
        return asyncio.Task(coroutine, loop=loop, **options)
