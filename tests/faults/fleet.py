"""Several hosts on one PostgreSQL, and a witness in the database: who did what, by its own clock."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from tests.faults.crew import Crew, Member, crew
from tests.faults.verdict import looking
from tests.support.cable import Cable
from tests.support.hosts import borrow_listener
from tests.support.waiting import wait_until

MODULE = "tests.faults.host"
LEASE_SECONDS = 2.5

_WITNESS = """
CREATE TABLE fleet_deaths (holder text, pid bigint, renewed timestamptz, ended timestamptz);
CREATE TABLE fleet_moves (run_id text, holder text, at timestamptz);
CREATE TABLE fleet_intruders (run_id text, event_type text, writer text, holder text);
CREATE FUNCTION note_death() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 INSERT INTO fleet_deaths
 VALUES (OLD.holder, OLD.pid, OLD.expires_at - interval '{lease} seconds', clock_timestamp());
 RETURN NULL; END $$;
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 INSERT INTO fleet_moves VALUES (NEW.run_id, OLD.holder, clock_timestamp());
 RETURN NULL; END $$;
CREATE FUNCTION note_intruder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 INSERT INTO fleet_intruders SELECT r.run_id, NEW.event_type, current_setting('application_name'), l.pid
  FROM workflow_runs r LEFT JOIN workflow_leases l ON l.holder = r.holder
  WHERE r.run_id = NEW.run_id AND r.holder IS NOT NULL AND NEW.event_type <> 'run_requeued'
  AND (l.pid IS NULL OR l.state <> 'live' OR l.pid::text <> current_setting('application_name'));
 RETURN NULL; END $$;
CREATE TRIGGER note_death AFTER UPDATE ON workflow_leases FOR EACH ROW
 WHEN (OLD.state = 'live' AND NEW.state <> 'live') EXECUTE FUNCTION note_death();
CREATE TRIGGER note_move AFTER UPDATE ON workflow_runs FOR EACH ROW
 WHEN (OLD.holder IS NOT NULL AND NEW.holder IS NULL) EXECUTE FUNCTION note_move();
CREATE CONSTRAINT TRIGGER note_intruder AFTER INSERT ON workflow_events FOR EACH ROW EXECUTE FUNCTION note_intruder();
"""
_HELD = """SELECT count(*) FROM workflow_runs r JOIN workflow_leases l ON l.holder = r.holder
 WHERE l.pid = :pid AND l.state = 'live'"""
_DEATHS = "SELECT count(*) FROM fleet_deaths WHERE pid = :pid"
_LEFT = "SELECT count(*) FROM workflow_runs r JOIN fleet_deaths d ON d.holder = r.holder WHERE d.pid = :pid"
_LIVE = "SELECT count(*) FROM workflow_leases WHERE pid = :pid AND state = 'live'"
_SLOWEST = """SELECT max(extract(epoch FROM greatest(d.ended, m.at) - d.renewed)) FROM fleet_deaths d
 LEFT JOIN fleet_moves m ON m.holder = d.holder"""


class Witness:
    """What the database saw, by its own clock."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        with engine.begin() as connection:
            connection.exec_driver_sql(_WITNESS.format(lease=LEASE_SECONDS))

    def count(self, query: str, **given: object) -> float:
        """Return the figure that a query answers."""
        with self._engine.connect() as connection:
            return float(connection.execute(sa.text(query), given).scalar_one())

    def intruders(self) -> list[tuple[object, ...]]:
        """Return events that were written by somebody else than the run's holder, or by one whose lease had ended."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text("SELECT * FROM fleet_intruders"))]

    def versions(self) -> Counter[str]:
        """Return how many runs succeeded in which version."""
        query = "SELECT interface_version, count(*) FROM workflow_runs WHERE status = 'succeeded' GROUP BY 1"
        with self._engine.connect() as connection:
            return Counter({row[0]: row[1] for row in connection.execute(sa.text(query))})

    def slowest_takeover(self) -> float:
        """Return the most seconds from the last renewal of a lease until the last of its runs was free."""
        return self.count(_SLOWEST)


class Host:
    """A worker on a host of its own."""

    def __init__(self, member: Member, cable: Cable, witness: Witness) -> None:
        self.member = member
        self.cable = cable
        self.pid = member.process.pid
        self._witness = witness

    def wait_busy(self) -> None:
        """Wait until it holds runs."""
        wait_until(lambda: self._ask(_HELD) >= 1, what="a run that it holds")

    def lose(self, fault: Callable[[], None]) -> None:
        """Let something befall it while it holds runs, and wait until others have them all."""
        self.wait_busy()
        deaths = self._ask(_DEATHS)
        fault()
        wait_until(lambda: self._ask(_DEATHS) > deaths and not self._ask(_LEFT), what="the end of its lease")

    def wait_back(self) -> None:
        """Wait until it has heard that it was given up, and has a lease again."""
        self.member.wait_for("event", name="lease.lost")
        wait_until(lambda: self._ask(_LIVE) == 1, what="another lease")

    def freeze(self) -> None:
        """Have it stand still."""
        self.member.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self.member.send(signal.SIGCONT)

    def _ask(self, query: str) -> float:
        return self._witness.count(query, pid=self.pid)


class Fleet:
    """Hosts, each behind a cable, and a witness."""

    def __init__(self, processes: Crew, witness: Witness, folder: Path) -> None:
        self.processes = processes
        self.witness = witness
        self.cables: list[Cable] = []
        self._folder = folder

    def join(self, name: str, *options: str) -> Host:
        """Start a worker on a host of its own, and wait until it is up."""
        address = self._folder / f"{name}.cable"
        parts = urlsplit(self.processes.url)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.bind(str(address))
            waiting.listen()
            waiting.settimeout(30)
            given = ["--cable", str(address), "--lease-seconds", str(LEASE_SECONDS), *options]
            member = self.processes.start(name, *given, module=MODULE)
            cable = Cable(borrow_listener(waiting), (parts.hostname or "", parts.port or 5432))
        self.cables.append(cable)
        member.wait_for("up")
        return Host(member, cable, self.witness)

    def client(self, name: str, count: int, *options: str) -> Member:
        """Start a process that starts parcels, twenty a second, until they are so many."""
        given = ["--no-worker", "--flow", "parcel", "--at-once", "0", "--client", str(count), *options]
        return self.processes.join(name, *given, module=MODULE)


@contextmanager
def fleet(url: str, folder: Path) -> Iterator[Fleet]:
    """Give a fleet without hosts; whoever still runs afterwards is ended."""
    with looking(url) as engine, crew(url, folder) as processes:
        made = Fleet(processes, Witness(engine), folder)
        try:
            yield made
        finally:
            for cable in made.cables:
                cable.close()
