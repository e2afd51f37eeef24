"""An event loop without input, output or waiting: when nothing is ready, its time jumps to the next timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

MOST_TURNS = 1_000_000
"""After so many turns without a rest, code is believed never to come to one."""


class SkippingLoop(asyncio.BaseEventLoop):
    """Runs what can be run, in one thread; ``endless`` says that it did not come to rest."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._at = 0.0
        self._turns = 0
        self.endless = False

    def time(self) -> float:
        """Return seconds of its own."""
        return self._at

    def run_to_rest(self, begin: Callable[[], T]) -> T:
        """Call ``begin`` inside the loop, and return its answer once nothing is ready and no timer is set."""
        answers: list[T] = []
        self.call_soon(lambda: answers.append(begin()))
        self.set_exception_handler(lambda _loop, _context: None)
        self.run_forever()
        return answers[0]

    def select(self, timeout: float | None) -> list[Any]:
        """Jump, where others wait."""
        self._turns += 1
        self.endless = self._turns >= MOST_TURNS
        if timeout is None or self.endless:
            self.stop()
        else:
            self._at += timeout
        return []

    def _process_events(self, event_list: object) -> None:
        """There is no input or output."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    def close(self) -> None:
        """End every task without a word."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine: Any = task.get_coro()
            with suppress(BaseException):  # code that is cut off may complain, to nobody
                coroutine.close()
        super().close()
