"""Two processes that take turns at the same work, one with something more: what that costs.

A machine's pace changes within seconds, by more than a feature may cost. So each does a little, then the other, and a
pair of turns gives one ratio; their median is the figure.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

from benchmarks.contender import Options, Outcome
from benchmarks.ours_http import FORKS

PAIRS = 24


class Turn(NamedTuple):
    """How long a turn took: seconds, and seconds of its process's processors."""

    seconds: float
    worked: float


Work = Callable[[Options, Connection], None]
"""Gets ready, and answers every ``True`` that it receives with a ``Turn``, until it receives ``False``."""


@contextmanager
def _process(work: Work, options: Options) -> Iterator[Callable[[], Turn]]:
    """Run work in a process of its own; yields what has it take a turn."""
    forks = FORKS in os.environ
    context = multiprocessing.get_context("fork") if forks else multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(options, theirs))
    process.start()
    theirs.close()

    def turn() -> Turn:
        ours.send(True)
        found: Turn = ours.recv()
        return found

    try:
        yield turn
        ours.send(False)
        process.join()
    finally:
        process.kill()
        process.join()


def compare(having: tuple[Work, Options], without: tuple[Work, Options]) -> Outcome:
    """Return the rate of a side as a share of the other's, by the clock and by the processor.

    Of a pair of turns each is first in turn; the first pair is not counted.
    """
    with ExitStack() as stack:
        take, other = (stack.enter_context(_process(*side)) for side in (having, without))
        take(), other()
        pairs = []
        for number in range(min(PAIRS, having[1].size)):
            if number % 2:
                pairs.append((take(), other()))
            else:
                later, earlier = other(), take()
                pairs.append((earlier, later))
    by_clock = statistics.median(without.seconds / having.seconds for having, without in pairs)
    by_processor = statistics.median(without.worked / having.worked for having, without in pairs)
    return Outcome(by_clock, {"processor": by_processor, "pairs": len(pairs)})


async def take_turns(connection: Connection, work: Callable[[], Awaitable[Turn]]) -> None:
    """Answer every question with a turn."""
    while await asyncio.to_thread(connection.recv):
        connection.send(await work())
