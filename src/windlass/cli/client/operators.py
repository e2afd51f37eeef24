"""The database as commands of operators open it, and who sits before it."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from windlass import settings
from windlass.bootstrap import visit_application
from windlass.contexts.identity.api import Identity
from windlass.kernel.actors import Actor


@asynccontextmanager
async def identity(*, creates: bool = False) -> AsyncIterator[Identity]:
    """Open the database of DATABASE_URL.

    Args:
        creates: whether a SQLite file that is not there yet is made.

    Raises:
        ConfigError: a setting is wrong, or the database is not at this version.
        Unavailable: the database cannot be reached.
    """
    found = settings.load().model_copy(update={"app_modules": ()})
    if not creates and found.auto_migrate is None:
        found = found.model_copy(update={"auto_migrate": False})
    async with visit_application(found) as application:
        yield application.identity


def operator() -> Actor:
    """Return who sits at the command line, for the audit log."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "operator"
    return Actor("operator", name, role="admin", kind="operator")
