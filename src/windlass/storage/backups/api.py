"""Copies of either database, by its address."""

from __future__ import annotations

from pathlib import Path

from windlass.kernel.errors import ConfigError
from windlass.storage.backups import lite, postgres
from windlass.storage.backups.contents import Contents, Tell, kind_of
from windlass.storage.urls import DatabaseUrl

__all__ = ["Contents", "backup", "restore", "verify"]


def _silent(_done: int, _total: int | None, _said: str) -> None:
    pass


def backup(url: DatabaseUrl, target: Path, tell: Tell = _silent) -> Contents:
    """Copy a database into a new file while others go on writing; returns what the copy holds.

    Raises:
        ConfigError: the file is there already, the database is not, or the program for it is missing.
        Unavailable: the database cannot be reached.
        OSError: the file cannot be written.
    """
    return postgres.backup(url, target, tell) if url.path is None else lite.backup(url.path, target, tell)


def verify(file: Path) -> Contents:
    """Look through a copy without changing anything.

    Raises:
        ConfigError: it is damaged, or no copy.
        OSError: it cannot be read.
    """
    return lite.verify(file) if kind_of(file) == "sqlite" else postgres.verify(file)


def restore(file: Path, url: DatabaseUrl, tell: Tell = _silent) -> Contents:
    """Fill an empty database from a copy, all of it or nothing; returns what it holds then.

    Raises:
        ConfigError: the copy is damaged or of the other kind of database, or the database is not empty.
        Unavailable: the database cannot be reached.
        OSError: the copy cannot be read, or the database not be written.
    """
    kind = kind_of(file)
    if (kind == "sqlite") != (url.path is not None):
        raise ConfigError(f"{file} is a copy of a {kind} database, and {url} is none: name one in DATABASE_URL")
    return postgres.restore(file, url, tell) if url.path is None else lite.restore(file, url.path, tell)
