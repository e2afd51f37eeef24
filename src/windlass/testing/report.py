"""What came of crashing a workflow everywhere, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from windlass.engine.types import Event

AROUND = 6
"""How many events before the end of a journal are shown."""


class PromiseBroken(AssertionError):
    """A workflow does not keep its promises.

    ``what`` broke, at which ``commit`` (None: without any crash) that met which ``fate``; ``journal`` is the run's by
    then, and ``advice`` says what to do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        workflow: str,
        commit: int | None = None,
        fate: str | None = None,
        journal: Sequence[Event] = (),
        advice: Sequence[str] = (),
    ) -> None:
        self.what, self.workflow, self.commit, self.fate = what, workflow, commit, fate
        self.journal, self.advice = list(journal), list(advice)
        super().__init__(self._told())

    def _told(self) -> str:
        where = "without any crash" if self.commit is None else f"commit {self.commit}, {self.fate}"
        lines = [f"workflow {self.workflow}: {self.what}", f"  when: {where}"]
        if self.journal:
            lines.append("  journal:")
            if len(self.journal) > AROUND * 2:
                lines.append(f"    … {len(self.journal) - AROUND * 2} events before")
            lines.extend(f"    {shown(event)}" for event in self.journal[-AROUND * 2 :])
        if self.advice:
            lines.append("  what to do:")
            lines.extend(f"    {line}" for line in self.advice)
        return "\n".join(lines)


def shown(event: Event) -> str:
    """Return an event as one short line."""
    payload = event.payload if len(event.payload) <= 90 else event.payload[:89] + "…"
    return f"{event.seq:4} {event.type:18} {event.step_id or '':24} {payload}".rstrip()


@dataclass(frozen=True)
class Report:
    """A workflow that kept its promises.

    ``commits``: how many there were without a crash; ``lives``: how often it was run, each time with something else
    going wrong, by what that was; ``status``, ``result`` and ``error``: how it ends, always.
    """

    workflow: str
    commits: int
    status: str
    result: Any
    error: dict[str, Any] | None
    lives: dict[str, int]
    journal: list[Event] = field(repr=False)
    compared: bool = True

    def __str__(self) -> str:
        total = sum(self.lives.values())
        lines = [
            f"workflow {self.workflow}: ends as {self.status} whatever happens at each of its {self.commits} commits",
            *(f"  {count:4} lives: {fate}" for fate, count in self.lives.items()),
            f"  {total:4} lives in all",
        ]
        if not self.compared:
            lines.append("  results were not compared between lives: undisturbed ones differ already")
        return "\n".join(lines)
