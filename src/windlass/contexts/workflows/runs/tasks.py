"""The one workflow that carries every definition out, and what its steps do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import Any

import orjson

from windlass.contexts.workflows.model import read
from windlass.contexts.workflows.redaction import redact, redact_text
from windlass.contexts.workflows.runs.failures import DefinitionFailed, attempt_failed
from windlass.contexts.workflows.runs.forks import Seed
from windlass.contexts.workflows.runs.interpreter import Interpreter
from windlass.contexts.workflows.runs.kit import Callee, Facts, Kit
from windlass.contexts.workflows.runs.plan import ATTEMPT_SECONDS, FRAME, Frame, Plan, Planner, Rules
from windlass.contexts.workflows.steptypes.base import StepContext, StepFailure
from windlass.contexts.workflows.steptypes.threads import counted
from windlass.contexts.workflows.templates import condition
from windlass.engine.api import call_child
from windlass.engine.errors import Withheld
from windlass.engine.registry import Registry
from windlass.engine.scope import current_scope
from windlass.engine.step import step
from windlass.engine.workflow import Workflow, workflow
from windlass.kernel.spans import TRACEPARENT, Spans
from windlass.kernel.stepping import step_info

RUN = "workflows.run"
QUEUE = "workflows"
PLANS_KEPT = 256

Load = Callable[[str], Awaitable[Mapping[str, Any]]]
"""Returns the document of a digest."""


class Plans:
    """Definitions made ready to run, the last used ones kept."""

    def __init__(self, load: Load, planner: Planner) -> None:
        self._load = load
        self._planner = planner
        self._kept: OrderedDict[str, Plan] = OrderedDict()

    async def get(self, digest: str) -> Plan:
        """Return the plan of a document."""
        plan = self._kept.get(digest)
        if plan is None:
            plan = self._kept[digest] = Plan(read(await self._load(digest)), self._planner)
            if len(self._kept) > PLANS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(digest)
        return plan


def define(registry: Registry, kit: Kit, load: Load, rules: Rules) -> Workflow[..., Any]:
    """Define the workflow in a registry."""
    plans = Plans(load, Planner(kit.types, _executor(kit), rules))

    @workflow(name=RUN, queue=QUEUE, registry=registry)
    async def run(
        digest: str,
        inputs: dict[str, Any],
        secrets: list[str],
        callers: list[int],
        seed: dict[str, Any] | None = None,
    ) -> Any:
        """Carry the definition of a digest out; ``seed`` is what a fork takes over."""
        held = current_scope(RUN).run
        claimed = held.claimed
        said = orjson.loads(claimed.attributes) if kit.spans.enabled or TRACEPARENT in claimed.attributes else {}
        trace = said.get(TRACEPARENT)
        facts = Facts(held.run_id, claimed.tenant_id, claimed.owner, tuple(secrets), tuple(callers), trace)
        taken = None if seed is None else Seed.unpacked(seed)
        interpreter = Interpreter(await plans.get(digest), facts, inputs, kit, taken)
        told: dict[str, str | bool] = {
            "run_id": facts.run_id,
            "mode": said.get("mode", "child"),
            "workflows.run.resumed": held.replaying,
        }
        with kit.spans.span("workflows.run", told, parent=trace):
            if not secrets:
                return await interpreter.run()
            try:
                outputs = await interpreter.run()
            except DefinitionFailed:
                await forget()
                raise
            await forget()
            return outputs

    @step(name="forget_secrets")
    async def forget() -> None:
        await kit.forget(step_info().run_id)

    return run


async def call(run: Workflow[..., Any], facts: Facts, callee: Callee) -> Any:
    """Run a saved definition as a child of the current run and return its outputs."""
    callers = [*facts.callers, callee.workflow_id]
    given = [callee.digest, dict(callee.inputs), [], callers]
    told = orjson.dumps(callee.attributes).decode()
    return await call_child(run, given, {}, lane=callee.lane, workflow_id=callee.workflow_id, attributes=told)


def _executor(kit: Kit) -> Callable[[], Awaitable[Any]]:
    async def execute() -> Any:
        """Carry out the attempt of a step that ``FRAME`` names."""
        frame = FRAME.get()
        if not kit.spans.enabled:
            return await attempt(frame)
        with ExitStack() as spans:
            _open(kit.spans, spans, frame)
            return await attempt(frame)

    async def attempt(frame: Frame) -> Any:
        secrets: Mapping[str, str] = {}
        if frame.run.facts.secrets and frame.planned.wants_secrets:
            known = await kit.secrets(frame.run.facts.run_id)
            if known is None:
                raise Withheld("secret_missing")
            secrets = known
        try:
            return redact(await _work(kit, frame, secrets), secrets)
        except StepFailure as failure:
            told = StepFailure(failure.code, redact_text(failure.message, secrets), retryable=failure.retryable)
            raise attempt_failed(told) from (failure if not secrets else None)

    return execute


def _open(spans: Spans, stack: ExitStack, frame: Frame) -> None:
    """Open the spans of an attempt: of its item in a ``map``, of itself, and of a ``branch``."""
    step, run_id = frame.planned.step, frame.run.facts.run_id
    of = {"run_id": run_id, "step_id": step.id}
    if "index" in frame.names:
        stack.enter_context(spans.span("workflows.map.item", {**of, "index": frame.names["index"]}))
    limit = step.timeout_seconds or ATTEMPT_SECONDS
    more: dict[str, str | float] = {
        "type": step.type,
        "attempt": step_info().attempt,
        "workflows.step.timeout_seconds": limit,
    }
    stack.enter_context(spans.span("workflows.step", {**of, **more}))
    spans.event("step_started", {"step_id": step.id, "type": step.type})
    if step.type == "branch":
        stack.enter_context(spans.span("workflows.branch", of))


async def _work(kit: Kit, frame: Frame, secrets: Mapping[str, str]) -> Any:
    planned = frame.planned
    names = {**frame.names, "secrets": secrets} if secrets else frame.names
    if planned.type.name == "branch":
        taken = condition(str(planned.step.config["condition"]), names, field="config.condition")
        target = planned.step.config.get("true_next" if taken else "false_next")
        return {"branch": "true" if taken else "false"} | ({} if target is None else {"__next__": target})
    config = planned.config.ready
    if config is None:
        config = await counted(lambda work: planned.config.resolve(names, work))
    if planned.type.work is None:
        raise StepFailure("unsupported_step", f"{planned.type.name} cannot stand here", retryable=False)
    facts, info = frame.run.facts, step_info()
    return await planned.type.work(
        config,
        StepContext(
            run_id=facts.run_id,
            step_id=planned.step.id,
            attempt=info.attempt,
            tenant_id=facts.tenant_id,
            user_id=facts.user_id,
            idempotency_key=info.idempotency_key,
            names=names,
            secrets=secrets,
            tools=kit.tools,
            traceparent=facts.traceparent,
        ),
    )
