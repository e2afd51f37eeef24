"""Run the work of a step as the interpreter does."""

from collections.abc import Callable, Mapping
from typing import Any

from windlass.contexts.workflows import templates
from windlass.contexts.workflows.steptypes.base import StepContext, Tools
from windlass.contexts.workflows.steptypes.registry import StepTypes

TYPES = StepTypes()


def context(
    names: Mapping[str, Any] | None = None, tools: Tools | None = None, secrets: Mapping[str, str] | None = None
) -> StepContext:
    """Where a step runs."""
    return StepContext(
        run_id="run",
        step_id="step",
        attempt=1,
        tenant_id="default",
        user_id="ann",
        idempotency_key="run:step",
        names=names if names is not None else templates.scope(inputs={}, outputs={}, last={}),
        secrets=secrets or {},
        tools=tools or Tools(),
    )


async def outputs(
    name: str, config: Mapping[str, Any], names: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Check, prepare, resolve, work."""
    assert TYPES.check(name, config) == []
    where = context(names, **more)
    work: Callable[..., Any] | None = TYPES.of(name).work
    assert work is not None
    found = await work(TYPES.prepare(name, config).resolve(where.names), where)
    assert found.keys() <= TYPES.of(name).outputs.keys() or "…" in TYPES.of(name).outputs
    assert isinstance(found, dict)
    return found
