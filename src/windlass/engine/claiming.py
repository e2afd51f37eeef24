"""Whose turn it is when a process claims: runs of lanes or the others first, and at which tenant it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from windlass.engine.types import ClaimRequest, ClaimResult


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

    def more(self, request: ClaimRequest, answer: ClaimResult) -> bool:
        """Take note of an answer, and say whether to ask again at once."""
        more = answer.more
        if request.cursor and not answer.cursor:
            more, self.fruitful = more or self.fruitful, False
        elif answer.cursor and answer.runs:
            self.fruitful = True
        self.cursor = answer.cursor
        return more
