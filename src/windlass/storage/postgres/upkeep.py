"""Looking after a PostgreSQL database: its tables are vacuumed and counted anew, on a connection of its own."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from windlass.storage.postgres.connect import connect
from windlass.storage.schema import metadata
from windlass.storage.urls import DatabaseUrl

LOCK = 7_229_180_644
"""Of whoever is at it."""
GENTLE = {"statement_timeout": "0", "vacuum_cost_delay": "2", "application_name": "windlass maintenance"}


def maintain(url: DatabaseUrl) -> dict[str, Any]:
    """Run VACUUM (ANALYZE) on every table of ours, one after the other, with pauses for the others' sake.

    Tables that somebody has locked are left to the next time.

    Returns:
        what came of it.
    """
    with connect(url.direct or url, GENTLE, alone_for="maintenance") as raw:
        [ours] = raw.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() or [False]
        if not ours:
            return {"skipped": "another maintenance goes on"}
        there = {row[0] for row in raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")}
        names = sorted(there & set(metadata.tables))
        for name in names:
            raw.execute(sql.SQL("VACUUM (ANALYZE, SKIP_LOCKED) {}").format(sql.Identifier(name)), prepare=False)
        raw.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    return {"vacuum": "done", "tables": len(names)}
