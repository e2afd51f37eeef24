"""Whose turn it is when a process claims: runs of lanes or the others first, and at which tenant it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Answer(Protocol):
    """What a claim has found: its runs, whether to ask again at once, and where the next one goes on."""

    @property
    def runs(self) -> Sequence[object]:
        """Return the claimed runs."""
        ...

    @property
    def more(self) -> bool:
        """Whether others may be found at once."""
        ...

    @property
    def cursor(self) -> str:
        """Return at which tenant the next claim goes on."""
        ...


@dataclass
class Turns:
    """What one claim leaves to the next.

    ``cursor`` is where the round of the tenants goes on; ``fruitful`` says whether those passed since it began gave
    anything.
    """

    lanes_first: bool = False
    cursor: str = ""
    fruitful: bool = False

    def next(self) -> None:
        """Begin with lanes and without them in turn."""
        self.lanes_first = not self.lanes_first

    def more(self, begun: str, answer: Answer) -> bool:
        """Take note of the answer to a claim that had begun at a cursor, and say whether to ask again at once."""
        more = answer.more
        if begun and not answer.cursor:
            more, self.fruitful = more or self.fruitful, False
        elif answer.cursor and answer.runs:
            self.fruitful = True
        self.cursor = answer.cursor
        return more
