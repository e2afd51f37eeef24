"""Settings of looking after workflows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Checkpoint = Annotated[Literal["PASSIVE", "RESTART", "TRUNCATE"], BeforeValidator(_upper)]


class OperatingSettings(BaseModel):
    """How the database is looked after, and what is logged for as long as somebody looks for a fault."""

    workflows_debug: bool = Field(
        False, description="Log every run and step of definitions as it begins and ends, whatever LOG_LEVEL says"
    )
    workflows_artifacts_debug: bool = Field(
        False, description="Log every request about artifacts: its path, Range header and answer"
    )
    workflows_db_maintenance_enabled: bool = Field(
        False, description="Whether the database is looked after each so often, by one process for all"
    )
    workflows_db_maintenance_interval_sec: float = Field(
        1800.0, ge=1, le=30 * 86_400, description="Seconds between two such times"
    )
    workflows_sqlite_checkpoint: Checkpoint = Field(
        "TRUNCATE",
        description="What is then done with the write-ahead log of SQLite: PASSIVE moves what nobody reads into the"
        " file, RESTART begins it anew, TRUNCATE empties it",
    )
    workflows_sqlite_vacuum: bool = Field(
        False,
        description="Whether a SQLite file is then written anew without what was deleted; nobody writes meanwhile",
    )
    workflows_postgres_vacuum: bool = Field(
        False, description="Whether VACUUM (ANALYZE) is then run on the tables in PostgreSQL"
    )
    workflows_dlq_debug: bool = Field(
        False, description="Log every request about undelivered webhooks, and every attempt to deliver one"
    )
