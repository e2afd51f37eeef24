"""Orders in a run's inbox that its holder did not live to carry out. Promise 12."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from windlass.engine.ending import cancel
from windlass.engine.heads import append, to_json
from windlass.engine.ports import Transaction
from windlass.engine.types import InboxRow, NewEvent, RunHead, Status


def obey(tx: Transaction, head: RunHead, letters: Sequence[InboxRow], at: int) -> bool:
    """Cancel a locked run that nobody holds any more, or pause it, as its inbox says; says whether it was one of them.

    Whoever gave the order was told that it would be done: it must not wait for somebody who can run the code.
    """
    for kind in ("cancel", "pause"):
        orders = [row for row in letters if row.kind == kind]
        if orders:
            tx.consume_inbox([row.inbox_id for row in orders])
            said = orjson.loads(orders[0].payload)
            if kind == "cancel":
                cancel(tx, [head], said["by"], said["reason"], at)
            else:
                pause(tx, head, said["by"], said["reason"], at)
            return True
    return False


def pause(tx: Transaction, head: RunHead, by: str, reason: str | None, at: int) -> None:
    """Pause a locked run that nobody holds."""
    head.status, head.status_reason = Status.PAUSED, reason or "paused_by_user"
    head.wait_reason, head.ready_at = "paused", None
    append(tx, head, NewEvent("run_paused", None, to_json({"by": by}), at))
    tx.write_heads([head])
