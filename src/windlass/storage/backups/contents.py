"""What a copy holds, and how its file comes into being: whole or not at all, and never over another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from windlass.kernel.errors import ConfigError
from windlass.storage.invariant import Adrift, adrift

SQLITE_MAGIC = b"SQLite format 3\0"
POSTGRES_MAGIC = b"PGDMP"

Tell = Callable[[int, int | None, str], None]
"""Hears how much is done, of how much, and what is being done."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy holds: its migration, rows by table, and runs that break the engine's invariant.

    ``adrift`` is None where that was not looked at: a dump of PostgreSQL has to be put back for it.
    """

    backend: str
    version: str | None
    rows: dict[str, int] = field(default_factory=dict)
    adrift: list[Adrift] | None = None


def kind_of(file: Path) -> str:
    """Return of which database a file is a copy: ``sqlite`` or ``postgres``.

    Raises:
        ConfigError: of neither.
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        start = opened.read(16)
    if start == SQLITE_MAGIC:
        return "sqlite"
    if start.startswith(POSTGRES_MAGIC):
        return "postgres"
    raise ConfigError(f"{file} is no backup: neither a SQLite file nor a dump of pg_dump's custom format")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; when the block succeeds, that file is on disk as ``path``, else nothing is.

    Raises:
        ConfigError: there is such a file already, also when it came meanwhile.
        OSError: it cannot be written.
    """
    if path.exists():
        raise taken(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        _to_disk(part)
        try:
            os.link(part, path)
        except FileExistsError:
            raise taken(path) from None
        _to_disk(path.parent)
    finally:
        for left in (part, *(part.with_name(part.name + end) for end in ("-wal", "-shm", "-journal"))):
            left.unlink(missing_ok=True)


def taken(path: Path) -> ConfigError:
    """Return the error of a file that is there already."""
    return ConfigError(f"{path} is there already and is not overwritten: name another file, or move that one away")


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def looked_at(connection: sa.Connection, backend: str) -> Contents:
    """Look through the tables of a database: its version, its rows, its runs."""
    names = sorted(sa.inspect(connection).get_table_names())
    version = None
    if "alembic_version" in names:
        version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    rows = {name: connection.execute(sa.text(f'SELECT count(*) FROM "{name}"')).scalar_one() for name in names}
    found = adrift(connection, ()) if {"workflow_runs", "workflow_inbox", "workflow_leases"} <= set(names) else []
    return Contents(backend, version, rows, found)
