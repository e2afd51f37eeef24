"""A move in a process of its own that dies by itself, as by kill -9, at a moment it was told."""

import os
import sys
from pathlib import Path
from typing import Any

from tests.contexts.moving.places import mover
from windlass.storage.postgres.arrival import Arrival
from windlass.storage.sqlite.departure import Departure

MOMENTS = ("copying workflow_events", "frozen", "before the commit", "committed", "moved")


def die() -> None:
    """End now; nothing is tidied up."""
    os._exit(9)


def main(path: str, to: str, moment: str) -> None:
    """Move, up to a moment."""

    def tell(what: str, _done: int, _total: int | None) -> None:
        if what == moment:
            die()

    def dying(kind: type, name: str, when: Any, *, after: bool) -> None:
        real = getattr(kind, name)

        def called(self: Any, *given: Any) -> Any:
            if when(given) and not after:
                die()
            answer = real(self, *given)
            if when(given):
                die()
            return answer

        setattr(kind, name, called)

    if moment == "moved":
        dying(Departure, "put_mark", lambda given: given[0] == moment, after=True)
    elif moment == "frozen":
        dying(Departure, "freeze", lambda _given: True, after=True)
    elif moment in {"before the commit", "committed"}:
        dying(Arrival, "finish", lambda _given: True, after=moment == "committed")
    mover(Path(path), to, tell).move()


if __name__ == "__main__":
    main(*sys.argv[1:])
