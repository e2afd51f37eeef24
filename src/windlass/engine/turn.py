"""What is done at the end of a turn of the event loop: one entry in its queue for all who ask."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable


class EndOfTurn:
    """Calls at the end of the loop's turn what was handed in meanwhile, in order."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []

    def do(self, call: Callable[[], None]) -> None:
        """Have something called that raises nothing."""
        if not self._calls:
            get_running_loop().call_soon(self._work_off)
        self._calls.append(call)

    def _work_off(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()
