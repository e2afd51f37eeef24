"""From what a caller says of a run to the request that starts it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from windlass.engine.errors import UnknownWorkflow
from windlass.engine.registry import Definition, Registry, check_name, check_text
from windlass.engine.types import NewRun, StartRequest
from windlass.kernel.checks import LONGEST_SECONDS, check_moment, check_number, check_priority
from windlass.kernel.clock import SECOND
from windlass.kernel.errors import Invalid
from windlass.kernel.ids import new_id
from windlass.kernel.lanes import LaneRules, ageing_of
from windlass.kernel.versions import UNBOUND
from windlass.values.codec import encode

KEY_SECONDS = 24 * 3600


@dataclass(slots=True)
class Start:
    """A run that somebody wants; see ``Engine.start_run`` for the options.

    ``on_end`` names a workflow that is started with ``run_id`` and ``status`` in the transaction in which the run
    ends, however it does. ``workflow_id`` is the saved definition it carries out. ``fingerprint`` stands for the
    input when a repeated idempotency key is compared, where the input itself is not what the caller said. ``lane``
    binds the run to limits; see ``lanes.lane_of``.
    """

    workflow: Definition | str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    idempotency_key: str | None = None
    key_seconds: float = KEY_SECONDS
    delay: float | None = None
    at: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    key: str | None = None
    tenant_id: str = "default"
    owner: str | None = None
    attributes: Mapping[str, Any] | None = None
    on_end: str | None = None
    workflow_id: int | None = None
    fingerprint: str | None = None
    lane: str = ""

    def with_input(self, **more: Any) -> Start:
        """Return this start with more input by name."""
        return replace(self, kwargs={**self.kwargs, **more})

    def under(self, run_id: str) -> Start:
        """Return this start under an id of the caller's own."""
        return replace(self, run_id=run_id, idempotency_key=None)


def request(start: Start, registry: Registry, now: int, rules: LaneRules) -> StartRequest:
    """Return the request for a run, with every option checked.

    Args:
        start: what is wanted.
        registry: the workflows that are known here.
        now: microseconds.
        rules: what waiting is worth in lanes.

    Raises:
        UnknownWorkflow: nothing has this name here, and the input is not given by name.
        NotSerializable, Invalid: the input or an option does not fit; names it.
    """
    known = _known(start.workflow, registry)
    name = known.name if known is not None else check_name(str(start.workflow))
    inputs = _inputs(start, known, name)
    for label, text in (
        ("run_id", start.run_id), ("tenant_id", start.tenant_id), ("owner", start.owner), ("key", start.key),
    ):  # fmt: skip
        if text is not None:
            check_text(label, text)
    run = NewRun(
        start.run_id or new_id(),
        name,
        inputs,
        now,
        queue=check_name(start.queue) if start.queue is not None else known.queue if known is not None else "default",
        priority=_priority(start, known),
        tenant_id=start.tenant_id,
        owner=start.owner,
        key=start.key,
        attributes=encode(dict(start.attributes), "attributes") if start.attributes else "{}",
        interface_version=known.version if known is not None else UNBOUND,
        workflow_id=start.workflow_id,
        on_end=None if start.on_end is None else check_name(start.on_end),
        wake_at=_wake_at(now, start.delay, start.at),
        lane=start.lane,
    )
    if run.lane:
        run.ageing = ageing_of(run.priority, rules.ageing)
    if start.idempotency_key is None:
        return StartRequest(run, own_id=start.run_id is not None, rules=rules)
    if start.run_id is not None:
        raise Invalid("give run_id or idempotency_key, not both", field="idempotency_key")
    check_text("idempotency_key", start.idempotency_key)
    check_number("key_seconds", start.key_seconds, 0, LONGEST_SECONDS)
    said = inputs if start.fingerprint is None else start.fingerprint
    digest = hashlib.sha256(f"{name}\n{said}".encode()).hexdigest()
    return StartRequest(run, start.idempotency_key, digest, now + int(start.key_seconds * SECOND), rules=rules)


def _known(workflow: Definition | str, registry: Registry) -> Definition | None:
    if isinstance(workflow, Definition):
        if not registry.knows(workflow.code):
            raise UnknownWorkflow(f"workflow {workflow.code!r} is not registered with this engine")
        return workflow
    return registry.get(workflow) if workflow in registry else None


def _inputs(start: Start, known: Definition | None, name: str) -> str:
    if known is not None:
        return known.signature.pack(start.args, start.kwargs, f"input of {name}")
    if start.args:
        raise UnknownWorkflow(f"no workflow {name!r} is registered here: give its input by name", workflow=name)
    return encode(dict(start.kwargs), f"input of {name}")


def _priority(start: Start, known: Definition | None) -> int:
    if start.priority is not None:
        return check_priority(start.priority)
    return known.priority if known is not None else 0


def _wake_at(now: int, delay: float | None, at: datetime | None) -> int | None:
    if delay is not None and at is not None:
        raise Invalid("give delay or at, not both", field="delay")
    if at is not None:
        due = check_moment("at", at)
    elif delay is not None:
        due = now + int(check_number("delay", delay, 0, LONGEST_SECONDS) * SECOND)
    else:
        return None
    return due if due > now else None
