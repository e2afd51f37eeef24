"""Sending updates and queries: one row that is asked for its answer, and one in the run's inbox that wakes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from windlass.engine.errors import RunConflict, UnknownRun
from windlass.engine.heads import to_json, wake
from windlass.engine.ops import Operation
from windlass.engine.ports import Ring, Transaction
from windlass.engine.types import TERMINAL, InboxRow, RunHead, Status
from windlass.kernel.clock import to_iso
from windlass.live.rows import SENT, Request, add_request, find_request

UPDATE, QUERY = "update", "query"


class Sending(NamedTuple):
    """An update or a query on its way; ``payload`` is JSON text, ``digest`` tells it from another of the same id."""

    run_id: str
    kind: str
    name: str
    request_id: str
    payload: str
    digest: str
    inbox_id: str
    at: int


class Sendings(Operation[Sending, Request]):
    """Lay them in their runs' inboxes and wake those that have left memory; one of a known id is left as it is."""

    rank = 40

    def locks(self, unit: Sending) -> Iterable[str]:
        """Lock the run."""
        return (unit.run_id,)

    def weight(self, unit: Sending) -> int:
        """Its payload's."""
        return len(unit.payload)

    def apply(self, tx: Transaction, units: Sequence[Sending]) -> list[Request | Exception]:
        """Send each in turn, and answer with how it stands."""
        answers: list[Request | Exception] = []
        for unit in units:
            try:
                answers.append(send(tx, unit))
            except (UnknownRun, RunConflict) as error:
                answers.append(error)
        return answers


def send(tx: Transaction, unit: Sending) -> Request:
    """Send one to a locked run.

    Raises:
        UnknownRun: there is no such run.
        RunConflict: it has ended, is paused (for a query), or has had another update of this id.
    """
    head = tx.heads.get(unit.run_id)
    if head is None:
        raise UnknownRun(f"no run {unit.run_id}", run_id=unit.run_id)
    known = find_request(tx.connection, unit.run_id, unit.request_id) if unit.kind == UPDATE else None
    if known is not None:
        if known.digest != unit.digest:
            said = f"update_id {unit.request_id!r} was used with another update of this run"
            raise RunConflict(said, run_id=unit.run_id, update_id=unit.request_id)
        return known
    _check(head, unit)
    add_request(tx, (unit.run_id, unit.request_id, unit.kind, unit.name, unit.digest, SENT, to_iso(unit.at)))
    letter = f'{{"id":{to_json(unit.request_id)},"payload":{unit.payload}}}'
    row = InboxRow(unit.inbox_id, unit.run_id, unit.kind, unit.name, None, letter, unit.at)
    tx.add_inbox([row])
    if head.holder is not None:
        tx.rings.append(Ring("inbox", row.run_id, head.holder, row))
    elif wake(tx, head, row.at):
        tx.write_heads([head])
    return Request(unit.request_id, unit.kind, unit.name, unit.digest, SENT, None)


def _check(head: RunHead, unit: Sending) -> None:
    about = {"run_id": head.run_id, "status": str(head.status)}
    if head.status in TERMINAL:
        what = "takes no updates" if unit.kind == UPDATE else "answers no queries: read what it has published"
        raise RunConflict(f"run is {head.status} and {what}", **about)
    if unit.kind == QUERY and head.status == Status.PAUSED:
        raise RunConflict("run is paused and answers no queries: resume it, or read what it has published", **about)


SEND = Sendings()
