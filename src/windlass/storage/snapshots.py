"""Reading several things of one moment: connections that read are in no transaction otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

_BEGIN = {
    "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan;"
    " SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off",
    "sqlite": "BEGIN",
}
"""PostgreSQL is to keep its plans: to plan a page of ten slices takes ten times as long as to read it. Pages are read
by index, in order, and so must be one whose plan was made while there were few runs."""


@contextmanager
def one_moment(connection: sa.Connection) -> Iterator[None]:
    """Let all that is read inside be of one moment: what changes between two queries is neither missed nor seen twice.

    Inside a transaction that is open already this changes nothing.
    """
    raw: Any = connection.connection.driver_connection
    sqlite = connection.dialect.name == "sqlite"
    if raw.in_transaction if sqlite else raw.info.transaction_status:
        yield
        return
    connection.exec_driver_sql(_BEGIN[connection.dialect.name], execution_options={"no_parameters": True})
    try:
        yield
    except BaseException:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("ROLLBACK")
