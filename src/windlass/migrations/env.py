"""How Alembic reaches the database: DATABASE_URL, one transaction for all steps, one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import sqlalchemy as sa
from alembic import context
from alembic.util import CommandError

import windlass.contexts.artifacts.tables
import windlass.contexts.identity.tables
import windlass.contexts.limits.tables
import windlass.contexts.people.tables
import windlass.contexts.providers.tables
import windlass.contexts.records.tables
import windlass.contexts.schedules.tables
import windlass.contexts.webhooks.tables
import windlass.contexts.workflows.definitions.tables
import windlass.contexts.workflows.results.tables
import windlass.contexts.workflows.runs.tables  # noqa: F401
from windlass import settings
from windlass.kernel.errors import WindlassError
from windlass.storage.migrate import URL, engine_for, reachable
from windlass.storage.schema import metadata
from windlass.storage.urls import DatabaseUrl

MIGRATION_LOCK = 7_229_180_641


def belongs(item: object, _name: object, kind: str, reflected: bool, _other: object) -> bool:
    """Leave out indexes of a sort that only PostgreSQL has, where there is none."""
    if kind != "index" or reflected or context.get_context().dialect.name == "postgresql":
        return True
    return not getattr(item, "dialect_kwargs", {}).get("postgresql_using")


@contextmanager
def plainly() -> Iterator[None]:
    """Tell the user of Alembic's own command what is wrong in a line; our own callers get the error itself."""
    try:
        yield
    except (WindlassError, OSError) as error:
        if URL in context.config.attributes:
            raise
        raise CommandError(str(error)) from None


def database() -> DatabaseUrl:
    """Return the database the caller named, or that of DATABASE_URL."""
    named: DatabaseUrl | None = context.config.attributes.get(URL)
    return named or settings.load().database


def migrate() -> None:
    """Run the command's steps in one transaction."""
    with ExitStack() as stack:
        with plainly():
            url = database()
            engine = engine_for(url)
            with reachable(url):
                connection = stack.enter_context(engine.begin())
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=True,
            transactional_ddl=True,
            compare_type=True,
            compare_server_default=True,
            include_object=belongs,
        )
        context.run_migrations()


def print_sql() -> None:
    """Print the command's steps as SQL instead (``--sql``)."""
    with plainly():
        url = database()
    context.configure(url=url.sqlalchemy, target_metadata=metadata, literal_binds=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_sql()
else:
    migrate()
