"""Moving an installation from SQLite to PostgreSQL: what is planned, done, finished after a crash, and undone."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING

from windlass import contexts
from windlass.bootstrap import migration_lock
from windlass.bootstrap.carrying import Flow, Report, Tell
from windlass.kernel.clock import Clock, SystemClock
from windlass.kernel.errors import Conflict, Invalid, Unavailable, WindlassError
from windlass.kernel.ids import new_id
from windlass.settings import Settings
from windlass.storage import migrate, urls
from windlass.storage.moving.marks import Lost, Mark, told
from windlass.storage.moving.shapes import LEFT_BEHIND, Shape, shapes
from windlass.storage.schema import metadata
from windlass.storage.sqlite.departure import Departure
from windlass.storage.urls import DatabaseUrl

if TYPE_CHECKING:
    from windlass.storage.postgres.arrival import Arrival

DRAIN_SECONDS = 60.0
GROWTH = 3
"""How many times the bytes of the SQLite file PostgreSQL may need meanwhile: its tables, their indexes and its log."""
SETTLE_LOOKS = 60
SETTLE_SECONDS = 0.5
"""How often, and how long apart, the server is asked what became of a COMMIT whose answer was lost."""
_OURS = frozenset({"filling", "returned"})


@dataclass
class Plan:
    """What a move would do, and what stands in its way."""

    source: str
    target: str
    version: str | None
    rows: dict[str, int]
    open_runs: dict[str, int]
    source_bytes: int
    needs_bytes: int
    left_behind: list[str]
    artifacts: str
    target_state: str = ""
    problems: list[str] = field(default_factory=list)


class Move:
    """A move of the database of some settings.

    Args:
        settings: those of the installation; its database is the old one.
        to: the address of the new one.
        tell: hears how far it is.
        drain_seconds: how long the old database's processes may take to give their runs back.
        without_foreign: leave tables behind that are not Windlass's own.
        clock: the one clock.

    Raises:
        Invalid: the old database is not SQLite, or the new one not PostgreSQL.
    """

    def __init__(
        self,
        settings: Settings,
        to: str,
        *,
        tell: Tell = lambda _what, _done, _total: None,
        drain_seconds: float = DRAIN_SECONDS,
        without_foreign: bool = False,
        clock: Clock | None = None,
    ) -> None:
        for module in walk_packages(contexts.__path__, "windlass.contexts."):
            if module.name.endswith(".tables"):
                import_module(module.name)
        self.shapes: list[Shape] = shapes(metadata)
        self.clock = clock or SystemClock()
        self._settings = settings
        self._tell = tell
        self._drain_seconds = drain_seconds
        self._without_foreign = without_foreign
        self.url = urls.parse(to)
        path = settings.database.path
        if path is None:
            raise Invalid(f"{settings.database} is no SQLite file: DATABASE_URL names the old one")
        if self.url.path is not None:
            raise Invalid(f"{self.url} is not PostgreSQL: give --to postgresql://user:password@host:5432/name")
        self.path: Path = path.absolute()
        self.source = f"sqlite:///{self.path}"

    # planning
    def plan(self) -> Plan:
        """Look at both databases; changes nothing."""
        self._look_at_source()
        with Departure(self.path, self.clock) as here:
            found = self._planned(here)
            mark = here.mark()
        if mark is not None:
            found.problems.append(told(self.source, mark))
        try:
            found.target_state, problem = self._target_state()
        except WindlassError as error:
            found.target_state, problem = "unknown", error.message
        if problem:
            found.problems.append(problem)
        return found

    def _look_at_source(self) -> None:
        if not self.path.exists():
            raise Invalid(f"there is no database {self.path}: DATABASE_URL names the old one")
        migrate.refuse_other(self._settings.database, migrate.inspect(self._settings.database))

    def _planned(self, here: Departure) -> Plan:
        known = {shape.name for shape in self.shapes} | LEFT_BEHIND | {"alembic_version"}
        foreign = sorted(here.tables() - known)
        plan = Plan(
            source=self.source,
            target=str(self.url),
            version=migrate.newest(),
            rows={shape.name: here.count(shape) for shape in self.shapes},
            open_runs=here.open_runs(),
            source_bytes=here.size,
            needs_bytes=here.size * GROWTH,
            left_behind=foreign,
            artifacts=str(Path(self._settings.workflows_artifacts_dir).absolute()),
        )
        if foreign and not self._without_foreign:
            plan.problems.append(
                f"tables that are not Windlass's own are not carried: {', '.join(foreign)}; carry them yourself, then"
                " say --without-foreign"
            )
        return plan

    def _target_state(self) -> tuple[str, str]:
        """Return how the new database is, in words, and what stands in the way."""
        found = migrate.inspect(self.url)
        if found.current is None:
            return "empty: its tables will be made", ""
        migrate.refuse_other(self.url, found)
        with self._arrival() as there, there.answering():
            mark, rows = there.mark(), there.holding(self.shapes)
        if mark is not None and mark.state in _OURS:
            return "left by a move that did not end, or was undone: it will be emptied", ""
        if rows:
            most = ", ".join(f"{count} in {name}" for name, count in sorted(rows.items())[:5])
            return "not empty", f"{self.url} is not empty ({most}) and is not overwritten: name an empty database"
        return "empty, its tables are there", ""

    def _arrival(self) -> Arrival:
        from windlass.storage.postgres.arrival import Arrival as Opened  # noqa: PLC0415  its driver is an extra

        return Opened(self.url)

    # doing
    def move(self) -> Report:
        """Carry everything over, and mark both databases.

        Raises:
            Conflict: something stands in the way; says what.
            Unavailable: a database does not answer, or the old one's processes do not drain; nothing was moved.
            Invalid: PostgreSQL cannot hold a value; nothing was moved.
        """
        self._look_at_source()
        with Departure(self.path, self.clock) as here:
            here.alone()
            mark = here.mark()
            if mark is not None and (mark.state == "moved" or not self._same(mark)):
                raise Conflict(told(self.source, mark))
            finished = self._finished(here, mark)
            if finished is not None:
                return finished
            problems = self._planned(here).problems
            _, problem = self._target_state()
            if problem or problems:
                raise Conflict("; ".join(filter(None, [*problems, problem])))
            if not migrate.inspect(self.url).matches:
                migrate.upgrade(self.url, migration_lock(self.url))
            with self._arrival() as there:
                return self._carry(here, there)

    def _finished(self, here: Departure, mark: Mark | None) -> Report | None:
        """End a move whose last mark is missing, if there was one."""
        if mark is None or mark.state != "frozen" or migrate.inspect(self.url).current is None:
            return None
        with self._arrival() as there, there.answering():
            self._alone(there)
            theirs = there.mark()
        if theirs is None or theirs.state != "arrived" or theirs.move_id != mark.move_id:
            return None
        here.put_mark("moved", mark.move_id, str(self.url))
        return Report(mark.move_id, {shape.name: here.count(shape) for shape in self.shapes}, finished=True)

    def _carry(self, here: Departure, there: Arrival) -> Report:
        move_id = new_id()
        flow = self._flow(here, there, move_id)
        try:
            with there.answering():
                there.alone()
                former = there.mark()
                there.put_mark("filling", move_id, self.source, self.clock.now())
            flow.bulk(overwrite=former is not None)
            flow.drain(self._drain_seconds)
            flow.rest()
        except Lost as lost:
            self._settle(here, there, move_id, lost)
        except BaseException:
            self._give_up(here, there)
            raise
        here.put_mark("moved", move_id, str(self.url))
        with self._arrival() as again, again.answering():
            self._tell("looking through the tables", 0, None)
            again.analyze()
        return flow.report

    def _flow(self, here: Departure, there: Arrival, move_id: str) -> Flow:
        return Flow(here, there, self.shapes, (self.source, str(self.url)), self.clock, self._tell, move_id)

    def _give_up(self, here: Departure, there: Arrival) -> None:
        """Let servers go on, and leave nothing in the new database."""
        here.take_mark()
        there.__exit__()
        try:
            with self._arrival() as again, again.answering():
                self._alone(again)
                if not again.holding(self.shapes):  # else an undone move has left them: they stay out of use
                    again.take_mark()
        except WindlassError:
            return  # it says that it is not whole, which is true; the next move takes it

    def _settle(self, here: Departure, there: Arrival, move_id: str, lost: Lost) -> None:
        """Find out whether the last COMMIT reached the disk; if not, servers go on.

        Raises:
            Unavailable: it did not, or nobody can tell yet.
        """
        there.__exit__()
        try:
            with self._arrival() as again, again.answering():
                self._alone(again)
                mark = again.mark()
        except WindlassError as error:
            raise Unavailable(
                f"the answer to the last commit was lost, and {error.message}. The old database stays closed until it"
                " is known: give the same command again when the new one answers"
            ) from lost
        if mark is None or mark.state != "arrived" or mark.move_id != move_id:
            self._give_up(here, again)
            raise Unavailable(f"the last commit failed ({lost}): nothing was moved, servers go on") from lost

    def _alone(self, there: Arrival) -> None:
        """Wait until what an earlier connection left in the server is gone, then be the only move."""
        pause = threading.Event()
        for look in range(SETTLE_LOOKS):
            try:
                there.alone()
            except Conflict:
                if look + 1 == SETTLE_LOOKS:
                    raise
                pause.wait(SETTLE_SECONDS)
            else:
                return

    def _same(self, mark: Mark) -> bool:
        """Say whether a mark means our new database."""
        return _place(urls.parse(mark.other)) == _place(self.url)

    # undoing
    def undo(self) -> Report:
        """Open the old database again, as long as nothing has been done in the new one.

        Raises:
            Conflict: there is nothing to undo, or the new database has been used; says how that shows.
            Unavailable: the new database does not answer.
        """
        self._look_at_source()
        with Departure(self.path, self.clock) as here:
            here.alone()
            mark = here.mark()
            if mark is None:
                raise Conflict(f"{self.source} has not been moved: there is nothing to undo")
            if not self._same(mark):
                raise Conflict(f"{self.source} has been moved to {mark.other}: say --to that, with its password")
            report = Report(mark.move_id)
            if mark.state != "draining":
                report = self._take_back(here, mark)
            here.take_mark()
            return report

    def _take_back(self, here: Departure, mark: Mark) -> Report:
        report = Report(mark.move_id)
        if migrate.inspect(self.url).current is None:
            return report
        with self._arrival() as there, there.answering():
            self._alone(there)
            theirs = there.mark()
            if theirs is None or theirs.move_id != mark.move_id or theirs.state == "filling":
                if mark.state == "moved":
                    raise Conflict(f"{self.url} does not know of this move: is it the right database?")
                return report
            if not there.hand_back(mark.move_id, self.source, self.clock.now()):
                raise Conflict(f"a process works on {self.url}, or died there: it has been used, there is no way back")
            flow = self._flow(here, there, mark.move_id)
            found = flow.difference()
            if found is not None:
                there.put_mark("arrived", mark.move_id, self.source, self.clock.now())
                raise Conflict(f"{self.url} has been used, going back would lose that: {found}")
            return flow.report


def _place(url: DatabaseUrl) -> tuple[object, ...]:
    return {(host, port or "5432") for host, port in url.hosts}, url.sqlalchemy.database
