"""PostgreSQL killed under load, and a worker that is stopped until others have its runs."""

import signal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import sqlalchemy as sa

from tests.faults.crew import Crew, crew
from tests.faults.verdict import create_effects, judge, looking, wait_for_rest
from tests.support.databases import migrate
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

ORDERS = 80
"""How many are acknowledged before the server is killed, each time."""
MANY = 1_000_000


def _database(server: PostgresServer) -> str:
    """Return the address of a database with all tables on a server of the test's own."""
    url = urlunsplit(urlsplit(server.dsn)._replace(scheme="postgresql"))
    migrate(url)
    create_effects(url)
    return url


def test_a_killed_server_that_comes_back_costs_nothing_but_time(private_pg: PostgresServer, tmp_path: Path) -> None:
    url = _database(private_pg)
    with crew(url, tmp_path) as processes:
        workers = [processes.join(f"worker{number}") for number in range(2)]
        client = processes.join("client", "--no-worker", "--client", str(MANY))
        for _ in range(3):
            client.wait_for("ack", len(client.acknowledged) + ORDERS)
            refusals = len(client.said("refused"))
            private_pg.crash()
            client.wait_for("refused", refusals + 1)
            private_pg.start()
        client.send(signal.SIGUSR2)
        client.wait_for("done", timeout=90)
        wait_for_rest(url, timeout=90)

        orders = {line["number"] for line in client.said("ack")}
        assert len(set(processes.acknowledged)) == len(orders) >= 3 * ORDERS
        assert all(worker.process.running for worker in workers)
        judge(url, processes.acknowledged)


def test_a_stopped_worker_that_wakes_after_its_lease_was_taken_writes_nothing(
    migrated_pg_dsn: str, tmp_path: Path
) -> None:
    url = migrated_pg_dsn
    create_effects(url)
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    with crew(url, tmp_path) as processes:
        stopped = processes.join("stopped", "--call", str(rooms))
        stopped.wait_for("ack", 8)
        wait_until(lambda: len(list(rooms.iterdir())) == 8, what="every run to be inside its step")
        stopped.send(signal.SIGSTOP)
        other = processes.join("other")
        other.wait_for("event", name="lease.taken_over")
        wait_until(lambda: len(list(rooms.iterdir())) == 16, what="every run to be inside its step once more")
        (rooms / "door").touch()
        wait_for_rest(url)
        before = _journal(url)
        stopped.send(signal.SIGCONT)
        stopped.wait_for("event", name="lease.lost")
        again = _started_by(processes, rooms)
        stopped.end()

        assert _journal(url)[: len(before)] == before
        judge(url, [*stopped.acknowledged, *again])


def _started_by(processes: Crew, rooms: Path) -> list[str]:
    """Have the others do some more work, after which whatever the woken process had to say has been said."""
    client = processes.join("client", "--no-worker", "--client", "20")
    client.wait_for("done")
    wait_for_rest(processes.url)
    return client.acknowledged


def _journal(url: str) -> list[tuple[object, ...]]:
    """Return every event of the callers, in order."""
    query = sa.text(
        "SELECT e.run_id, e.event_seq, e.event_type, e.step_id, e.payload_json FROM workflow_events e"
        " JOIN workflow_runs r ON r.run_id = e.run_id WHERE r.name = 'caller' ORDER BY e.run_id, e.event_seq"
    )
    with looking(url) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]
