"""What a database really looks like, for comparing two of them."""

from collections.abc import Iterable

import sqlalchemy as sa

Description = set[tuple[str, ...]]

_POSTGRES = {
    "column": """SELECT table_name, column_name, data_type, coalesce(collation_name, ''), is_nullable,
        coalesce(column_default, '') FROM information_schema.columns JOIN information_schema.tables
        USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'""",
    "index": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraint": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 't'""",
    "option": """SELECT relname, coalesce(reloptions::text, '') FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'""",
    "comment": """SELECT objoid::regclass::text, description FROM pg_description
        WHERE classoid = 'pg_class'::regclass AND objoid IN (SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace)""",
}
_SQLITE = {
    "object": """SELECT type, tbl_name, name, coalesce(sql, '') FROM sqlite_master
        WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite_%'""",
}


def describe(url: sa.URL, leave_out: Iterable[str] = ()) -> Description:
    """Every column, index, constraint and option of tables; those named in ``leave_out`` are not mentioned."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    hidden = set(leave_out)
    queries = _SQLITE if url.get_backend_name() == "sqlite" else _POSTGRES
    with engine.connect() as connection:
        rows = [
            (kind, *(" ".join(str(cell).split()) for cell in row))
            for kind, query in queries.items()
            for row in connection.execute(sa.text(query))
        ]
    return {row for row in rows if not hidden.intersection(row)}
