"""The format of a definition as one JSON Schema.

The structure is checked with it, editors complete with it, and the reference is written from it.
"""

from __future__ import annotations

from typing import Any

from windlass.contexts.workflows.definitions import limits

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ID_PATTERN = f"^[A-Za-z][A-Za-z0-9_-]{{0,{limits.LONGEST_ID - 1}}}$"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"
"""One line with something on it."""
URL_PATTERN = r"^https?://[^\s/?#@]+([/?#]\S*)?$"
"""An address without a user name, which would be a secret in a definition: nothing is sent to one that has it."""
RESERVED_IDS = frozenset({
    "inputs", "outputs", "last", "prev", "item", "steps", "secrets", "tenant_id", "user_id", "workflow_metadata",
    "workflow_mcp_policy", "loop", "self", "caller", "varargs", "kwargs", "true", "false", "none", "True", "False",
    "None", "and", "or", "not", "if", "else", "elif", "endif", "for", "endfor", "in", "is", "set", "range", "dict",
    "lipsum", "cycler", "joiner", "namespace",
})  # fmt: skip
"""Names that mean something else in a template."""

Schema = dict[str, Any]


def _object(properties: Schema, required: tuple[str, ...], description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _text(most: int, description: str, **more: Any) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": most, "description": description, **more}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _target(description: str) -> Schema:
    return {"type": ["string", "null"], "description": description}


_ID = _text(
    limits.LONGEST_ID,
    "Names the step: templates read its outputs as `{{ id.field }}` or `{{ steps.id.outputs.field }}`",
    pattern=ID_PATTERN,
)
_TYPE = _text(100, "What the step does: one of the step types")
_NAME = _or_null(_text(limits.LONGEST_NAME, "For people", pattern=TEXT_PATTERN))
_CONFIG: Schema = {
    "type": "object",
    "description": f"What the type needs, templates allowed; at most {limits.MOST_CONFIG_BYTES} bytes of compact JSON",
}
_RETRY: Schema = {
    "type": ["integer", "null"],
    "minimum": 0,
    "maximum": limits.MOST_RETRIES,
    "description": "Attempts after the first; left out or null is the type's own number",
}
_TIMEOUT: Schema = {
    "type": ["number", "null"],
    "exclusiveMinimum": 0,
    "maximum": limits.LONGEST_SECONDS,
    "description": "Seconds for one attempt, 300 when left out (`delay`: none); waits and sub-workflows have theirs in"
    " `config`",
}
_CONDITION = _text(
    limits.LONGEST_CONDITION,
    "A template that holds when it renders to 1, true, yes, y or on",
    pattern=r"\S",
)
REPEAT = _object(
    {
        "while": _or_null({**_CONDITION, "description": "Again as long as this holds"}),
        "until": _or_null({**_CONDITION, "description": "Again until this holds"}),
        "max_iterations": {
            "type": "integer",
            "minimum": 1,
            "maximum": limits.MOST_ITERATIONS,
            "description": "How often the step runs at most",
        },
    },
    ("max_iterations",),
    "Runs the step again and again: `while` or `until`, and how often at most",
)
COMPENSATE = _object(
    {"type": _TYPE, "config": _CONFIG, "retry": _RETRY, "timeout_seconds": _TIMEOUT},
    ("type",),
    "What undoes the step when the run fails after it succeeded; undone in reverse order",
)
SUB_STEP = _object(
    {"id": _ID, "name": _NAME, "type": _TYPE, "config": _CONFIG, "retry": _RETRY, "timeout_seconds": _TIMEOUT},
    ("type",),
    "A step inside a step: each item or branch is a durable step of its own",
)
STEP = _object(
    {
        "id": _ID,
        "name": _NAME,
        "type": _TYPE,
        "config": _CONFIG,
        "retry": _RETRY,
        "timeout_seconds": _TIMEOUT,
        "on_success": _target(
            "The step that follows when this one succeeded, instead of the next; `_end` ends the run"
        ),
        "on_failure": _target("The step that follows when this one failed for good; without it the run fails"),
        "on_timeout": _target("The step that follows when nobody decided in time (steps that wait for people)"),
        "depends_on": {
            "type": "array",
            "items": {"type": "string"},
            "maxItems": limits.MOST_STEPS,
            "uniqueItems": True,
            "description": "Steps that must have ended before; any such step makes the definition a graph",
        },
        "when": _or_null({**_CONDITION, "description": "Without this condition the step is skipped"}),
        "repeat": {**REPEAT, "type": ["object", "null"]},
        "compensate": {**COMPENSATE, "type": ["object", "null"]},
    },
    ("id", "type"),
    "One step",
)
WEBHOOK = _object(
    {
        "url": _text(limits.LONGEST_URL, "Where the end of a run is told", pattern=URL_PATTERN),
        "include_outputs": {"type": "boolean", "default": True, "description": "Whether the outputs are sent along"},
    },
    ("url",),
    "Who hears of the end of a run",
)
CONCURRENCY = _object(
    {
        "key": _text(
            limits.LONGEST_KEY, "A template over `inputs`: runs for which it renders the same share the limit"
        ),
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": limits.HIGHEST_LIMIT,
            "description": "How many of them run at the same time; the others wait",
        },
    },
    ("key", "limit"),
    "How many runs with the same key run at once, beside the limits of the tenant and of the workflow",
)
_SCHEMAS: Schema = {
    "type": "object",
    "description": "An object schema, or a mapping from names to JSON Schemas or type names",
}
DEFINITION = _object(
    {
        "$schema": {"type": "string", "description": "For editors: where this schema is"},
        "name": _text(limits.LONGEST_NAME, "Unique with the version within a tenant", pattern=TEXT_PATTERN),
        "version": {
            "type": "integer",
            "minimum": 0,
            "maximum": limits.HIGHEST_VERSION,
            "default": 1,
            "description": "Chosen by you; a version never changes",
        },
        "description": _or_null(
            {"type": "string", "maxLength": limits.LONGEST_DESCRIPTION, "description": "For people"}
        ),
        "tags": {
            "type": "array",
            "items": _text(limits.LONGEST_TAG, "One word to find it by", pattern=TEXT_PATTERN),
            "maxItems": limits.MOST_TAGS,
            "default": [],
            "description": "Words to find it by",
        },
        "inputs": {**_SCHEMAS, "description": f"What a run takes. {_SCHEMAS['description']}"},
        "outputs": {
            **_SCHEMAS,
            "type": ["object", "null"],
            "description": f"What a run gives, checked at its end. {_SCHEMAS['description']}",
        },
        "on_completion_webhook": {
            "description": WEBHOOK["description"],
            "type": ["string", "object", "null"],
            **{key: WEBHOOK[key] for key in ("properties", "required", "additionalProperties")},
            "pattern": URL_PATTERN,
            "maxLength": limits.LONGEST_URL,
        },
        "concurrency": {**CONCURRENCY, "type": ["object", "null"]},
        "steps": {
            "type": "array",
            "maxItems": limits.MOST_STEPS,
            "items": STEP,
            "description": "Run one after the other, unless they say what follows or what they depend on",
        },
        "metadata": {"type": "object", "default": {}, "description": "Yours; `mcp` or `mcp_policy` is a policy"},
        "visibility": {"enum": ["private"], "default": "private", "description": "Only `private`"},
    },
    ("name", "steps"),
    f"A definition: at most {limits.MOST_BYTES} bytes of compact JSON, {limits.MOST_STEPS} steps and"
    f" {limits.MOST_DEPTH} levels",
)
"""The structure alone: what a config holds is the step type's matter."""

