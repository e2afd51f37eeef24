"""What goes wrong at a statement or a commit, by the dice or by appointment."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from windlass.engine.errors import UnknownCommit
from windlass.engine.ports import Transaction, WriteSession
from windlass.storage.batches import ConnectionLost


class Crash(GeneratorExit):
    """The process was killed here; what runs while this unwinds belongs to nobody.

    Like the end of a generator it is never an error of the code that it passes through.
    """


class Fate(StrEnum):
    """What becomes of a commit."""

    FINE = "fine"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    LOST_BEFORE = "answer lost, not on disk"
    LOST_AFTER = "answer lost, on disk"


BAD_FATES = tuple(fate for fate in Fate if fate is not Fate.FINE)


class Away(Exception):
    """The database cannot write now: it does not answer, or its disk is full."""


class Refused(Exception):
    """The database did not like a statement, for a reason of its own."""


@dataclass
class Rates:
    """How likely each statement or commit goes wrong."""

    error: float = 0.0
    crash: float = 0.0
    away: float = 0.0
    read: float = 0.0
    unsure: float = 0.0
    commits: dict[Fate, float] = field(default_factory=dict)


class Faults:
    """Asked before every statement and at every commit of every process.

    Args:
        dice: decides by ``rates``, which anybody may change at any time.
        kill: kills a process.
        trace: hears what went wrong.
    """

    def __init__(self, dice: random.Random, kill: Callable[[str], None], trace: Callable[[str], None]) -> None:
        self.rates = Rates()
        self.appointed: dict[int, Fate] = {}
        self.commits = 0
        self.full = False
        self.away: set[str] = set()
        self._dice = dice
        self._kill = kill
        self._trace = trace

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.rates = Rates()
        self.full = False
        self.away.clear()
        self.appointed.clear()

    def statement(self, process: str, what: str, *, writes: bool) -> None:
        """Come to a statement.

        Raises:
            Crash: the process is dead.
            Away: the database cannot do it now.
            Refused: it does not want to.
        """
        rates = self.rates
        if process in self.away:
            raise Away("unable to open database file")
        if self.full and writes:
            raise Away("database or disk is full")
        roll = self._dice.random()
        if roll < rates.crash:
            self.crash(process, what)
        if roll < rates.crash + rates.error:
            self._trace(f"{process} error at {what}")
            raise Refused(what)
        if roll < rates.crash + rates.error + rates.away:
            self._trace(f"{process} loses the database at {what}")
            raise Away("disk I/O error")

    def read(self, process: str) -> None:
        """Come to a read.

        Raises:
            OSError: it failed.
        """
        if process in self.away or self._dice.random() < self.rates.read:
            raise OSError("the database does not answer")

    def unsure(self, process: str) -> None:
        """Come to the question whether a commit has happened.

        Raises:
            OSError: nobody answers.
        """
        if self._dice.random() < self.rates.unsure:
            self._trace(f"{process} cannot ask")
            raise OSError("the database does not answer")

    def commit(self, process: str) -> Fate:
        """Come to a commit, and learn what becomes of it."""
        self.commits += 1
        fate = self.appointed.pop(self.commits, Fate.FINE)
        if fate is Fate.FINE and self.rates.commits:
            roll = self._dice.random()
            for candidate, rate in self.rates.commits.items():
                roll -= rate
                if roll < 0:
                    fate = candidate
                    break
        if fate is not Fate.FINE:
            self._trace(f"{process} commit {self.commits}: {fate}")
        return fate

    def crash(self, process: str, what: str) -> None:
        """Kill a process where it stands."""
        self._trace(f"{process} crashes at {what}")
        self._kill(process)
        raise Crash(process)


READS = frozenset({
    "lease_is_live", "dead_holders", "held_runs", "lock_runs", "open_children", "next_wake", "load_events",
    "load_inbox", "restricted_queues",
})  # fmt: skip
WRITES = frozenset({
    "add_lease", "end_lease", "forget_lease", "insert_runs", "bump_runs", "note_failures", "write_heads",
    "finish_runs", "claim_ready", "claim_lanes", "take_seats", "promote_due", "append_events", "add_inbox",
    "consume_inbox", "claim_keys", "set_queue", "free_slots", "set_limit", "set_weight", "insert_rows", "execute",
})  # fmt: skip


class FaultyTransaction:
    """A transaction each of whose primitives may go wrong."""

    def __init__(self, inner: Transaction, process: str, faults: Faults) -> None:
        self._inner = inner
        self._process = process
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name not in WRITES and name not in READS:
            return attribute

        def primitive(*args: Any, **kwargs: Any) -> Any:
            self._faults.statement(self._process, name, writes=name in WRITES)
            return attribute(*args, **kwargs)

        return primitive


class FaultySession:
    """A session whose process may die in it, and whose commits may be lost.

    Args:
        inner: the real one.
        committed: hears of each commit that reached the disk.
        primitives: whether faults strike at primitives and commits here; else the connection below does that.
    """

    def __init__(
        self, inner: WriteSession, process: str, faults: Faults, committed: Callable[[], None], *, primitives: bool
    ) -> None:
        self._inner = inner
        self._process = process
        self._faults = faults
        self._committed = committed
        self._primitives = primitives
        self.dead = False
        self.inline = inner.inline

    def reserve(self) -> bool:
        self._alive()
        return self._inner.reserve()

    def begin(self, marker: int) -> Transaction:
        self._alive()
        if not self._primitives:
            return self._inner.begin(marker)
        try:
            self._faults.statement(self._process, "begin", writes=False)
        except (Away, Refused) as error:
            self._inner.rollback()
            raise ConnectionLost(str(error)) from error
        inner = self._inner.begin(marker)
        transaction: Any = FaultyTransaction(inner, self._process, self._faults)
        return transaction  # type: ignore[no-any-return]

    def commit(self) -> None:
        self._alive()
        if not self._primitives:
            self._inner.commit()
            return
        fate = self._faults.commit(self._process)
        if fate is Fate.CRASH_BEFORE:
            self._faults.crash(self._process, "commit")
        if fate is Fate.LOST_BEFORE:
            self._inner.rollback()
            raise UnknownCommit("lost")
        self._inner.commit()
        self._committed()
        if fate is Fate.CRASH_AFTER:
            self._faults.crash(self._process, "commit")
        if fate is Fate.LOST_AFTER:
            raise UnknownCommit("lost")

    def rollback(self) -> None:
        if not self.dead:
            self._inner.rollback()

    def away(self, error: BaseException) -> bool:
        if self._primitives:
            return isinstance(error, Away)
        return self._inner.away(error)

    def committed(self, marker: int) -> bool:
        self._alive()
        self._faults.unsure(self._process)
        return self._inner.committed(marker)

    def close(self) -> None:
        if not self.dead:
            self._inner.close()
            self.dead = True

    def kill(self) -> None:
        """End with the process: an open transaction is lost, the turn to write is free."""
        if not self.dead:
            self._inner.rollback()
            self.dead = True

    def _alive(self) -> None:
        if self.dead:
            raise Crash(self._process)
