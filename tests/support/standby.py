"""A synchronous standby of a PostgreSQL server of the tests, that can take its place."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until


class Standby(PostgresServer):
    """A server that follows another, which answers for a commit only when it is here too.

    Args:
        primary: a running server; it waits for its standbys from now on.
        settings: as of any server.
    """

    def __init__(self, primary: PostgresServer, settings: dict[str, str] | None = None) -> None:
        super().__init__(settings)
        try:
            shutil.rmtree(self.folder / "data")
            self._run(
                "pg_basebackup", "--pgdata", self.folder / "data", "--dbname", primary.dsn,
                "--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync",
            )  # fmt: skip
            self.start()
            with psycopg.connect(primary.dsn, autocommit=True) as admin:
                admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                admin.execute("SELECT pg_reload_conf()")

                def synchronous() -> bool:
                    found = admin.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone()
                    return found is not None

                wait_until(synchronous, what="the standby to be synchronous")
        except BaseException:
            self.close()
            raise

    def promote(self) -> None:
        """Make it the primary; it waits for no standby of its own."""
        self._run("pg_ctl", "promote", "--pgdata", self.folder / "data", "--wait")


class Pair:
    """A primary and its synchronous standby, and the address that names both, the primary first."""

    def __init__(self, primary: PostgresServer, standby: Standby) -> None:
        self.primary, self.standby = primary, standby
        parts = urlsplit(primary.dsn)
        who = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}"))


@contextmanager
def pair(settings: dict[str, str] | None = None) -> Iterator[Pair]:
    """Two servers of one's own."""
    primary = PostgresServer(settings)
    try:
        primary.start()
        standby = Standby(primary, settings)
        try:
            yield Pair(primary, standby)
        finally:
            standby.close()
    finally:
        primary.close()
