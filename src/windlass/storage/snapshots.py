"""Reading several things of one moment: connections that read are in no transaction otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

_BEGIN = {"postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "sqlite": "BEGIN"}


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
    connection.exec_driver_sql(_BEGIN[connection.dialect.name])
    try:
        yield
    except BaseException:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("ROLLBACK")
