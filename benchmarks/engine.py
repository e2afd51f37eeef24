"""An engine on its real storage, set up as a server sets it up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from windlass import Engine
from windlass.storage import migrate
from windlass.storage.committer import Committer
from windlass.storage.sqlite.backend import SqliteBackend
from windlass.storage.urls import parse


@asynccontextmanager
async def running(database: str, **settings: Any) -> AsyncIterator[Engine]:
    """Migrate the database and run an engine on it; ``settings`` go to the engine."""
    url = parse(database)
    migrate.upgrade(url, nullcontext())
    assert url.path is not None
    backend = SqliteBackend(url.path)
    committer = Committer(backend.write_session())
    engine = Engine(backend, committer, **settings)
    committer.on_rings = engine.worker.on_rings
    committer.start()
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(grace=0)
        committer.close()
        backend.close()
