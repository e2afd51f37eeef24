"""Dead letters: found, taken up by one run at a time, settled, thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.webhooks import ledger
from windlass.contexts.webhooks.model import DENIED, Attempt, Options
from windlass.contexts.webhooks.tables import workflow_webhook_deliveries as deliveries
from windlass.contexts.webhooks.tables import workflow_webhook_dlq as dlq
from windlass.engine.ports import Transaction
from windlass.engine.types import TERMINAL
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import Conflict, NotFound
from windlass.storage.schema import workflow_runs

WORKER = "dlq_worker"
REPLAY = "dlq_replay"
_ISO = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'


class LetterNotFound(NotFound):
    """There is no such dead letter for this caller."""

    def __init__(self) -> None:
        super().__init__("DLQ item not found")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters; times are ISO 8601 text in UTC with microseconds, both ends included.

    ``error`` is a reason in a word: ``timeout``, ``network_error``, ``unresolved``, ``http_503``, ``denied_by_policy``.
    """

    tenant: str | None = None
    host: str | None = None
    error: str | None = None
    created_after: str | None = None
    created_before: str | None = None

    def narrow(self, statement: Any) -> Any:
        """Return a statement on dead letters with these conditions."""
        c = dlq.c
        for column, value in ((c.tenant_id, self.tenant), (c.host, self.host), (c.reason, self.error)):
            if value is not None:
                statement = statement.where(column == value)
        if self.created_after is not None:
            statement = statement.where(c.created_at >= self.created_after)
        if self.created_before is not None:
            statement = statement.where(c.created_at <= self.created_before)
        return statement


