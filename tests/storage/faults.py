"""A session whose connection can fail at the worst moments."""

from __future__ import annotations

from collections.abc import Callable

from windlass.engine.errors import UnknownCommit
from windlass.engine.ports import Transaction, WriteSession


class Crash(GeneratorExit):
    """The process is gone."""


class FaultySession:
    """A ``WriteSession`` that does what it is told to at its next commits, and then what the real one does.

    ``commits`` holds what goes wrong, first to last: ``after`` loses the answer of a commit that happened,
    ``before`` that of one that did not, ``crash`` and ``crash after`` end the process around it, an exception is
    raised after a rollback. ``unreachable`` is how often ``committed`` fails before it answers.
    """

    def __init__(self, session: WriteSession) -> None:
        self.real = session
        self.inline = session.inline
        self.commits: list[str | Exception] = []
        self.unreachable = 0
        self.asked: list[int] = []
        self.begun = 0
        self.on_ask: Callable[[], None] = lambda: None

    def reserve(self) -> bool:
        return self.real.reserve()

    def begin(self, marker: int) -> Transaction:
        self.begun += 1
        return self.real.begin(marker)

    def commit(self) -> None:
        fault = self.commits.pop(0) if self.commits else None
        if fault in {"after", "crash after", None}:
            self.real.commit()
        else:
            self.real.rollback()
        if isinstance(fault, Exception):
            raise fault
        if fault in {"crash", "crash after"}:
            raise Crash
        if fault is not None:
            raise UnknownCommit("the connection was cut")

    def rollback(self) -> None:
        self.real.rollback()

    def away(self, error: BaseException) -> bool:
        return self.real.away(error)

    def committed(self, marker: int) -> bool:
        self.asked.append(marker)
        self.on_ask()
        if self.unreachable > 0:
            self.unreachable -= 1
            raise ConnectionError("nobody answers")
        return self.real.committed(marker)

    def close(self) -> None:
        self.real.close()
