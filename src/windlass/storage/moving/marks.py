"""The mark a move leaves in both databases, and what it means to who opens one of them.

The old database goes from no mark over ``draining`` (processes give their runs back) and ``frozen`` (nothing can
be written any more) to ``moved``; the new one from ``filling`` to ``arrived``, and to ``returned`` when it is undone.
The new one is marked as arrived in the transaction that fills it, so at every instant at most one of both can be used.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from windlass.kernel.errors import ConfigError, Moving
from windlass.storage.migrate import engine_for, reachable
from windlass.storage.schema import database_moves
from windlass.storage.urls import DatabaseUrl

PLACE = "here"
LEAVING = frozenset({"draining", "frozen", "moved"})
RETRY_SECONDS = 5.0


class Lost(Exception):
    """The answer to the COMMIT that ends a move was lost."""


class Mark(NamedTuple):
    """What a move has left in a database; ``other`` is the address of the other one, without its password."""

    state: str
    move_id: str
    other: str
    at: str


def marked(connection: sa.Connection) -> Mark | None:
    """Return the mark of an open database, or None."""
    columns = database_moves.c
    at = sa.cast(columns.at, sa.Text)
    row = connection.execute(sa.select(columns.state, columns.move_id, columns.other, at)).first()
    return None if row is None else Mark(*row)


def refuse_marked(url: DatabaseUrl) -> None:
    """Refuse to open a database that is on its way to another one, or not yet whole.

    Raises:
        ConfigError: says where the data is and what to do.
        Unavailable: the database cannot be reached.
    """
    with reachable(url), engine_for(url, writes=False).connect() as connection:
        mark = marked(connection)
    if mark is not None and mark.state != "arrived":
        raise ConfigError(told(str(url), mark), state=mark.state, other=mark.other)


def told(url: str, mark: Mark) -> str:
    """Say what a mark means, and what to do."""
    other = mark.other
    if mark.state == "moved":
        return (
            f"the database {url} has been moved to {other} ({mark.at}): set DATABASE_URL to that, with its password;"
            f" as long as nothing has been done there, `windlass db move --undo --to {other}` takes it back"
        )
    if mark.state in LEAVING:
        return (
            f"the database {url} is being moved to {other}: wait for it; if that command has died, give it again,"
            f" or take it back with `windlass db move --undo --to {other}`"
        )
    if mark.state == "filling":
        return f"the database {url} is not whole: `windlass db move` fills it from {other}, or has died: give it again"
    return f"the database {url} is out of use: the move from {other} was undone, set DATABASE_URL to that"


def refusal(mark: Mark) -> Moving:
    """Return what callers hear from a process whose database is leaving; it does not say where to."""
    if mark.state == "moved":
        return Moving("this installation has moved to another database", retry_after=RETRY_SECONDS, state=mark.state)
    return Moving("this installation is moving to another database", retry_after=RETRY_SECONDS, state=mark.state)
