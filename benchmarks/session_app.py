"""What our intake is measured against: one SQLAlchemy session and one commit per request, as guides show it.

The same database, tables and indexes, without any middleware. A benchmark tries the styles and pool sizes that
suit the database and keeps the fastest.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import registry, sessionmaker

from windlass.contexts.records.tables import records
from windlass.kernel.ids import new_id


class Stored:
    """A record row."""

    def __init__(self, **columns: Any) -> None:
        for name, value in columns.items():
            setattr(self, name, value)


registry().map_imperatively(Stored, records)


class Draft(BaseModel):
    """A record as it comes in."""

    source: str = Field(min_length=1, max_length=128)
    category: str = Field(min_length=1, max_length=128)
    payload: dict[str, Any]


class View(BaseModel):
    """A record as it is shown."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    created_at: datetime
    status: str
    source: str
    category: str
    payload: Any
    classification: str | None
    score: float | None
    result: Any
    error: str | None


def _durable(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _prepare(raw: Any, _record: Any) -> None:
        cursor = raw.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def _new(draft: Draft, sqlite: bool) -> Stored:
    now = datetime.now(UTC)
    at: Any = now.isoformat() if sqlite else now
    payload: Any = Draft.model_dump_json(draft, include={"payload"})[11:-1] if sqlite else draft.payload
    return Stored(
        id=new_id(), created_at=at, status="pending", source=draft.source, category=draft.category,
        payload=payload, updated_at=at, attempts=0,
    )  # fmt: skip


def _with_driver(database: str) -> str:
    return database.replace("postgresql://", "postgresql+psycopg://")


def sync_app(database: str, pool: int) -> FastAPI:
    """Return the application with plain functions, which FastAPI runs in threads."""
    sqlite = database.startswith("sqlite")
    engine = sa.create_engine(_with_driver(database), pool_size=pool, max_overflow=0)
    if sqlite:
        _durable(engine)
    sessions = sessionmaker(engine)
    application = FastAPI()

    @application.post("/records", status_code=201, response_model=View)
    def create(draft: Draft) -> Stored:
        with sessions() as session:
            row = _new(draft, sqlite)
            session.add(row)
            session.commit()
            session.refresh(row)
            return row

    return application


def async_app(database: str, pool: int) -> FastAPI:
    """Return the application with coroutines; for PostgreSQL, whose driver is async by itself."""
    engine = create_async_engine(_with_driver(database), pool_size=pool, max_overflow=0)
    sessions = async_sessionmaker(engine)
    application = FastAPI()

    @application.post("/records", status_code=201, response_model=View)
    async def create(draft: Draft) -> Stored:
        async with sessions() as session:
            row = _new(draft, sqlite=False)
            session.add(row)
            await session.commit()
            await session.refresh(row)
            return row

    return application
