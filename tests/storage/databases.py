"""The three backends as tests meet them: opened any number of times on one database, with holders that can die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from tests.storage.dump import Tables, memory_tables, sql_tables
from windlass.engine.ports import Backend, Transaction
from windlass.storage import schema
from windlass.storage.memory.backend import MemoryBackend
from windlass.storage.memory.store import MemoryStore
from windlass.storage.postgres.backend import PostgresBackend
from windlass.storage.sqlite.backend import SqliteBackend

NOTES = sa.Table(
    "notes",
    sa.MetaData(),
    sa.Column("note_id", sa.Integer, primary_key=True),
    sa.Column("text", schema.name(), nullable=False),
    sa.Column("data", schema.json_text()),
    sa.Column("at", schema.timestamp()),
)
"""A table of somebody who is not the engine."""

EXPIRE = "UPDATE workflow_leases SET expires_at = now() - interval '1 second' WHERE holder = :holder"


DELETE_EVENTS = "DELETE FROM workflow_events WHERE run_id = :run AND event_seq <= :upto"


def _delete_events(tx: Transaction, run_id: str, upto: int) -> None:
    tx.execute(DELETE_EVENTS, {"run": run_id, "upto": upto})


@dataclass
class Database:
    """One empty database of a kind.

    ``open`` makes another process's way to it; ``after_death`` is what else must happen, once a holder keeps
    its lease no more, until everybody sees that it is dead. ``dump`` returns the engine's rows.
    ``delete_events`` does by hand what the runbook shows. ``inline``: write as an event loop does.
    """

    kind: str
    open: Callable[[], Backend]
    after_death: Callable[[Transaction, str], object] = field(default=lambda _tx, _holder: None)
    dump: Callable[[Backend], Tables] = sql_tables
    delete_events: Callable[[Transaction, str, int], None] = _delete_events
    inline: bool = False


def memory_database() -> tuple[Database, MemoryStore]:
    """Return an empty store, and the database over it."""
    store = MemoryStore()
    store.create_tables(NOTES.metadata)
    die = store.life.kill
    tables = lambda _backend: memory_tables(store)  # noqa: E731

    def delete_events(_tx: Transaction, run_id: str, upto: int) -> None:
        for seq in range(1, upto + 1):
            store.events.remove((run_id, seq))

    return Database(
        "memory", lambda: MemoryBackend(store), lambda _tx, holder: die(holder), tables, delete_events, inline=True
    ), store


def sqlite_database(path: Path, *, inline: bool = False) -> Database:
    """Return the database in a SQLite file; a new file gets its tables."""
    if not path.exists():
        create_tables(f"sqlite:///{path}", schema.metadata)
    return Database("sqlite", lambda: SqliteBackend(path), inline=inline)


def postgres_database(dsn: str, *, empty: bool = True) -> Database:
    """Return the database at an address; an empty one gets its tables."""
    if empty:
        create_tables(dsn, schema.metadata)
    return Database("postgres", lambda: PostgresBackend(dsn), lambda tx, holder: tx.execute(EXPIRE, {"holder": holder}))


def create_tables(url: str, *metadata: sa.MetaData) -> None:
    """Create tables, and always the one of somebody who is not the engine."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    for tables in (*metadata, NOTES.metadata):
        tables.create_all(engine)
    engine.dispose()
