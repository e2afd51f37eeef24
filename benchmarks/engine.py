"""The engine as a server has it: made by the composition root, with its default settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from windlass import Engine
from windlass.bootstrap import run_application
from windlass.settings import load


@asynccontextmanager
async def running(database: str, **settings: Any) -> AsyncIterator[Engine]:
    """Migrate the database and run an engine on it; ``settings`` are those of the server."""
    async with run_application(load(database_url=database, auto_migrate=True, **settings)) as application:
        yield application.engine
