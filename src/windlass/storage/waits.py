"""What lists of runs can be asked to show waiting runs by: the reasons that ``explain`` gives, and raw wait reasons."""

from __future__ import annotations

import re
from typing import NamedTuple

import sqlalchemy as sa

from windlass.engine.types import RunHead, Status
from windlass.kernel.errors import Invalid
from windlass.storage.schema import workflow_runs


class Waiting(NamedTuple):
    """How waiting runs are recognised: by how their wait reason begins or ends, their status, and its reason.

    With ``delayed`` they have not begun, and their time has not come.
    """

    begins: str = ""
    ends: str = ""
    status: str | None = None
    reason: str | None = None
    delayed: bool = False

    def condition(self) -> sa.ColumnElement[bool]:
        """Return it as a condition on rows."""
        runs = workflow_runs.c
        found: list[sa.ColumnElement[bool]] = []
        if self.begins:
            found.append(runs.wait_reason.startswith(self.begins, autoescape=True))
        if self.ends:
            found.append(runs.wait_reason.endswith(self.ends, autoescape=True))
        if self.status is not None:
            found.append(runs.status == self.status)
        if self.reason is not None:
            found.append(runs.status_reason == self.reason)
        if self.delayed:
            found += [runs.started_at.is_(None), runs.ready_at.is_(None), runs.wake_at.is_not(None)]
        return sa.and_(*found)

    def fits(self, head: RunHead) -> bool:
        """Say whether a run waits so."""
        told = head.wait_reason or ""
        begins_later = head.started_at is None and head.ready_at is None and head.wake_at is not None
        return (
            told.startswith(self.begins)
            and told.endswith(self.ends)
            and self.status in {None, head.status}
            and self.reason in {None, head.status_reason}
            and (begins_later or not self.delayed)
        )


WAITS = {
    "signal": Waiting("signal:", status=Status.RUNNING.value),
    "update": Waiting("update:"),
    "child": Waiting("child:"),
    "sleeping": Waiting("timer"),
    "delayed": Waiting(status=Status.QUEUED.value, delayed=True),
    "several": Waiting(ends=" things"),
    "write_failed": Waiting("write_failed"),
    "waiting_human": Waiting(status=Status.WAITING_HUMAN.value),
    "waiting_approval": Waiting(status=Status.WAITING_APPROVAL.value),
    "paused": Waiting(status=Status.PAUSED.value),
    "poisoned": Waiting(status=Status.PAUSED.value, reason="poisoned"),
    "secret_missing": Waiting(status=Status.PAUSED.value, reason="secret_missing"),
}
"""The reasons of ``explain`` that lists are narrowed down by; ``paused`` is whatever the pause is for."""
KNOWN = f"{', '.join(WAITS)}, signal:NAME, update:NAME, child:RUN"
_RAW = re.compile(r"(signal|update|child):.*|timer|idle|[0-9]+ things", re.DOTALL)


def waiting_for(word: str) -> Waiting:
    """Return how the runs are recognised that wait for something.

    Args:
        word: a reason of ``explain``, or a wait reason as runs have it; of one with a name the beginning is enough.

    Raises:
        Invalid: no run ever waits for it; names what is known.
    """
    found = WAITS.get(word)
    if found is None and _RAW.fullmatch(word):
        found = Waiting(word)
    if found is None:
        raise Invalid(f"waiting_on should be one of: {KNOWN}", field="waiting_on")
    return found
