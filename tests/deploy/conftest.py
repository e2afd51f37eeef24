"""Runs that live through old code, so that new code can be tried on them."""

from collections.abc import AsyncIterator

import pytest

from tests.engine.conftest import _brisk, database, pg_model, pg_suite, sqlite_model
from tests.engine.lab import Lab, lab_in_memory
from tests.storage.databases import Database

__all__ = ["_brisk", "database", "lab_in_memory", "pg_model", "pg_suite", "sqlite_model"]


@pytest.fixture
async def any_lab(database: Database) -> AsyncIterator[Lab]:
    """A database of every kind to start processes on."""
    made = Lab(database)
    yield made
    await made.close()
