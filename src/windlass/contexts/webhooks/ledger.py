"""What is written of attempts: their rows, the event in the run's journal, and dead letters."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from windlass.contexts.outbound.api import host_of
from windlass.contexts.webhooks.model import Attempt, Delivery
from windlass.contexts.webhooks.tables import workflow_webhook_deliveries as deliveries
from windlass.contexts.webhooks.tables import workflow_webhook_dlq as dlq
from windlass.engine.errors import UnknownRun
from windlass.engine.ports import Transaction
from windlass.kernel.clock import to_iso
from windlass.storage.notes import note_in

ERROR_LENGTH = 500


def note(tx: Transaction, delivery: Delivery, number: int, attempt: Attempt, source: str | None, at: int) -> None:
    """Write an attempt into the history, and into the journal of the run it tells of."""
    host = host_of(delivery.url)
    told: dict[str, Any] = {"host": host, "status": attempt["status"]}
    told |= {key: value for key, value in _more(attempt, source).items() if value is not None}
    seq = None
    if delivery.run_id is not None:
        try:
            seq = note_in(
                tx,
                delivery.run_id,
                "webhook_delivery",
                told | {"webhook_id": delivery.webhook_id, "attempt": number},
                at,
            )
        except UnknownRun:
            seq = None  # it has been deleted meanwhile; the delivery is not less due for that
    tx.connection.execute(
        sa.insert(deliveries).values(
            tenant_id=delivery.tenant_id, run_id=delivery.run_id, webhook_id=delivery.webhook_id, event_seq=seq,
            attempt=number, created_at=to_iso(at), **{"code": None, "reason": None, "source": None} | told,
        )
    )  # fmt: skip


def _more(attempt: Attempt, source: str | None) -> dict[str, Any]:
    return {"code": attempt["code"], "reason": attempt["reason"], "source": source}


def bury(tx: Transaction, delivery: Delivery, attempts: int, attempt: Attempt, due: int | None, at: int) -> None:
    """Make a delivery a dead letter; ``due`` is when the worker for those may take it up (microseconds)."""
    tx.connection.execute(
        sa.insert(dlq).values(
            tenant_id=delivery.tenant_id, run_id=delivery.run_id, webhook_id=delivery.webhook_id, url=delivery.url,
            host=host_of(delivery.url), headers_json=orjson.dumps(delivery.headers).decode(), scheme=delivery.scheme,
            body_json=delivery.body, attempts=attempts, next_attempt_at=None if due is None else to_iso(due),
            reason=attempt["reason"], last_error=exceeded(attempts, attempt), created_at=to_iso(at),
        )
    )  # fmt: skip


def exceeded(attempts: int, attempt: Attempt) -> str:
    """Return the last error of a delivery that nobody tries any more by itself."""
    return f"max_attempts_exceeded:{attempts}: {attempt['error']}"[:ERROR_LENGTH]


def load(connection: sa.Connection, dlq_id: int) -> tuple[Delivery, int] | None:
    """Return a dead letter as what is to be delivered, and how often that was tried."""
    c = dlq.c
    columns = (c.webhook_id, c.url, c.body_json, c.tenant_id, c.run_id, c.headers_json, c.scheme, c.attempts)
    row = connection.execute(sa.select(*columns).where(c.id == dlq_id)).first()
    if row is None:
        return None
    headers = orjson.loads(row.headers_json)
    found = Delivery(row.webhook_id, row.url, row.body_json, row.tenant_id, row.run_id, headers, row.scheme)
    return found, row.attempts
