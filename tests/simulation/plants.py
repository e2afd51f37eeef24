"""Bugs to plant, to see that the simulation finds them. Each is undone when its test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from windlass.contexts.workflows.runs.interpreter import Interpreter
from windlass.contexts.workflows.runs.outcome import Outcome
from windlass.engine import compensation, control, ending
from windlass.engine.history import History, Recorded
from windlass.engine.journal import AdvanceRuns
from windlass.engine.mailbox import Mailbox
from windlass.engine.run import Run
from windlass.engine.scope import Scope, current_scope
from windlass.engine.transact import Effects
from windlass.engine.types import InboxRow, Park
from windlass.storage.batches import BatchWriter
from windlass.storage.lanes.choosing import places
from windlass.storage.memory.transaction import MemoryTransaction

Plant = Callable[[pytest.MonkeyPatch], None]


class Twisted:
    """A transaction of which some methods lie."""

    def __init__(self, inner: Any, **lies: Callable[..., Any]) -> None:
        self._inner = inner
        self._lies = lies

    def __getattr__(self, name: str) -> Any:
        return self._lies.get(name) or getattr(self._inner, name)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Take every write of a run for its holder's."""
    for kind in (AdvanceRuns, Effects):
        apply = kind.apply

        def trusting(self: Any, tx: Any, units: Sequence[Any], apply: Any = apply) -> Any:
            for unit in units:
                head = tx.heads.get(unit.run_id)
                if head is not None and head.holder is not None:
                    unit.holder = head.holder
            return apply(self, Twisted(tx, lease_is_live=lambda _holder: True), units)

        patch.setattr(kind, "apply", trusting)


def numbers_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Give events their numbers from what the process remembers, before the transaction is known to hold."""
    apply = AdvanceRuns.apply
    numbers: dict[str, int] = {}

    def remembering(self: Any, tx: Any, units: Sequence[Any]) -> Any:
        for unit in units:
            head = tx.heads.get(unit.run_id)
            if head is not None:
                head.last_seq = max(head.last_seq, numbers.get(unit.run_id, 0))
        answers = apply(self, tx, units)
        numbers.update({unit.run_id: tx.heads[unit.run_id].last_seq for unit in units if unit.run_id in tx.heads})
        return answers

    patch.setattr(AdvanceRuns, "apply", remembering)


def blind_retry(patch: pytest.MonkeyPatch) -> None:
    """Take a commit whose answer was lost for one that did not happen."""
    patch.setattr(BatchWriter, "_settle", lambda _self: False)


def blind_trust(patch: pytest.MonkeyPatch) -> None:
    """Take a commit whose answer was lost for one that happened."""
    patch.setattr(BatchWriter, "_settle", lambda _self: True)


def park_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Park without a look at the inbox."""
    park = AdvanceRuns._park

    def blind(tx: Any, *rest: Any) -> None:
        park(Twisted(tx, load_inbox=lambda _runs: {}), *rest)

    patch.setattr(AdvanceRuns, "_park", staticmethod(blind))


def park_on_what_just_came(patch: pytest.MonkeyPatch) -> None:
    """Take every row in memory for one that the code has heard."""
    patch.setattr(Mailbox, "unwanted", property(lambda self: frozenset(self.rows)))


def silent_children(patch: pytest.MonkeyPatch) -> None:
    """Let a child's end wake nobody."""
    patch.setattr(ending, "wake", lambda _tx, _head, _at: False)


def silent_signals(patch: pytest.MonkeyPatch) -> None:
    """Let a signal wake nobody."""
    patch.setattr(control, "wake", lambda _tx, _head, _at: False)


