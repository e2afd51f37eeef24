"""Definitions whose steps say what they depend on: each runs once all of that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windlass.contexts.workflows.runs.carrier import Carrier
from windlass.contexts.workflows.runs.latch import Latch
from windlass.contexts.workflows.runs.outcome import Outcome
from windlass.contexts.workflows.runs.plan import Planned
from windlass.engine.api import recorded
from windlass.engine.branches import gather

MOST_AT_ONCE = 50


def branch_path(place: int, step_id: str) -> str:
    """Return where the journal keeps the one call of a graph's step, the ``place``-th of the definition from 0."""
    return f"g1.{place}/{step_id}#1"


class Graph:
    """One run of a graph.

    A step waits for what it depends on, and for whoever may choose it: the steps whose ``on_failure``, ``on_timeout``
    or branch it is. It runs when one of its dependencies succeeded or one of its choosers chose it, and is skipped when
    none did. Its templates see the steps it waited for, and what these waited for: the same in every replay.
    """

    def __init__(self, run: Carrier) -> None:
        self._run = run
        self._latches = {planned.step.id: Latch() for planned in run.plan.steps}
        self._outcomes: dict[str, Outcome] = {}
        self._chosen: dict[str, str | None] = {}
        self._needs = {planned.step.id: list(planned.step.depends_on) for planned in run.plan.steps}
        self._choosers: dict[str, list[str]] = {planned.step.id: [] for planned in run.plan.steps}
        for planned in run.plan.steps:
            step = planned.step
            if step.on_success is not None:
                self._needs[step.on_success].append(step.id)
            for target in self._choices(planned):
                self._choosers[target].append(step.id)
        self._before: dict[str, list[str]] = {}
        self._base = dict(run.names)

    @staticmethod
    def _choices(planned: Planned) -> list[str]:
        step = planned.step
        found = [step.on_failure, step.on_timeout]
        if step.type == "branch":
            found += [step.config.get("true_next"), step.config.get("false_next")]
        return [target for target in found if target is not None]

    async def run(self) -> Any:
        """Run every step in its time; the outputs are those of the steps that nobody waits for."""
        await gather(*(self._node(planned) for planned in self._run.plan.steps), limit=MOST_AT_ONCE)
        ids = [planned.step.id for planned in self._run.plan.steps]
        waited = {need for step_id in ids for need in (*self._needs[step_id], *self._choosers[step_id])}
        ends = [step_id for step_id in ids if step_id not in waited and not self._outcomes[step_id].skipped]
        if len(ends) == 1:
            return self._outcomes[ends[0]].outputs
        return {step_id: self._outcomes[step_id].outputs for step_id in ends}

    async def _node(self, planned: Planned) -> None:
        step_id = planned.step.id
        needs, choosers = self._needs[step_id], self._choosers[step_id]
        taken = self._run.seeded.get(step_id)
        if taken is not None:
            self._outcomes[step_id], self._chosen[step_id] = taken, self._choice(planned, taken)
            self._latches[step_id].set()
            return
        for other in (*needs, *choosers):
            await self._latches[other].wait()
        if self._wanted(needs, choosers, step_id):
            outcome = await self._run.perform(planned, self._names(step_id))
        else:
            recorded(step_id, lambda _run: {"status": "skipped", "type": planned.step.type})
            outcome = Outcome({}, skipped=True)
        self._outcomes[step_id] = outcome
        self._chosen[step_id] = self._choice(planned, outcome)
        self._run.keep(planned, outcome, self._run.names)
        self._latches[step_id].set()

    def _choice(self, planned: Planned, outcome: Outcome) -> str | None:
        if outcome.failure is not None or planned.step.type != "branch":
            return self._run.after(planned, outcome) if outcome.failure is not None else None
        target = outcome.outputs.get("__next__")
        return target if isinstance(target, str) else None

    def _wanted(self, needs: list[str], choosers: list[str], step_id: str) -> bool:
        if not needs and not choosers:
            return True
        if any(self._chosen[other] == step_id for other in choosers):
            return True
        return any(self._outcomes[other].succeeded for other in needs)

    def _names(self, step_id: str) -> dict[str, Any]:
        """Return what a step's templates see; ``last`` is what came out of the first it waited for that ran."""
        names = {**self._base, "steps": {}}
        for other in self._ancestors(step_id):
            self._run.show(other, self._outcomes[other], names)
        direct = [*self._needs[step_id], *self._choosers[step_id]]
        ran = [self._outcomes[other].outputs for other in direct if not self._outcomes[other].skipped]
        last: Mapping[str, Any] = ran[0] if ran else {}
        return {**names, "last": last, "prev": last}

    def _ancestors(self, step_id: str) -> list[str]:
        known = self._before.get(step_id)
        if known is None:
            found: dict[str, None] = {}
            for other in (*self._needs[step_id], *self._choosers[step_id]):
                found |= dict.fromkeys((*self._ancestors(other), other))
            known = self._before[step_id] = list(found)
        return known
