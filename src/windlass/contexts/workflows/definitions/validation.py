"""Every rule a definition must keep; all that is wrong is told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from windlass.contexts.workflows.definitions import format as form
from windlass.contexts.workflows.definitions import graph, limits, substeps
from windlass.contexts.workflows.definitions.catalogue import Catalogue
from windlass.contexts.workflows.definitions.contents import contents_faults, depth_beyond
from windlass.contexts.workflows.definitions.faults import (
    CONFIG_TOO_LARGE,
    DEFINITION_TOO_LARGE,
    Finding,
    findings,
    refuse,
)
from windlass.contexts.workflows.schemas import Fault, Path, declaration_faults, translated
from windlass.contexts.workflows.steptypes.base import StepFailure
from windlass.contexts.workflows.templates import condition_problem, names_in

HUMAN = frozenset({"wait_for_human", "wait_for_approval"})
OWN_TIME = HUMAN | {"workflow_call"}
"""Types whose config says how long they wait: they make no attempt that takes time."""
MOST_FAULTS = 200
_STRUCTURE = jsonschema_rs.Draft202012Validator(form.DEFINITION, mask="Input")


def validate(document: object, catalogue: Catalogue) -> list[Finding]:
    """Return all that is wrong with a definition; nothing is when it can be saved and run."""
    return findings(document, islice(_faults(document, catalogue), MOST_FAULTS))


def require_valid(document: object, catalogue: Catalogue, place: Path = ("body",)) -> dict[str, Any]:
    """Return a definition that keeps every rule.

    Args:
        document: the definition.
        catalogue: the step types.
        place: where in the request it is, for the errors.

    Raises:
        TooLarge: the definition or a step's config is too large.
        ValidationFailed: it breaks rules; names each.
    """
    refuse(validate(document, catalogue), place)
    assert isinstance(document, dict)  # noqa: S101  what is valid is one
    return document


def _faults(document: object, catalogue: Catalogue) -> Iterator[Fault]:
    if not isinstance(document, dict):
        yield Fault((), "object_type", "Input should be an object")
        return
    if (deep := depth_beyond(document, limits.MOST_DEPTH)) is not None:
        yield Fault(deep, "too_deep", f"Nesting is deeper than {limits.MOST_DEPTH} levels")
        return
    try:
        size = len(orjson.dumps(document))
    except TypeError as error:
        yield from contents_faults(document) or [Fault((), "unkeepable", f"This cannot be kept as JSON: {error}")]
        return
    if size > limits.MOST_BYTES:
        message = f"The definition is larger than {limits.MOST_BYTES} bytes of compact JSON"
        yield Fault((), DEFINITION_TOO_LARGE, message)
        return
    yield from contents_faults(document)
    yield from structure_faults(_STRUCTURE, document, ())
    for name in ("inputs", "outputs"):
        if isinstance(document.get(name), dict):
            yield from (_under((name,), fault) for fault in declaration_faults(document[name]))
    yield from _policy_faults(document.get("metadata"))
    yield from _concurrency_faults(document.get("concurrency"))
    steps = [(place, step) for place, step in enumerate(_steps(document)) if isinstance(step, dict)]
    for place, step in steps:
        yield from (_under(("steps", place), fault) for fault in _step_faults(step, catalogue))
    yield from graph.graph_faults(steps)


def _steps(document: Mapping[str, Any]) -> list[Any]:
    steps = document.get("steps")
    return steps[: limits.MOST_STEPS] if isinstance(steps, list) else []


def _under(place: Path, fault: Fault) -> Fault:
    return fault._replace(path=(*place, *fault.path))


def structure_faults(structure: jsonschema_rs.Validator, value: object, place: Path) -> Iterator[Fault]:
    """Yield what is wrong with a part of the format: unknown fields by name, missing ones, wrong types and sizes."""
    for error in islice(structure.iter_errors(value), MOST_FAULTS):
        for path, message, code in translated(error):
            yield Fault((*place, *path), code, _explained(path, code, message))


_FIELDS = {
    "": form.DEFINITION,
    "steps": form.STEP,
    "repeat": form.REPEAT,
    "compensate": form.COMPENSATE,
    "on_completion_webhook": form.WEBHOOK,
    "concurrency": form.CONCURRENCY,
}
_PATTERNS = {
    "id": "An id has letters, digits, _ and -, begins with a letter and is at most 64 characters long",
    "name": "A name is one line with something on it",
    "url": "Input should be an http or https address without a user name",
    "on_completion_webhook": "Input should be an http or https address without a user name",
}


def _explained(path: Path, code: str, message: str) -> str:
    field = str(path[-1]) if path else ""
    if code == "extra_forbidden":
        home = next((str(part) for part in reversed(path[:-1]) if isinstance(part, str)), "")
        known = _FIELDS.get(home, {}).get("properties", {})
        near = difflib.get_close_matches(field, known, n=1)
        return f"Unknown field{f': did you mean {near[0]}?' if near else ''}"
    if code == "pattern":
        return _PATTERNS.get(field, "Input should be one line with something on it")
    if code == "maxItems" and path == ("steps",):
        return f"A workflow has at most {limits.MOST_STEPS} steps"
    return message


def _concurrency_faults(said: object) -> Iterator[Fault]:
    key = said.get("key") if isinstance(said, dict) else None
    if not isinstance(key, str):
        return
    place = ("concurrency", "key")
    try:
        foreign = sorted(name for name in names_in(key) if name.partition(".")[0] != "inputs")
    except StepFailure as failure:
        yield Fault(place, "template_error", failure.message)
        return
    if foreign:
        yield Fault(place, "template_error", f"A key is made of inputs alone, not of {foreign[0][:100]}")


def _policy_faults(metadata: object) -> Iterator[Fault]:
    for name in ("mcp", "mcp_policy"):
        policy = metadata.get(name) if isinstance(metadata, dict) else None
        if policy is None:
            continue
        if not isinstance(policy, dict):
            yield Fault(("metadata", name), "policy_invalid", "An MCP policy is an object")
            continue
        for field in ("allowlist", "scopes"):
            said = policy.get(field)
            texts = isinstance(said, list) and all(isinstance(item, str) for item in said)
            if said is not None and not isinstance(said, str) and not texts:
                message = f"{field} of an MCP policy is a string or a list of strings"
                yield Fault(("metadata", name, field), "policy_invalid", message)


def _step_faults(step: Mapping[str, Any], catalogue: Catalogue) -> Iterator[Fault]:
    step_id, kind, config = step.get("id"), step.get("type"), step.get("config", {})
    if isinstance(step_id, str) and step_id in form.RESERVED_IDS:
        yield Fault(("id",), "reserved_id", f"{step_id} means something else in templates: choose another id")
    if isinstance(kind, str) and isinstance(config, dict):
        yield from config_faults(kind, config, catalogue)
    if step.get("on_timeout") is not None and isinstance(kind, str) and kind not in HUMAN and catalogue.known(kind):
        message = (
            f"on_timeout is for steps that wait for people, which {kind} does not: on_failure follows its time-out"
        )
        yield Fault(("on_timeout",), "on_timeout_unsupported", message)
    if step.get("timeout_seconds") is not None and isinstance(kind, str) and kind in OWN_TIME:
        message = f"{kind} waits as long as config.timeout_seconds says: say it there"
        yield Fault(("timeout_seconds",), "timeout_unsupported", message)
    yield from _condition_faults(step)
    repeat = step.get("repeat")
    if isinstance(repeat, dict) and (repeat.get("while") is None) == (repeat.get("until") is None):
        yield Fault(("repeat",), "repeat_condition", "Say either while or until")
    undo = step.get("compensate")
    if isinstance(undo, dict) and isinstance(undo.get("type"), str) and isinstance(undo.get("config", {}), dict):
        faults = substeps.inner_faults(undo["type"], "compensate", catalogue)
        found: Iterable[Fault] = faults or config_faults(undo["type"], undo.get("config", {}), catalogue)
        yield from (_under(("compensate",), fault) for fault in found)


def _condition_faults(step: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the conditions of a step, before there are names to try them with."""
    repeat = step.get("repeat")
    said: list[tuple[Path, Any]] = [(("when",), step.get("when"))]
    if isinstance(repeat, dict):
        said += [(("repeat", name), repeat.get(name)) for name in ("while", "until")]
    for path, text in said:
        problem = condition_problem(text) if isinstance(text, str) and text.strip() else None
        if problem is not None:
            yield Fault(path, "condition_invalid", problem)