def _time(connection: sa.Connection, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if connection.dialect.name != "postgresql":
        return column
    return sa.func.to_char(sa.func.timezone("UTC", column), sa.literal_column(f"'{_ISO}'")).label(column.name)


def page(
    connection: sa.Connection, wanted: Wanted, after: int, limit: int, offset: int, *, worker: bool
) -> list[dict[str, Any]]:
    """Return dead letters, oldest first; ``worker`` says whether anybody looks at ``next_attempt_at``."""
    c = dlq.c
    columns = (
        c.id, c.tenant_id, c.run_id, c.webhook_id, c.url, c.host, c.attempts, _time(connection, c.next_attempt_at),
        c.reason, c.last_error, _time(connection, c.created_at), c.body_json,
    )  # fmt: skip
    statement = wanted.narrow(sa.select(*columns).where(c.id > after)).order_by(c.id).limit(limit).offset(offset)
    found = []
    for row in connection.execute(statement).mappings():
        item = {str(name): value for name, value in row.items()}
        item["body"] = _body(item.pop("body_json"))
        if not worker:
            item["next_attempt_at"] = None
        found.append(item)
    return found


def _body(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def history(connection: sa.Connection, run_id: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Return the attempts to tell of a run, in order."""
    c = deliveries.c
    columns = (
        c.id, c.event_seq, _time(connection, c.created_at), c.host, c.status, c.code, c.reason, c.source, c.attempt,
        c.webhook_id,
    )  # fmt: skip
    statement = sa.select(*columns).where(c.run_id == run_id, c.id > after).order_by(c.id).limit(limit)
    rows = connection.execute(statement).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]


def last_id(connection: sa.Connection) -> int:
    """Return the newest dead letter's id."""
    return connection.scalar(sa.select(sa.func.max(dlq.c.id))) or 0


def count_up_to(connection: sa.Connection, wanted: Wanted, bound: int) -> int:
    """Return how many dead letters match, counting no further than ``bound``."""
    matching = wanted.narrow(sa.select(sa.literal(1)).select_from(dlq)).limit(bound).subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(matching)) or 0


def claim(tx: Transaction, dlq_id: int, tenant: str | None, run_id: str) -> tuple[str, str]:
    """Give a dead letter to a run that sends it again; returns its tenant and URL.

    Raises:
        LetterNotFound: there is none, or it is another tenant's.
        Conflict: another run is at it.
    """
    c = dlq.c
    row = tx.connection.execute(
        sa.select(c.tenant_id, c.url, c.busy_run_id).where(c.id == dlq_id).with_for_update()
    ).first()
    if row is None or (tenant is not None and row.tenant_id != tenant):
        raise LetterNotFound
    if row.busy_run_id is not None and _open(tx, [row.busy_run_id]):
        raise Conflict("it is being sent again already", id=dlq_id, run_id=row.busy_run_id)
    tx.connection.execute(sa.update(dlq).where(c.id == dlq_id).values(busy_run_id=run_id))
    return row.tenant_id, row.url


def claim_many(
    tx: Transaction, wanted: Wanted, after: int, until: int, run_id: str, limit: int
) -> tuple[list[int], int | None]:
    """Give up to ``limit`` dead letters to a run; returns their ids, and after which to go on (None: at the end)."""
    c = dlq.c
    seen = tx.connection.execute(
        wanted.narrow(sa.select(c.id).where(c.id > after, c.id <= until)).order_by(c.id).limit(limit)
    ).scalars()
    ids = list(seen)
    taken = _take(tx, c.id.in_(ids), run_id, len(ids), {}) if ids else []
    return taken, ids[-1] if len(ids) == limit else None


def claim_due(tx: Transaction, now: int, rest: int, run_ids: Sequence[str]) -> list[tuple[int, str]]:
    """Give dead letters that are due to runs, one each; none is looked at again for ``rest`` microseconds."""
    c = dlq.c
    due = sa.select(c.id, c.busy_run_id).where(c.next_attempt_at <= to_iso(now))
    due = due.order_by(c.next_attempt_at).limit(len(run_ids)).with_for_update(skip_locked=True)
    rows = tx.connection.execute(due).all()
    busy = _open(tx, [row.busy_run_id for row in rows if row.busy_run_id is not None])
    free = [row.id for row in rows if row.busy_run_id not in busy]
    given = list(zip(free, run_ids, strict=False))
    later = {"next_attempt_at": to_iso(now + rest)}
    if rows:
        tx.connection.execute(sa.update(dlq).where(c.id.in_([row.id for row in rows])).values(**later))
    for dlq_id, run_id in given:
        tx.connection.execute(sa.update(dlq).where(c.id == dlq_id).values(busy_run_id=run_id))
    return given


def _take(tx: Transaction, which: Any, run_id: str, limit: int, changes: dict[str, Any]) -> list[int]:
    c = dlq.c
    locked = sa.select(c.id, c.busy_run_id).where(which).order_by(c.id).limit(limit).with_for_update(skip_locked=True)
    rows = tx.connection.execute(locked).all()
    busy = _open(tx, [row.busy_run_id for row in rows if row.busy_run_id is not None])
    free = [row.id for row in rows if row.busy_run_id not in busy]
    if free:
        tx.connection.execute(sa.update(dlq).where(c.id.in_(free)).values(busy_run_id=run_id, **changes))
    return free


def _open(tx: Transaction, run_ids: Sequence[str]) -> set[str]:
    if not run_ids:
        return set()
    c = workflow_runs.c
    over = [status.value for status in TERMINAL]
    return set(tx.connection.execute(sa.select(c.run_id).where(c.run_id.in_(run_ids), c.status.not_in(over))).scalars())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run made of a dead letter; ``source`` says who sent it, ``at`` and ``rest`` are microseconds."""

    dlq_id: int
    run_id: str
    attempt: Attempt
    source: str
    at: int
    rest: int


def settle(tx: Transaction, done: Outcome, options: Options) -> bool:
    """Write what became of a dead letter that was sent again; False when it was thrown away meanwhile.

    Delivered, it is gone. Else its attempts are counted, and the worker takes it up again unless it is refused by the
    policy or has had as many attempts of the worker as the delivery had before.
    """
    c = dlq.c
    found = ledger.load(tx.connection, done.dlq_id)
    if found is None:
        return False
    delivery, attempts = found
    attempt, at = done.attempt, done.at
    ledger.note(tx, delivery, attempts + 1, attempt, done.source, at)
    mine = sa.and_(c.id == done.dlq_id, c.busy_run_id == done.run_id)
    if attempt["status"] == "delivered":
        tx.connection.execute(sa.delete(dlq).where(mine))
        return True
    number = attempts + 1
    over = attempt["reason"] == DENIED or number >= 2 * options.attempts
    changes: dict[str, Any] = {
        "attempts": number, "reason": attempt["reason"], "busy_run_id": None,
        "last_error": DENIED if attempt["reason"] == DENIED else ledger.exceeded(number, attempt),
    }  # fmt: skip
    if over:
        changes["next_attempt_at"] = sa.null()
    elif done.source == WORKER:
        changes["next_attempt_at"] = to_iso(at + done.rest)
    tx.connection.execute(sa.update(dlq).where(mine).values(**changes))
    return True


def discard(tx: Transaction, wanted: Wanted, until: int, limit: int) -> int:
    """Throw up to ``limit`` dead letters away and return how many that were."""
    c = dlq.c
    ids = list(
        tx.connection.execute(wanted.narrow(sa.select(c.id).where(c.id <= until)).order_by(c.id).limit(limit)).scalars()
    )
    if ids:
        tx.connection.execute(sa.delete(dlq).where(c.id.in_(ids)))
    return len(ids)


def discard_one(tx: Transaction, dlq_id: int, tenant: str | None) -> dict[str, Any]:
    """Throw one away and return what it was, without its body.

    Raises:
        LetterNotFound: there is none, or it is another tenant's.
    """
    c = dlq.c
    which = sa.select(c.tenant_id, c.run_id, c.webhook_id, c.host, c.attempts, c.last_error).where(c.id == dlq_id)
    if tenant is not None:
        which = which.where(c.tenant_id == tenant)
    found = tx.connection.execute(which.with_for_update()).mappings().first()
    if found is None:
        raise LetterNotFound
    tx.connection.execute(sa.delete(dlq).where(c.id == dlq_id))
    return {str(name): value for name, value in found.items()}
