"""A move step by step: history while servers work, drain, the rest, comparison, and the commit that makes it whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from windlass.kernel.clock import Clock
from windlass.kernel.errors import Unavailable, WindlassError
from windlass.storage.moving.shapes import Difference, Row, Shape, first_difference
from windlass.storage.sqlite.departure import Departure

if TYPE_CHECKING:
    from windlass.storage.postgres.arrival import Arrival

LOOK_SECONDS = 0.2
"""How long between two looks whether the old database's processes have drained."""
TELL_ROWS = 5_000
"""After how many rows progress is told."""

MANY = 10_000
"""From how many rows on a table's indexes are made after the rows."""

Tell = Callable[[str, int, int | None], None]
"""Hears what is being done, how much of it is done, and of how much."""


class Differs(WindlassError):
    """The new database does not hold what the old one does; nothing was moved."""

    code = "MOVE_DIFFERS"


@dataclass
class Report:
    """What a move did: rows by table, and how many seconds each part of it took.

    ``finished``: an earlier command had done it all but its last mark. ``carried_live`` rows were carried while servers
    worked; nothing could be written for ``down_seconds``: those of draining and of the rest.
    """

    move_id: str
    rows: dict[str, int] = field(default_factory=dict)
    finished: bool = False
    carried_live: int = 0
    bulk_seconds: float = 0.0
    drain_seconds: float = 0.0
    rest_seconds: float = 0.0

    @property
    def down_seconds(self) -> float:
        """Seconds from the first refusal to the end."""
        return self.drain_seconds + self.rest_seconds


@dataclass
class _Carried:
    """How far a table was carried while servers worked: up to this number, whose row looked so."""

    upto: int
    row: Row | None
    sound: bool


class Flow:
    """One move.

    Args:
        here: the old database.
        there: the new one.
        shapes: the tables to carry.
        addresses: of both as they are shown, without passwords.
        clock: the one clock.
        tell: hears how far it is.
        move_id: the id of the move.
    """

    def __init__(
        self,
        here: Departure,
        there: Arrival,
        shapes: Sequence[Shape],
        addresses: tuple[str, str],
        clock: Clock,
        tell: Tell,
        move_id: str,
    ) -> None:
        self.here, self.there, self.shapes = here, there, shapes
        self.address, self.other = addresses
        self._clock, self._tell = clock, tell
        self._carried: dict[str, _Carried] = {}
        self.report = Report(move_id)

    def bulk(self, *, overwrite: bool) -> None:
        """Carry the tables whose rows only grow in number, while servers go on writing.

        Args:
            overwrite: whether the new database may hold what an earlier move has left.
        """
        begun = self._clock.monotonic()
        with self.there.answering():
            self.there.begin(self.shapes, overwrite=overwrite)
            for shape in self.shapes:
                if shape.only_added:
                    self._carry_live(shape)
        self.report.bulk_seconds = self._clock.monotonic() - begun

    def _carry_live(self, shape: Shape) -> None:
        upto, row = self.here.last(shape)
        total = self.here.count(shape)

        rows = self._told(self.here.numbered_rows(shape, upto), f"copying {shape.name}", total)
        self.report.carried_live += self._put(shape, rows, total)
        # Rows that were removed meanwhile (by retention) make it unsound: then all of it is carried again at the end.
        ours = self._told(self.here.rows(shape, upto=upto), f"comparing {shape.name}", total)
        sound = isinstance(first_difference(shape, ours, self.there.rows(shape)), int)
        self._carried[shape.name] = _Carried(upto, row, sound)

    def _put(self, shape: Shape, rows: Iterable[Row], total: int) -> int:
        """Add rows to an empty table; with many of them, its indexes are made afterwards, which is quicker."""
        if total < MANY:
            return self.there.put(shape, rows)
        indexes = self.there.without_indexes(shape)
        count = self.there.put(shape, rows)
        self._tell(f"indexing {shape.name}", total, total)
        self.there.with_indexes(indexes)
        return count

    def _told(self, rows: Iterable[Row], what: str, total: int) -> Iterator[Row]:
        for done, row in enumerate(rows):
            if done % TELL_ROWS == 0:
                self._tell(what, done, total)
            yield row

    def drain(self, seconds: float) -> None:
        """Have the old database's processes give their runs back, and close it to all writers.

        Raises:
            Unavailable: one of them has not in time; all of them go on.
        """
        begun = self._clock.monotonic()
        self.here.put_mark("draining", self.report.move_id, self.other)
        never = threading.Event()
        while True:
            self.here.bury()
            left = self.here.freeze(self.report.move_id, self.other)
            passed = self._clock.monotonic() - begun
            self.report.drain_seconds = passed
            if not left:
                return
            self._tell(f"waiting for {len(left)} processes", int(passed), int(seconds))
            if passed > seconds:
                who = ", ".join(f"process {one.pid} on {one.host} ({one.runs} runs)" for one in left)
                raise Unavailable(
                    f"not drained within {seconds:g} s: {who}. Nothing was moved, servers go on; a step may take longer"
                    " than that: allow more with --drain-seconds, or stop these processes and give the command again"
                )
            never.wait(LOOK_SECONDS)

    def rest(self) -> None:
        """Carry what is left, compare everything, and let the new database be whole, in one transaction.

        Raises:
            Differs: the two do not hold the same; nothing was moved.
        """
        begun = self._clock.monotonic()
        with self.there.answering():
            for shape in self.shapes:
                carried = self._carried.get(shape.name)
                if carried is None or not self._add(shape, carried):
                    self._carry(shape)
            self.there.finish(self.shapes, self.report.move_id, self.address, self._clock.now())
        self.report.rest_seconds = self._clock.monotonic() - begun

    def _add(self, shape: Shape, carried: _Carried) -> bool:
        """Add what has come since a table was carried; says whether the whole is certainly the same.

        It is when the newest row of then is still there under its number: no new row can have a lower one then, so that
        those of then can only have become fewer, and the counts tell.
        """
        if not carried.sound or (carried.row is not None and self.here.numbered(shape, carried.upto) != carried.row):
            return False
        self.there.put_later(shape, self.here.rows(shape, since=carried.upto))
        later = first_difference(shape, self.here.rows(shape, since=carried.upto), self.there.rows_put_later(shape))
        if isinstance(later, Difference):
            raise self._differs(later)
        count = self.here.count(shape)
        if count != self.there.count(shape.name):
            return False
        self.report.rows[shape.name] = count
        return True

    def _carry(self, shape: Shape) -> None:
        total = self.here.count(shape)
        if shape.name in self._carried:
            self.there.empty(shape)
        self._put(shape, self._told(self.here.rows(shape), f"copying {shape.name}", total), total)
        self.report.rows[shape.name] = self._compared(shape)

    def _compared(self, shape: Shape) -> int:
        ours = self._told(self.here.rows(shape), f"comparing {shape.name}", self.here.count(shape))
        found = first_difference(shape, ours, self.there.rows(shape))
        if isinstance(found, Difference):
            raise self._differs(found)
        return found

    @staticmethod
    def _differs(found: Difference) -> Differs:
        return Differs(
            f"the copy differs: {found}. Nothing was moved, servers go on; please report this"
            " (the old database is unharmed)"
        )

    def difference(self) -> Difference | None:
        """Return where both databases differ first, if they do."""
        with self.there.answering():
            for shape in self.shapes:
                total = self.here.count(shape)
                ours = self._told(self.here.rows(shape), f"comparing {shape.name}", total)
                found = first_difference(shape, ours, self.there.rows(shape))
                if isinstance(found, Difference):
                    return found
                self.report.rows[shape.name] = found
        return None
