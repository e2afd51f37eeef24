"""Whether a config is one of its type: before there are names to resolve its templates with, and once more after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from windlass.contexts.workflows import sandbox, templates
from windlass.contexts.workflows.failures import StepFailure
from windlass.contexts.workflows.scanning import is_template
from windlass.contexts.workflows.steptypes.base import StepType

MOST_PROBLEMS = 20
TEST_HOOKS = frozenset(["force_error", "simulate_delay_ms"])
_PARSED = {"integer", "number", "boolean", "array", "object"}


class Problem(NamedTuple):
    """What is wrong with a config: where (``config.step.type``), and in words."""

    path: str
    message: str


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return a validator that fetches nothing, matches in linear time and repeats no values in its messages.

    Raises:
        ValueError: it is no JSON Schema, or refers to another document.
    """
    made = Draft202012Validator(dict(schema), offline=True, pattern_options=RegexOptions(), mask="the value")
    assert isinstance(made, Draft202012Validator)  # noqa: S101  for mypy: the library's hint is wider
    return made


_known: dict[int, tuple[StepType, Draft202012Validator]] = {}


def _validator(kind: StepType) -> Draft202012Validator:
    found = _known.get(id(kind))
    if found is None or found[0] is not kind:
        found = (kind, validator(kind.schema))
        _known[id(kind)] = found
    return found[1]


def check_config(kind: StepType, config: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a config as it stands in a definition; a template may still be anything."""
    found = list(_problems(kind, config, everywhere=True))
    found += _syntax(config)
    if isinstance(condition := config.get("condition"), str) and "condition" in kind.raw:
        problem = templates.condition_problem(condition)
        found += [Problem("config.condition", problem)] if problem and not is_template(condition) else []
    return (found or list(_uncompilable(kind, config)))[:MOST_PROBLEMS]


def _uncompilable(kind: StepType, config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what cannot be compiled of what has no templates in it."""
    for name, attempt in kind.compiled.items():
        if name not in config or any(is_template(text) for _, text in _texts(config[name], name)):
            continue
        try:
            attempt(config[name])
        except StepFailure as failure:
            yield Problem(f"config.{name}", failure.message.partition(": ")[2] or failure.message)


def settled(kind: StepType, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved config as its type wants it: texts as numbers and the other way round, defaults filled in.

    Raises:
        StepFailure: ``validation_error``: it is no config of the type; names the field.
    """
    done = {}
    for name, part in kind.schema["properties"].items():
        if name in config and name not in kind.raw:
            value = _settle(config[name], part)
            if value is None and "default" in part:
                value = part["default"]
            if value is not None or "type" not in part:
                done[name] = value
        elif name in config:
            done[name] = config[name]
        elif "default" in part:
            done[name] = part["default"]
    done |= {name: value for name, value in config.items() if name not in kind.schema["properties"]}
    check_resolved(kind, done)
    return done


def check_resolved(kind: StepType, config: Mapping[str, Any]) -> None:
    """Refuse a resolved config that is none of its type.

    Raises:
        StepFailure: ``validation_error``; names the field.
    """
    try:
        if _validator(kind).is_valid(dict(config)):
            return
    except ValueError as error:  # what JSON cannot say
        raise StepFailure("validation_error", f"config: {str(error)[:200]}", retryable=False) from None
    for problem in _problems(kind, config, everywhere=False):
        message = f"{problem.path}: {problem.message}"
        raise StepFailure("validation_error", message, retryable=False, field=problem.path)


def _settle(value: Any, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if isinstance(value, str):
        return _parsed(value, kind) if isinstance(kind, str) and kind in _PARSED else value
    if kind == "string" and value is not None:
        return sandbox.as_text(value)
    if kind == "array" and isinstance(value, list) and schema.get("items", {}).get("type") in {"string", *_PARSED}:
        return [_settle(one, schema["items"]) for one in value]
    return value


def _parsed(value: str, kind: str) -> Any:
    text = value.strip()
    if kind == "boolean":
        word = text.lower()
        return True if word in templates.TRUE else False if word in templates.FALSE - {""} else value
    try:
        made = orjson.loads(text)
    except ValueError:
        return value
    return made if isinstance(made, _types(kind)) else value


def _types(kind: str) -> tuple[type, ...]:
    return {"array": (list,), "object": (dict,), "integer": (int,), "number": (int, float)}[kind]


def _problems(kind: StepType, config: Mapping[str, Any], *, everywhere: bool) -> Iterator[Problem]:
    for hook in sorted(TEST_HOOKS & config.keys()):
        yield Problem(f"config.{hook}", "a hook for tests of another system; there is none here")
    try:
        errors = list(_validator(kind).iter_errors(dict(config)))
    except ValueError as unfit:
        yield Problem("config", str(unfit)[:200])
        return
    for error in errors:
        path = error.instance_path
        if _is_open(config, path, everywhere or bool(path and path[0] in kind.raw)):
            continue
        yield from _worded(kind, error, ".".join(["config", *map(str, path)]))


def _is_open(config: Any, path: list[str | int], templated: bool) -> bool:
    """Whether what an error is about is a template, of which nothing is known yet."""
    value = config
    for part in path:
        value = value[part]
    return templated and isinstance(value, str) and is_template(value)


def _worded(kind: StepType, error: ValidationError, path: str) -> Iterator[Problem]:
    if error.kind.name == "additionalProperties":
        unexpected = error.kind.as_dict()["unexpected"]
        yield from (Problem(f"{path}.{name}", "unknown field") for name in unexpected if name not in TEST_HOOKS)
    elif error.kind.name == "oneOf" and path == "config":
        names = " and ".join(rule["required"][0] for rule in kind.schema["oneOf"])
        yield Problem(path, f"exactly one of {names} is needed")
    else:
        yield Problem(path, error.message)


def _syntax(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the templates of a config; what are too many are not read at all."""
    slow = 0
    for path, text in _texts(config, "config"):
        if not is_template(text):
            continue
        try:
            slow += not templates.template(text).quick
        except templates.Wrong as wrong:
            slow += 1
            yield Problem(path, wrong.reason)
        if slow > templates.MOST_EXPRESSIONS:
            yield Problem("config", f"more than {templates.MOST_EXPRESSIONS} templates that are no dotted paths")
            return


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _texts(one, f"{path}.{key}")
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _texts(one, f"{path}.{at}")
