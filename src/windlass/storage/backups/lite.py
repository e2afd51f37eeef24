"""Copies of a SQLite file, by SQLite's own backup: one moment of it, however much is written meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from windlass.kernel.errors import ConfigError
from windlass.storage.backups.contents import Contents, Tell, looked_at, new_file, taken

PAGES = 2048
"""How many pages are copied at a time."""
BUSY_SECONDS = 60.0


def backup(database: Path, target: Path, tell: Tell) -> Contents:
    """Copy a database into a new file, and look through the copy.

    Raises:
        ConfigError: there is no such database, it is damaged, or the file is there already.
        OSError: the file cannot be written.
    """
    if not database.exists():
        raise ConfigError(f"there is no database {database}")
    with new_file(target) as part:
        _copy(_open(database, live=True), database, part, tell)
        return verify(part, shown=target)


def restore(file: Path, database: Path, tell: Tell) -> Contents:
    """Make a database of a copy, after looking through it.

    Raises:
        ConfigError: the copy is damaged, or there is a database already, or the log of a former one.
        OSError: the file cannot be read, or the database not be written.
    """
    if database.exists():
        raise taken(database)
    for left in (database.with_name(f"{database.name}-wal"), database.with_name(f"{database.name}-shm")):
        if left.exists():
            raise ConfigError(f"{left} belongs to a former database: move it away, it would spoil the restored one")
    with new_file(database) as part:
        _copy(_open(file), file, part, tell)
        return verify(part, shown=file)


def verify(file: Path, shown: Path | None = None) -> Contents:
    """Look through a copy: every page, every index, the engine's invariant; nothing is changed.

    Raises:
        ConfigError: it is damaged.
    """
    engine = sa.create_engine("sqlite://", creator=lambda: _open(file), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(3)").scalars().all()
            if found != ["ok"]:
                raise _damaged(shown or file, "; ".join(" ".join(str(line).split()) for line in found))
            return looked_at(connection, "sqlite")
    except sa.exc.DatabaseError as error:
        raise _damaged(shown or file, str(error.orig)) from error


def _copy(opened: sqlite3.Connection, source: Path, target: Path, tell: Tell) -> None:
    try:
        with (
            closing(opened) as reading,
            closing(sqlite3.connect(target, isolation_level=None)) as writing,
        ):
            reading.execute("BEGIN")  # one moment of it: without a transaction, each write of another begins anew
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
            writing.execute("PRAGMA synchronous = OFF")  # the whole file is brought to disk at the end
            size = reading.execute("PRAGMA page_size").fetchone()[0]
            reading.backup(
                writing,
                pages=PAGES,
                progress=lambda _status, left, total: tell((total - left) * size, total * size, ""),
            )
            writing.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    except sqlite3.DatabaseError as error:
        raise _damaged(source, str(error)) from error


def _open(path: Path, *, live: bool = False) -> sqlite3.Connection:
    """Open a file for reading; a copy, to which nobody writes, is not even locked."""
    used = live or path.with_name(f"{path.name}-wal").exists()
    address = f"file:{quote(str(path.absolute()))}?mode={'rw' if used else 'ro&immutable=1'}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)


def _damaged(file: Path, said: str) -> ConfigError:
    return ConfigError(f"{file} is damaged, or no SQLite file: {said}")
