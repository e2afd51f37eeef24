"""How a run ends: its outcome, its parent's letter, its children's cancellation. Promise 9."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.engine.births import follow
from windlass.engine.heads import close, number, to_json, wake
from windlass.engine.ports import Ring, Transaction
from windlass.engine.types import TERMINAL, Advance, Event, Finish, InboxRow, NewEvent, RunHead, Status

CANCEL_AT_ONCE = 500
"""About how many descendants are cancelled in the transaction in which a run ends; the others follow in their own."""
GENERATION_COST = 10
"""Of that, what a generation takes beside its runs: its statements."""


def finish(tx: Transaction, ends: Sequence[tuple[Advance, Finish]], changed: dict[str, RunHead]) -> None:
    """Write outcomes, tell parents through their inboxes and cancel children that are still open."""
    tx.finish_runs([(tx.heads[u.run_id], f.outputs, f.error, u.at) for u, f in ends])
    tx.free_slots([unit.run_id for unit, _ in ends])
    mail: list[InboxRow] = []
    for unit, outcome in ends:
        tx.rings.append(Ring("ended", unit.run_id))
        if outcome.parent_run_id is not None:
            row = child_letter(outcome.parent_run_id, unit.run_id, outcome, unit.at)
            parent = tell_parent(tx, row)
            if parent is not None:
                mail.append(row)
                if wake(tx, parent, row.at):
                    changed[parent.run_id] = parent
    if mail:
        tx.add_inbox(mail)
    follow(tx, [tx.heads[unit.run_id] for unit, _ in ends], ends[-1][0].at)
    orphans = [unit.run_id for unit, outcome in ends if outcome.children]
    if orphans:
        ring_orphans(tx, cancel_children(tx, orphans, ends[-1][0].at))


def tell_parent(tx: Transaction, row: InboxRow) -> RunHead | None:
    """Ring the parent's holder; returns the parent's head unless it has ended for good.

    One that failed finds the letter when it is retried.
    """
    parent = tx.heads.get(row.run_id)
    if parent is None or parent.status in {Status.SUCCEEDED, Status.CANCELLED}:
        return None
    if parent.holder is not None:
        tx.rings.append(Ring("inbox", row.run_id, parent.holder, row))
    return parent


def child_letter(parent_run_id: str, run_id: str, outcome: Finish, at: int) -> InboxRow:
    """Return the inbox row that tells a parent how its child ended."""
    result = outcome.outputs if outcome.status is Status.SUCCEEDED else outcome.error
    by = "" if outcome.by is None else f'"by":{to_json(outcome.by)},'
    payload = f'{{"status":"{outcome.status.value}",{by}"result":{result or "null"}}}'
    return InboxRow(f"child:{run_id}:{at}", parent_run_id, "child", run_id, None, payload, at)


def cancel(tx: Transaction, heads: Sequence[RunHead], by: str, reason: str | None, at: int) -> None:
    """Cancel locked runs that nobody holds, and their children."""
    _close(tx, heads, by, reason or "cancelled_by_user", at)
    ring_orphans(tx, cancel_children(tx, [head.run_id for head in heads], at))


def _close(tx: Transaction, heads: Sequence[RunHead], by: str, text: str, at: int) -> None:
    outcome = Finish(Status.CANCELLED, error=to_json({"type": "Cancelled", "message": text}), reason=text, by=by)
    events: list[Event] = []
    for head in heads:
        close(head, outcome)
        events.extend(number(head, cancel_events(by, text, "claimer", at)))
        tx.rings.append(Ring("ended", head.run_id))
    tx.append_events(events)
    tx.finish_runs([(head, None, outcome.error, at) for head in heads])
    tx.free_slots([head.run_id for head in heads])
    follow(tx, heads, at)
    tell_parents(tx, heads, outcome, at)


def cancel_events(by: str, reason: str, source: str, at: int) -> tuple[NewEvent, NewEvent]:
    """Return the two events of a cancellation."""
    return (
        NewEvent("cancel_acknowledged", None, to_json({"reason": reason, "source": source}), at),
        NewEvent("run_cancelled", None, to_json({"by": by, "reason": reason}), at),
    )


def tell_parents(tx: Transaction, heads: Sequence[RunHead], outcome: Finish, at: int) -> None:
    """Put the end of runs into their parents' inboxes and wake the parents."""
    family = [(head, head.parent_run_id) for head in heads if head.parent_run_id is not None]
    tx.lock_runs([parent for _, parent in family if parent not in tx.heads])
    for head, parent_id in family:
        row = child_letter(parent_id, head.run_id, outcome, at)
        parent = tell_parent(tx, row)
        if parent is not None:
            tx.add_inbox([row])
            if wake(tx, parent, at):
                tx.write_heads([parent])


def cancel_children(tx: Transaction, ended: Sequence[str], at: int) -> list[str]:
    """Cancel the open descendants of runs that ended: at once when unheld, through the inbox when held.

    Generation by generation, until one transaction has done its share.

    Returns:
        the ended runs that may still have some: see ``orphans``.
    """
    waiting = list(ended)
    room = CANCEL_AT_ONCE
    while waiting and room > 0:
        found = tx.open_children(waiting, room)
        children = list(tx.lock_runs(found).values())
        idle = [head for head in children if head.holder is None and head.status not in TERMINAL]
        _tell_held(tx, [head for head in children if head.holder is not None], at)
        if idle:
            _close(tx, idle, "parent", "parent_ended", at)
        rest = waiting if len(found) >= room else []
        waiting = [*rest, *(head.run_id for head in idle)]
        room -= len(found) + GENERATION_COST
    return waiting


def _tell_held(tx: Transaction, heads: Sequence[RunHead], at: int) -> None:
    said = '{"by":"parent","reason":"parent_ended"}'
    rows = [InboxRow(f"cancel:{head.run_id}:{at}", head.run_id, "cancel", "", None, said, at) for head in heads]
    if rows:
        tx.add_inbox(rows)
        tx.rings.extend(Ring("inbox", row.run_id, head.holder, row) for row, head in zip(rows, heads, strict=True))


def ring_orphans(tx: Transaction, ended: Sequence[str]) -> None:
    """Have this process see to children that are left."""
    tx.rings.extend(Ring("orphans", run_id) for run_id in ended)