REFERENCE = (
    ("The document", DEFINITION),
    ("A step", STEP),
    ("`repeat`", REPEAT),
    ("`compensate`", COMPENSATE),
    ("`on_completion_webhook`", WEBHOOK),
    ("`concurrency`", CONCURRENCY),
    ("A step inside `map` and `parallel`", SUB_STEP),
)
"""The parts of the format with their titles, for the reference."""


def whole_schema(configs: dict[str, tuple[str, Schema]]) -> Schema:
    """Return the format with what each type's config holds, for editors.

    Args:
        configs: the description and the schema of the config, by type.
    """
    named = [{"const": name, "description": said} for name, (said, _) in configs.items()]
    by_type = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"properties": {"config": {"$ref": f"#/$defs/config.{name}"}}},
        }
        for name, (_, schema) in configs.items()
        if schema
    ]
    step = {**STEP, "properties": {**STEP["properties"], "type": {"type": "string", "oneOf": named}}}
    if by_type:
        step["allOf"] = by_type
    steps = {**DEFINITION["properties"]["steps"], "items": {"$ref": "#/$defs/step"}}
    return {
        "$schema": DRAFT,
        "title": "Windlass workflow definition",
        **DEFINITION,
        "properties": {**DEFINITION["properties"], "steps": steps},
        "$defs": {"step": step, **{f"config.{name}": schema for name, (_, schema) in configs.items() if schema}},
    }
