"""A PgBouncer in transaction mode, where the system has the program."""

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

from tests.support.ports import free_port
from tests.support.servers import GuardedProcess

_CONFIGURATION = """[databases]
postgres = host=127.0.0.1 port={server} user=postgres password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 500
server_login_retry = 1
"""


class PgBouncer:
    """A pooler in front of a server of the tests.

    Args:
        program: its path.
        dsn: the server.
    """

    def __init__(self, program: str, dsn: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="windlass-pgbouncer-"))
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._file = self.folder / "pgbouncer.ini"
        user = "nobody" if os.geteuid() == 0 else None
        if user:
            shutil.chown(self.folder, user, pwd.getpwnam(user).pw_gid)
        self._write(dsn)
        self._process = GuardedProcess(
            [program, self._file],
            folder=self.folder,
            log=self.folder / "server.log",
            user=user,
            stop_signal=signal.SIGTERM,
        )
        self._process.wait_ready(self._answers, 30.0)

    def lead_to(self, dsn: str) -> None:
        """Have it lead to another server from now on, as whoever promotes one does."""
        self._write(dsn)
        self._process.send(signal.SIGHUP)

    def close(self) -> None:
        """End it and remove its folder."""
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        said = _CONFIGURATION.format(server=parts.port, password=unquote(parts.password or ""), port=self.port)
        self._file.write_text(said)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def pgbouncer(program: str, dsn: str) -> Iterator[PgBouncer]:
    """A pooler of one's own."""
    pooler = PgBouncer(program, dsn)
    try:
        yield pooler
    finally:
        pooler.close()
