"""The control family: what steers a run. Those without ``work`` are carried out by the interpreter, durably."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from windlass.contexts.people.api import MOST_ASSIGNEES, check_form
from windlass.contexts.workflows import templates
from windlass.contexts.workflows.redaction import redact, redact_text
from windlass.contexts.workflows.steptypes import fields, pii
from windlass.contexts.workflows.steptypes.base import Capabilities, StepContext, StepFailure, StepType, save
from windlass.contexts.workflows.steptypes.threads import apart, counted
from windlass.kernel.checks import LONGEST_SECONDS
from windlass.kernel.errors import Invalid

STANDARD = Capabilities(replay_safe=True, idempotency_strategy="run_scoped")
MINIMAL = replace(STANDARD, evidence_level="minimal")
LEVELS = ("debug", "info", "warning", "error", "critical")
MOST_MESSAGE = 65_536
MOST_MAPPED = 10_000
"""How many items a ``map`` takes: each is a step of its own in the run's history."""
LONGEST_WAIT = fields.number("Seconds until it times out; none is for ever", 0.001, LONGEST_SECONDS)
TARGET = fields.text("Id of the step that follows, or _end", least=1, most=100)


async def prompt(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Render a template."""
    text = config.get("template", config.get("prompt", ""))
    field = "config.template" if "template" in config else "config.prompt"
    names = {**context.names, **config.get("variables", {})}
    made = await counted(lambda work: templates.render(text, names, field=field, work=work))
    if not config["save_artifact"]:
        return {"text": made}
    content = redact_text(made, context.secrets).encode()
    saved = await save(context.tools, f"{context.step_id}.txt", content, mime="text/plain", kind="prompt")
    return {"text": made, "artifact_id": saved}


async def log(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Write a message to the server's log."""
    message = pii.without_secrets(config["message"], context.secrets)
    if context.tools.redact_logs:
        message = await apart(len(message), pii.redact, message)
    context.tools.log(config["level"], message, context)
    return {"logged": True, "level": config["level"], "message": message}


async def batch(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Cut a list into chunks."""
    items, size = config["items"], config["batch_size"]
    batches = [items[at : at + size] for at in range(0, len(items), size)]
    return {"batches": batches, "batch_count": len(batches), "batch_size": size, "total_items": len(items)}


async def cache_result(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Get, set or forget a value kept for later runs of the tenant."""
    cache, key, action = context.tools.cache, config["key"], config["action"]
    if cache is None:
        raise StepFailure("unsupported", "nothing keeps results here", retryable=False)
    if action == "invalidate":
        return {"key": key, "invalidated": await cache.drop(context.tenant_id, key)}
    if action == "set" and "data" not in config:
        raise StepFailure("validation_error", "config.data is needed to set a value", retryable=False)
    found = await cache.get(context.tenant_id, key) if action != "set" else None
    if found is None and action != "get" and "data" in config:
        data = redact(config["data"], context.secrets)
        found = await cache.put(context.tenant_id, key, data, config["ttl_seconds"], replace=action == "set")
    if found is None:
        return {"key": key, "cached": False, "stored": False, "data": None}
    age = {} if found.stored else {"age_seconds": found.age}
    return {"key": key, "cached": not found.stored, "stored": found.stored, "data": found.value, **age}


def _person(instructions: str, **more: fields.Schema) -> fields.Schema:
    person = {"type": ["string", "integer"], "minLength": 1, "maxLength": 255, "pattern": r"\S"}
    assigned = {
        **person,
        "type": ["string", "integer", "array"],
        "minItems": 1,
        "maxItems": MOST_ASSIGNEES,
        "items": person,
        "description": "Who decides, by user name or id, or several; role:user and role:admin are everybody of a role",
    }
    return fields.config(
        {
            "assigned_to_user_id": assigned,
            "instructions": fields.text(instructions, most=16_384),
            **more,
            "timeout_seconds": LONGEST_WAIT,
            "quorum": fields.whole(
                "How many different people have to approve; one unless it says more", 1, MOST_ASSIGNEES
            ),
            "reminder": fields.number("Seconds between reminders; without it there are none", 1, LONGEST_SECONDS),
        },
        required=["assigned_to_user_id"],
    )


def _form(schema: Mapping[str, Any]) -> None:
    try:
        check_form(schema)
    except Invalid as error:
        raise StepFailure("validation_error", f"config.form_schema: {error.message}", retryable=False) from None


_FORM = {"form_schema": _form}
_DECISION = {
    "decision": "approved or rejected",
    "comment": "what the person wrote",
    "assigned_to": "who was asked",
    "decided_by": "who decided, in order",
}
_PEOPLE = (
    StepType(
        name="wait_for_human",
        description="Wait until a person has looked at it, who may edit fields",
        schema=_person(
            "What the person is to do", form_schema=fields.mapping("JSON Schema of the fields that may be edited")
        ),
        example={"assigned_to_user_id": "ann", "instructions": "Is {{ last.text }} right?", "timeout_seconds": 86400},
        outputs={**_DECISION, "…": "and each edited field"},
        compiled=_FORM,
    ),
    StepType(
        name="wait_for_approval",
        description="Wait until a person says yes or no",
        schema=_person("What is to be decided", form_schema=fields.mapping("JSON Schema of what an approval says")),
        example={"assigned_to_user_id": "{{ inputs.boss }}", "instructions": "Pay {{ inputs.amount }}?"},
        outputs={**_DECISION, "…": "and each edited field"},
        compiled=_FORM,
    ),
)
_FLOW = (
    StepType(
        name="branch",
        description="Go on at one step or another",
        schema=fields.config(
            {
                "condition": fields.text("True when it renders to 1, true, yes, y or on", most=8_192),
                "true_next": TARGET,
                "false_next": TARGET,
            },
            required=["condition"],
        ),
        example={"condition": "{{ inputs.amount > 100 }}", "true_next": "approve", "false_next": "pay"},
        capabilities=STANDARD,
        raw=frozenset(["condition"]),
        outputs={"branch": "true or false, as text"},
    ),
    StepType(
        name="map",
        description="Do a step for every item of a list, each durable by itself",
        schema=fields.config(
            {
                "items": fields.listing("The items; each is called item in the step's templates", most=MOST_MAPPED),
                "step": fields.SUB_STEP,
                "concurrency": fields.whole("How many at once", 1, 1_000, default=4),
            },
            required=["items", "step"],
        ),
        example={"items": "{{ inputs.names }}", "step": {"type": "log", "config": {"message": "Item {{ item }}"}}},
        raw=frozenset(["step"]),
        outputs={"results": "the outputs of each item, in order", "count": "how many"},
    ),
    StepType(
        name="parallel",
        description="Do several steps at once, each durable by itself",
        schema=fields.config(
            {
                "steps": fields.listing("The steps", fields.SUB_STEP, most=50, minItems=1),
                "fail_fast": fields.flag("Whether the first failure stops the others", default=False),
                "max_concurrency": fields.whole("How many at once", 1, 50, default=5),
            },
            required=["steps"],
        ),
        example={
            "steps": [
                {"id": "a", "type": "prompt", "config": {"template": "A"}},
                {"id": "b", "type": "prompt", "config": {"template": "B"}},
            ]
        },
        raw=frozenset(["steps"]),
        outputs={
            "results": "the outputs of each step, in order; null for one that failed",
            "errors": "what failed, and why",
            "count": "how many succeeded",
        },
    ),
    StepType(
        name="workflow_call",
        description="Start another saved workflow",
        schema=fields.config(
            {
                "workflow_id": fields.whole("Which: the id of a version", 1, 2**63 - 1),
                "workflow_name": fields.text(
                    "Which of the run's owner, by the name that it has when the step runs", least=1, most=255
                ),
                "version": fields.whole("Which version of that name; without it the current one", 1, 2**31 - 1),
                "wait": fields.flag("Whether to wait for its end", default=True),
                "inputs": fields.mapping("Its inputs", default={}),
                "timeout_seconds": fields.number("Seconds to wait", 0.001, LONGEST_SECONDS, default=300),
            },
            **fields.either("workflow_id", "workflow_name"),
            dependentRequired={"version": ["workflow_name"]},
        ),
        example={"workflow_name": "greet", "inputs": {"name": "{{ inputs.name }}"}},
        outputs={
            "run_id": "of the other run",
            "status": "of it",
            "outputs": "its outputs",
            "result": "the same",
            "async": "true when it was not waited for",
        },
    ),
    StepType(
        name="retry",
        description="Do a step again and again until it succeeds, with pauses of its own",
        schema=fields.config(
            {
                "step_type": fields.text("The type of the step", least=1, most=100),
                "step_config": fields.mapping("Its config", default={}),
                "retry_on_errors": fields.listing(
                    "Error codes, or parts of messages, worth another attempt; none is all",
                    fields.text("A code", least=1, most=200),
                    most=50,
                ),
                "max_retries": fields.whole("Attempts after the first", 0, 100, default=3),
                "backoff_base": fields.number(
                    "Each pause is this times longer than the one before", 1, 100, default=2.0
                ),
                "backoff_max": fields.number("The longest pause, in seconds", 0, 86_400, default=30.0),
            },
            required=["step_type"],
        ),
        example={"step_type": "python", "step_config": {"function": "fetch"}, "max_retries": 5},
        raw=frozenset(["step_config"]),
        outputs={"result": "the step's outputs", "attempts": "how many it took", "success": "true"},
    ),
    StepType(
        name="checkpoint",
        description="Write data to the run's events and artifacts",
        schema=fields.config(
            {
                "data": fields.anything("What to write"),
                "checkpoint_id": fields.text("Its id; else one is made", least=1, most=200),
            }
        ),
        example={"checkpoint_id": "parsed", "data": "{{ last }}"},
        outputs={
            "checkpoint_id": "its id",
            "run_id": "of this run",
            "saved": "true",
            "artifact_id": "of the artifact that holds the data",
        },
    ),
    StepType(
        name="delay",
        description="Sleep; the run leaves memory and survives a restart",
        schema=fields.config(
            {"milliseconds": fields.whole("How long", 1, LONGEST_SECONDS * 1000)}, required=["milliseconds"]
        ),
        example={"milliseconds": 1000},
        capabilities=MINIMAL,
        mapable=True,
        outputs={"delayed_ms": "how long it was to be"},
    ),
)
_WORK = (
    StepType(
        name="prompt",
        description="Render a template to text",
        schema=fields.config(
            {
                "template": fields.text("The template"),
                "prompt": fields.text("The same, by its other name"),
                "variables": fields.mapping("Further names the template sees", default={}),
                "save_artifact": fields.flag("Whether the text becomes an artifact", default=False),
            },
            **fields.either("template", "prompt"),
        ),
        example={"template": "Hello {{ inputs.name }}"},
        work=prompt,
        capabilities=STANDARD,
        mapable=True,
        default_retry=1,
        raw=frozenset(["template", "prompt"]),
        outputs={"text": "the rendered text", "artifact_id": "of the artifact, where there is one"},
    ),
    StepType(
        name="log",
        description="Write a message to the server's log, without personal data",
        schema=fields.config(
            {
                "message": fields.text("The message", most=MOST_MESSAGE),
                "level": fields.choice("How loud", LEVELS, default="info"),
            },
            required=["message"],
        ),
        example={"message": "{{ inputs.name }} has come", "level": "info"},
        work=log,
        capabilities=MINIMAL,
        mapable=True,
        outputs={"logged": "true", "level": "its level", "message": "what was written"},
    ),
    StepType(
        name="batch",
        description="Cut a list into chunks",
        schema=fields.config(
            {
                "items": fields.listing("The list"),
                "batch_size": fields.whole("Items of a chunk", 1, fields.MOST_ITEMS, default=10),
            },
            required=["items"],
        ),
        example={"items": "{{ inputs.names }}", "batch_size": 2},
        work=batch,
        outputs={
            "batches": "the chunks",
            "batch_count": "how many",
            "batch_size": "as asked for",
            "total_items": "length of the list",
        },
    ),
)
_CACHE = StepType(
    name="cache_result",
    description="Keep a value for later runs of the tenant",
    schema=fields.config(
        {
            "key": fields.text("Under which key", least=1, most=255),
            "action": fields.choice("What to do", ["get_or_set", "get", "set", "invalidate"], default="get_or_set"),
            "data": fields.anything("The value to keep"),
            "ttl_seconds": fields.number("How long it stays", 1, 31_622_400, default=3600),
        },
        required=["key"],
    ),
    example={"key": "rates", "data": "{{ last.result }}"},
    work=cache_result,
    outputs={
        "data": "the value",
        "cached": "whether it was there",
        "age_seconds": "how old it is",
        "stored": "whether it was kept now",
        "invalidated": "whether there was one to forget",
        "key": "its key",
    },
)
CONTROL = (*_WORK, _CACHE, *_FLOW, *_PEOPLE)