def config_faults(kind: str, config: Mapping[str, Any], catalogue: Catalogue) -> Iterator[Fault]:
    """Yield what is wrong with a type and its config; paths begin at the step."""
    if catalogue.known(kind) is None:
        near = difflib.get_close_matches(kind, catalogue.names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield Fault(("type",), "unknown_step_type", f"Unknown step type: {kind[:100]}{hint}")
        return
    if len(orjson.dumps(config)) > limits.MOST_CONFIG_BYTES:
        message = f"The config is larger than {limits.MOST_CONFIG_BYTES} bytes of compact JSON"
        yield Fault(("config",), CONFIG_TOO_LARGE, message)
        return
    assigned = config.get("assigned_to_user_id")
    unassigned = kind in HUMAN and (assigned is None or (isinstance(assigned, str) and not assigned.strip()))
    if unassigned:
        message = f"{kind} requires a non-blank assigned_to_user_id"
        yield Fault(("config", "assigned_to_user_id"), "assigned_to_required", message)
    elif kind in HUMAN and isinstance(assigned, list) and assigned and (too_many := _beyond_quorum(config, assigned)):
        yield Fault(("config", "quorum"), "value_error", too_many)
    for fault in catalogue.check(kind, config):
        told = (unassigned and fault.path == ("assigned_to_user_id",)) or substeps.is_inner(kind, fault.path)
        if not told:
            yield _under(("config",), fault)
    if kind == "retry":
        yield from _retried_faults(config, catalogue)
    for path, inner in substeps.inner_steps(kind, config):
        yield from (_under(path, fault) for fault in _sub_step_faults(inner, kind, catalogue))
    yield from substeps.duplicate_faults(kind, config)


def _beyond_quorum(config: Mapping[str, Any], assigned: Sequence[object]) -> str | None:
    quorum, asked = config.get("quorum", 1), {str(one) for one in assigned}
    open_ended = any(one.startswith("role:") or "{{" in one for one in asked)
    if open_ended or not isinstance(quorum, int) or quorum <= len(asked):
        return None
    return f"{quorum} have to approve, and only {len(asked)} are asked"


def _retried_faults(config: Mapping[str, Any], catalogue: Catalogue) -> Iterator[Fault]:
    """Yield what is wrong with the step that a step of type ``retry`` wraps."""
    kind, inner = config.get("step_type"), config.get("step_config", {})
    if isinstance(kind, str) and isinstance(inner, dict):
        names = {"type": "step_type", "config": "step_config"}
        faults = substeps.inner_faults(kind, "retry", catalogue)
        for fault in faults or config_faults(kind, inner, catalogue):
            yield fault._replace(path=("config", names[str(fault.path[0])], *fault.path[1:]))


def _sub_step_faults(inner: object, outer: str, catalogue: Catalogue) -> Iterator[Fault]:
    structural = list(structure_faults(substeps.STRUCTURE, inner, ()))
    yield from structural
    if isinstance(inner, dict) and isinstance(inner.get("type"), str) and isinstance(inner.get("config", {}), dict):
        faults = substeps.inner_faults(inner["type"], outer, catalogue)
        yield from faults or config_faults(inner["type"], inner.get("config", {}), catalogue)
