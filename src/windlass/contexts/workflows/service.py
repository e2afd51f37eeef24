"""Workflows written as documents, put together: definitions, their runs, and what these ask of other contexts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windlass.contexts.people.api import wait_for_decision
from windlass.contexts.webhooks.api import COMPLETE, Completion
from windlass.contexts.workflows import schemas
from windlass.contexts.workflows.concurrency import Concurrency
from windlass.contexts.workflows.definitions.catalogue import Registered
from windlass.contexts.workflows.definitions.service import Definitions
from windlass.contexts.workflows.model import read
from windlass.contexts.workflows.runs.kit import Callee, Facts, Kit, Question, Verdict
from windlass.contexts.workflows.runs.minting import Minter, Minting
from windlass.contexts.workflows.runs.orders import RunRules, Starting
from windlass.contexts.workflows.runs.service import Runs
from windlass.contexts.workflows.runs.snapshots import Snapshots
from windlass.contexts.workflows.runs.tasks import RUN
from windlass.contexts.workflows.runs.vault import Vault
from windlass.contexts.workflows.saved import ScheduledRuns, Shelf
from windlass.contexts.workflows.steptypes.base import StepFailure, Tools
from windlass.contexts.workflows.steptypes.registry import StepTypes
from windlass.contexts.workflows.trail import Audit, Trail
from windlass.engine.engine import Engine
from windlass.kernel.clock import from_iso
from windlass.kernel.errors import Invalid, ValidationFailed
from windlass.kernel.spans import NO_SPANS, TRACEPARENT, Spans


class Workflows:
    """Workflows of one database.

    Args:
        engine: carries their runs out.
        types: the step types.
        tools: what the surroundings lend to steps.
        vault: keeps the secrets of runs.
        rules: what the settings say of runs.
        audit: who hears of changes of definitions, and of what callers do with runs.
        spans: who traces runs and steps.
        starting: starts runs; None is the engine itself.
        mint: makes keys for runs of schedules; None where they get none.
    """

    def __init__(
        self,
        engine: Engine,
        types: StepTypes,
        tools: Tools,
        vault: Vault,
        rules: RunRules,
        audit: Audit | None = None,
        *,
        spans: Spans = NO_SPANS,
        starting: Starting | None = None,
        mint: Minter | None = None,
    ) -> None:
        self._engine = engine
        self._snapshots = Snapshots(engine)
        self.definitions = Definitions(engine, Registered(types), audit)
        shelf = Shelf(self.definitions, self._snapshots)
        trail = Trail(engine, audit)
        self.runs = Runs(engine, shelf, self._snapshots, vault, rules, COMPLETE, trail, starting=starting)
        self.scheduled = ScheduledRuns(engine, self.runs, mints=mint is not None)
        self.concurrency = Concurrency(engine)
        self.runs.define(
            Kit(
                types=types,
                check_schema=_complaint,
                secrets=vault.get if mint is None else Minting(engine, vault, mint).get,
                forget=vault.forget,
                tools=tools,
                ask=_ask,
                saved=shelf,
                start_detached=self.runs.start_detached,
                call=self._call,
                spans=spans,
            )
        )

    async def _call(self, facts: Facts, callee: Callee) -> Any:
        return await self.runs.call(facts, callee)

    async def describe_end(self, run_id: str) -> Completion | None:
        """Return the end of a run as its completion webhook tells it; None where nobody is to hear of it."""
        run = await self._engine.get_run(run_id)
        if run.name != RUN:
            return None
        definition = read(await self._snapshots.load(run.inputs["digest"]))
        webhook = definition.on_completion_webhook
        if webhook is None:
            return None
        took = None
        if run.started_at is not None and run.ended_at is not None:
            took = (from_iso(run.ended_at) - from_iso(run.started_at)) // 1000
        return Completion(
            url=webhook.url,
            run_id=run_id,
            status=run.status,
            tenant_id=run.tenant_id,
            workflow_id=run.workflow_id,
            workflow_name=definition.name,
            workflow_version=definition.version,
            user_id=run.owner,
            started_at=run.started_at,
            ended_at=run.ended_at,
            duration_ms=took,
            error=None if run.error is None else run.error.get("message"),
            outputs=run.outputs,
            include_outputs=webhook.include_outputs,
            traceparent=run.attributes.get(TRACEPARENT),
        )


async def _ask(facts: Facts, question: Question) -> Verdict:
    config = question.config
    given = config["assigned_to_user_id"]
    assigned = [str(one) for one in given] if isinstance(given, list) else str(given)
    try:
        decided = await wait_for_decision(
            kind=question.kind,
            step_id=question.step_id,
            assigned_to=assigned,
            instructions=config.get("instructions", ""),
            form_schema=config.get("form_schema"),
            timeout=config.get("timeout_seconds"),
            quorum=config.get("quorum", 1),
            reminder=config.get("reminder"),
            fail_on=question.fail_on,
        )
    except Invalid as error:
        raise StepFailure("validation_error", error.message, retryable=False) from error
    del facts
    outputs: dict[str, Any] = {**decided.edited_fields, "assigned_to": assigned, "decided_by": [*decided.decided_by]}
    if decided.comment is not None:
        outputs["comment"] = decided.comment
    return Verdict(decided.decision, outputs, timed_out=decided.decision == "timed_out")


def _complaint(schema: Mapping[str, Any], value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "an object is needed"
    try:
        schemas.checked(schema, value, ("outputs",))
    except ValidationFailed as error:
        return str(error)
    return None