def no_alarm(patch: pytest.MonkeyPatch) -> None:
    """Park without a time to wake."""
    init = Park.__init__

    def forgetful(self: Park, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.wake_at = None

    patch.setattr(Park, "__init__", forgetful)


def consume_early(patch: pytest.MonkeyPatch) -> None:
    """Consume an inbox row when it is handed out, not with the event that says so."""
    take_out = Mailbox._take_out

    def consuming(self: Mailbox, row: InboxRow) -> None:
        take_out(self, row)
        self._consumed.append(row.inbox_id)

    patch.setattr(Mailbox, "_take_out", consuming)


def consume_never(patch: pytest.MonkeyPatch) -> None:
    """Leave in the inbox what was received."""
    patch.setattr(MemoryTransaction, "consume_inbox", lambda _self, _ids: None)


def deaf_to_copies(patch: pytest.MonkeyPatch) -> None:
    """Forget which rows were received already when the same one is read again."""
    patch.setattr(Mailbox, "__contains__", lambda self, inbox_id: inbox_id in self.rows)


def repeat_what_succeeded(patch: pytest.MonkeyPatch) -> None:
    """Run every step anew after a retry."""

    def reopen(self: History, _failed: Sequence[str]) -> None:
        for call in self.calls.values():
            call.settled = call.data = call.opened = call.retry_at = None

    patch.setattr(History, "_reopen", reopen)


def match_without_scopes(patch: pytest.MonkeyPatch) -> None:
    """Match calls by name and occurrence alone, whichever branch they are in."""
    counts: dict[int, dict[str, int]] = {}

    def enter(self: Scope[Run], name: str) -> tuple[str, Recorded | None]:
        here = counts.setdefault(id(self.run), {})
        here[name] = here.get(name, 0) + 1
        path = f"{name}#{here[name]}"
        return path, None if self.run.history is None else self.run.history.calls.get(path)

    patch.setattr(Scope, "enter", enter)
    patch.setattr(Scope, "leave", lambda _self: None)


def keep_places(patch: pytest.MonkeyPatch) -> None:
    """Keep a queue's place after the run has left it."""
    patch.setattr(MemoryTransaction, "free_slots", lambda _self, _runs: None)


def seat_everybody(patch: pytest.MonkeyPatch) -> None:
    """Let every run of a lane be born claimed, whatever the limits of the lane."""

    def take_seats(self: Any, runs: Sequence[Any], _rules: Any, _now: int) -> frozenset[str]:
        for place in places(runs):
            self._store.seats.insert(place, True)
        return frozenset(run.run_id for run in runs)

    patch.setattr(MemoryTransaction, "take_seats", take_seats)


def forget_keys(patch: pytest.MonkeyPatch) -> None:
    """Let every start with an idempotency key be the first."""

    def claim_keys(_self: Any, rows: Iterable[Any], _now: int) -> dict[tuple[str, str], Any]:
        return {(row.scope, row.key): row for row in rows}

    patch.setattr(MemoryTransaction, "claim_keys", claim_keys)


def outlive_the_transaction(patch: pytest.MonkeyPatch) -> None:
    """Keep what a failed transactional step wrote."""
    patch.setattr(MemoryTransaction, "savepoint", lambda _self, _seconds=None: nullcontext())


def follow_nobody(patch: pytest.MonkeyPatch) -> None:
    """Start nothing when a run ends."""
    patch.setattr(ending, "follow", lambda _tx, _ended, _at: None)


def forget_outputs_over_a_restart(patch: pytest.MonkeyPatch) -> None:
    """Let a definition that goes on in another process see nothing of what its steps had returned."""
    see = Interpreter.see

    def forgetful(self: Interpreter, planned: Any, outcome: Outcome) -> None:
        replaying = current_scope("see").run.replaying
        see(self, planned, Outcome({"seen": []}) if replaying and outcome.succeeded else outcome)

    patch.setattr(Interpreter, "see", forgetful)


def undo_what_was_replayed(patch: pytest.MonkeyPatch) -> None:
    """Undo what the run had done when it was claimed, and nothing of what it did since."""

    async def remembered(run: Run) -> list[list[Any]]:
        calls = [] if run.history is None else [(call.path, call.data or {}) for call in run.history.undoable]
        return [[path, data["undo"]["step"], data["undo"]["given"], data["output"]] for path, data in calls]

    patch.setattr(compensation, "_succeeded", remembered)


PLANTS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        no_fence, numbers_in_memory, blind_retry, blind_trust, park_without_looking, park_on_what_just_came,
        silent_children, silent_signals, no_alarm, consume_early, consume_never, deaf_to_copies,
        repeat_what_succeeded, match_without_scopes, keep_places, seat_everybody, forget_keys,
        outlive_the_transaction, follow_nobody, forget_outputs_over_a_restart, undo_what_was_replayed,
    )
}  # fmt: skip
