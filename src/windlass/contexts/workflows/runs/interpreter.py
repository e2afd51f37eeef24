"""Carrying a definition out: which step comes next, what its templates see, what happens when it fails.

Everything that has an effect or may differ from one time to the next is a step, a timer, a signal or a child of the
engine; what is left here is computed from their outcomes, so that a replay goes the same way.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from windlass.contexts.workflows.model import END, Repeat
from windlass.contexts.workflows.runs.carrier import Names
from windlass.contexts.workflows.runs.controls import CONTROLS, fail
from windlass.contexts.workflows.runs.failures import DefinitionFailed, reason
from windlass.contexts.workflows.runs.forks import Seed
from windlass.contexts.workflows.runs.graph import Graph, branch_path
from windlass.contexts.workflows.runs.kit import Facts, Kit
from windlass.contexts.workflows.runs.outcome import RESERVED, Outcome
from windlass.contexts.workflows.runs.plan import FRAME, Frame, Plan, Planned
from windlass.contexts.workflows.steptypes.base import StepFailure
from windlass.contexts.workflows.templates import condition
from windlass.engine.api import recorded
from windlass.engine.compensation import journal
from windlass.engine.errors import StepFailed
from windlass.engine.run import Run
from windlass.engine.scope import current_scope

VISITS_PER_STEP = 10
"""How often steps may be visited, on average, before a run is taken to go in circles."""


class Interpreter:
    """One run of a definition.

    Args:
        plan: the definition, ready to run.
        facts: whose run it is.
        inputs: its inputs, checked and with their defaults.
        kit: what the surroundings lend.
        seed: what a fork takes over.
    """

    def __init__(self, plan: Plan, facts: Facts, inputs: Mapping[str, Any], kit: Kit, seed: Seed | None = None) -> None:
        self.plan = plan
        self.facts = facts
        self.kit = kit
        self.done: list[Planned] = []
        self.names: Names = {
            "inputs": inputs,
            "last": {},
            "prev": {},
            "steps": {},
            "tenant_id": facts.tenant_id,
            "user_id": facts.user_id,
            "run_id": facts.run_id,
            "workflow_metadata": plan.definition.metadata,
        }
        self.seeded: dict[str, Outcome] = {}
        self._start = 0
        if seed is not None:
            self._start = plan.places[seed.start]
            for step_id, outputs in seed.outputs:
                self.seeded[step_id] = outcome = Outcome(outputs)
                self.names["prev"], self.names["last"] = self.names["last"], outputs
                self.show(step_id, outcome, self.names)

    # the whole
    async def run(self) -> Any:
        """Carry the definition out and return the outputs of its last step.

        Raises:
            DefinitionFailed: a step failed and nothing was there to go on with.
        """
        try:
            outputs = await (self._graph() if self.plan.is_graph else self._chain())
            self._check_outputs(outputs)
        except DefinitionFailed as failed:
            undone = await self._compensate()
            if undone is None:
                raise
            message = f"{failed}{undone}"
            raise DefinitionFailed(message, compensated=True) from failed.__cause__
        return outputs

    async def _graph(self) -> Any:
        return await Graph(self).run()

    async def _chain(self) -> Any:
        steps, place, visits = self.plan.steps, self._start, 0
        most = max(1, VISITS_PER_STEP * len(steps))
        outputs: Any = {}
        while place < len(steps):
            visits += 1
            if visits > most:
                raise DefinitionFailed(f"branch_loop_exceeded: more than {most} steps were visited")
            planned = steps[place]
            outcome = await self.perform(planned, self.names)
            target = self.after(planned, outcome)
            if outcome.skipped:
                self.show(planned.step.id, outcome, self.names)
            else:
                outputs = outcome.outputs
                self.see(planned, outcome)
            if target == END:
                break
            place = place + 1 if target is None else self._place(planned, target)
        return outputs

    def _place(self, planned: Planned, target: str) -> int:
        place = self.plan.places.get(target)
        if place is None:
            raise DefinitionFailed(f"unknown_target: step {planned.step.id} goes on at {target}, which is no step")
        return place

    def after(self, planned: Planned, outcome: Outcome) -> str | None:
        """Return where to go after a step; None is the next in the list.

        Raises:
            DefinitionFailed: it failed and says nothing about that.
        """
        step = planned.step
        if outcome.failure is None:
            steered = outcome.outputs.get("__next__")
            return steered if isinstance(steered, str) else None if outcome.skipped else step.on_success
        target = (step.on_timeout if outcome.timed_out else None) or step.on_failure
        if target is None:
            raise DefinitionFailed(outcome.failure) from outcome.error
        return target

    def see(self, planned: Planned, outcome: Outcome) -> None:
        """Let later templates see what has become of a step."""
        names = self.names
        names["prev"], names["last"] = names["last"], outcome.outputs
        self.keep(planned, outcome, names)

    def keep(self, planned: Planned, outcome: Outcome, names: Names) -> None:
        """Put a step's outputs under its name; note that it may have to be undone."""
        step_id = planned.step.id
        self.show(step_id, outcome, names)
        if outcome.succeeded and step_id in self.plan.undo:
            self.done.append(planned)

    @staticmethod
    def show(step_id: str, outcome: Outcome, names: Names) -> None:
        """Put a step's outputs under its name."""
        status = "skipped" if outcome.skipped else "failed" if outcome.failure else "succeeded"
        names["steps"] = {**names["steps"], step_id: {"outputs": outcome.outputs, "status": status}}
        if step_id not in RESERVED:
            names[step_id] = outcome.outputs

    # one step
    def perform(self, planned: Planned, names: Names) -> Coroutine[Any, Any, Outcome]:
        """Carry one step out, with its condition and its loop."""
        step = planned.step
        plain = step.when is None and step.repeat is None and planned.type.name not in CONTROLS
        return self._plain(planned, names) if plain else self._with_all(planned, names)

    async def _with_all(self, planned: Planned, names: Names) -> Outcome:
        step = planned.step
        try:
            if step.when is not None and not condition(step.when, names, field=f"{step.id}.when"):
                recorded(step.id, lambda _run: {"status": "skipped", "type": step.type})
                return Outcome({}, skipped=True)
            if step.repeat is not None:
                return await self._repeated(planned, step.repeat, names)
            return await self.once(planned, names)
        except StepFailure as failure:
            return await _unmet(planned, failure)

    async def _repeated(self, planned: Planned, repeat: Repeat, names: Names) -> Outcome:
        seen = dict(names)
        for iteration in range(1, repeat.most + 1):
            seen["iteration"] = iteration
            outcome = await self.once(planned, seen)
            if outcome.failure is not None:
                return outcome
            seen["last"] = seen[planned.step.id] = outcome.outputs
            field = f"{planned.step.id}.repeat"
            again = repeat.while_ is not None and condition(repeat.while_, seen, field=f"{field}.while")
            if repeat.until is not None:
                again = not condition(repeat.until, seen, field=f"{field}.until")
            if not again:
                return outcome
        text = f"{planned.step.id} was repeated {repeat.most} times and is to be repeated again"
        raise StepFailure("loop_limit_reached", text, retryable=False)

    async def once(self, planned: Planned, names: Names) -> Outcome:
        """Carry one step out once: its attempts, and nothing around them."""
        control = CONTROLS.get(planned.type.name)
        try:
            return await (self._plain(planned, names) if control is None else control(self, planned, names))
        except StepFailed as failed:
            return _failed(reason(failed), failed)

    async def _plain(self, planned: Planned, names: Names) -> Outcome:
        """Carry out what is nothing but a step of the engine."""
        token = FRAME.set(Frame(planned, names, self))
        try:
            return Outcome(await planned.call())
        except StepFailed as failed:
            return _failed(reason(failed), failed)
        finally:
            FRAME.reset(token)

    async def call(self, planned: Planned, names: Mapping[str, Any]) -> Any:
        """Carry out a step inside a step: an engine step, or the one control that may stand there, ``delay``.

        Raises:
            StepFailed: no attempt succeeded.
        """
        control = CONTROLS.get(planned.type.name)
        if control is not None:
            return (await control(self, planned, names)).outputs
        token = FRAME.set(Frame(planned, names, self))
        try:
            return await planned.call()
        finally:
            FRAME.reset(token)

    # the end
    def _check_outputs(self, outputs: Any) -> None:
        schema = self.plan.definition.outputs
        if schema is not None:
            complaint = self.kit.check_schema(schema, outputs)
            if complaint is not None:
                raise DefinitionFailed(f"validation_error: outputs: {complaint}")

    async def _compensate(self) -> str | None:
        """Undo what had succeeded, last first; returns what is to be said of it, or None if there was nothing."""
        scope = current_scope("compensation")
        begun = scope.peek("compensation") is not None
        found = [] if begun else await self._to_undo(scope.run)
        if not begun and not found:
            return None  # nothing is recorded: a retry goes on where this run has failed
        todo = recorded("compensation", lambda _run: found)
        for step_id, outputs in todo:
            self.show(step_id, Outcome(outputs), self.names)
        open_: list[str] = []
        for step_id, outputs in todo:
            outcome = await self.once(self.plan.undo[step_id], {**self.names, step_id: outputs, "last": outputs})
            if outcome.failure is not None:
                open_.append(f"{step_id} ({outcome.failure})")
        return f"; compensation failed, a person must see to: {', '.join(open_)}" if open_ else ""

    async def _to_undo(self, run: Run) -> list[list[Any]]:
        """Return ids and outputs of what had succeeded, last first.

        A replay of branches that a failure stopped need not get as far as they had got, so those steps of a graph that
        were not seen to succeed are looked for in the journal: none that was seen came after them.
        """
        steps = self.names["steps"]
        seen = [[planned.step.id, steps[planned.step.id]["outputs"]] for planned in reversed(self.done)]
        missed = self.plan.undo.keys() - {step_id for step_id, _ in seen}
        if not missed or not self.plan.definition.is_graph:
            return seen
        calls = (await journal(run)).calls
        found = []
        for place, planned in enumerate(self.plan.steps):
            call = calls.get(branch_path(place, planned.step.id)) if planned.step.id in missed else None
            if call is not None and call.settled == "step_completed" and planned.step.repeat is None:
                found.append((call.seq, planned.step.id, (call.data or {})["output"]))
        return [[step_id, outputs] for _, step_id, outputs in sorted(found, reverse=True)] + seen


async def _unmet(planned: Planned, failure: StepFailure) -> Outcome:
    """Return how a step ended whose condition could not be told, or that went round too often."""
    try:
        await fail(planned, failure)
    except StepFailed as failed:
        return _failed(reason(failed), failed)
    raise AssertionError("it has raised")


def _failed(text: str, error: Exception | None) -> Outcome:
    return Outcome({"__status__": "failed", "error": text}, failure=text, error=error)
