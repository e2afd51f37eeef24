"""What a definition says of its inputs and outputs, as JSON Schemas of objects, and values held against them.

A whole object schema is taken as it is. A mapping from names to schemas is the short way to say the same: each name is
required unless its schema has a ``default`` or says ``required: false``, and no other names are taken.

What a schema costs to check is bounded before it is ever used: no reference leaves the document, none leads back to
itself, and what references stand for counts as if it were written out. Patterns run in linear time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import jsonschema_rs
import orjson

from windlass.kernel.errors import Issue, ValidationFailed

Path = tuple[str | int, ...]
TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
MOST_FAULTS = 50
MOST_SCHEMAS = 1000
"""How many schemas a declaration may come to, references written out."""
LONGEST_PATTERN = 1000
PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SINGLE = (
    "items", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "contains",
    "propertyNames", "not", "if", "then", "else",
)  # fmt: skip
_UNUSED = frozenset({"$defs", "definitions"})
_REFUSED = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor")
_ARTICLES = {"integer": "an", "object": "an", "array": "an", "null": ""}


class Fault(NamedTuple):
    """One thing wrong: where, a stable code, and in words."""

    path: Path
    code: str
    message: str


def is_whole(declared: Mapping[str, Any]) -> bool:
    """Say whether a declaration is an object schema, rather than a mapping from names to schemas."""
    if declared.get("type") == "object":
        return True
    properties = declared.get("properties")
    return isinstance(properties, Mapping) and all(isinstance(value, Mapping | bool) for value in properties.values())


def object_schema(declared: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a declaration as an object schema; None where nothing is declared."""
    if not declared:
        return None
    if is_whole(declared):
        return dict(declared)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, said in declared.items():
        schema: dict[str, Any] = {"type": said} if isinstance(said, str) else dict(said)
        needed = schema.pop("required") if isinstance(schema.get("required"), bool) else "default" not in schema
        properties[name] = schema
        if needed:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def declaration_faults(declared: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with a declaration of inputs or outputs, its defaults among it."""
    whole = is_whole(declared)
    literals = [] if whole else list(_literals(declared))
    if literals:
        return literals
    schema = object_schema(declared)
    if schema is None:
        return []
    found = list(islice(_schema_faults(schema, ()), MOST_FAULTS)) or list(_uncompilable(schema))
    found = found or list(_wrong_defaults(schema))
    return found if whole else [fault._replace(path=_without_properties(fault.path)) for fault in found]


def _literals(declared: Mapping[str, Any]) -> Iterator[Fault]:
    for name, said in declared.items():
        if isinstance(said, str):
            if said not in TYPES:
                hint = f'one of {", ".join(TYPES)}, or a schema; a default is said as {{"default": {said!r}}}'
                yield Fault((name,), "schema_literal", f"{said!r} is no type: say {hint}")
        elif not isinstance(said, Mapping):
            hint = f'{{"default": {orjson.dumps(said).decode()[:60]}}}'
            yield Fault((name,), "schema_literal", f"Input should be a JSON Schema; a default is said as {hint}")


def _without_properties(path: Path) -> Path:
    return path[1:] if path[:1] == ("properties",) else path


def _schema_faults(root: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    for at, schema in _all_schemas(root, path):
        for word in _REFUSED:
            if word in schema:
                yield Fault((*at, word), "schema_unsupported", f"{word} is not supported: refer with $ref to #/$defs/…")
        ref = schema.get("$ref")
        if isinstance(ref, str) and not ref.startswith("#"):
            yield Fault((*at, "$ref"), "remote_ref", f"$ref {ref[:100]!r} leaves the document: only #/… is followed")
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and len(pattern) > LONGEST_PATTERN:
            message = f"Patterns have at most {LONGEST_PATTERN} characters"
            yield Fault((*at, "pattern"), "pattern_too_long", message)
    try:
        size = _size(root, root, (), [0])
    except RecursionError:
        yield Fault(path, "schema_recursive", "A $ref leads back to itself: recursive schemas are not supported")
    else:
        if size > MOST_SCHEMAS:
            message = f"The schema comes to more than {MOST_SCHEMAS} parts, references written out"
            yield Fault(path, "schema_too_large", message)


def _all_schemas(schema: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    yield path, schema
    for at, inner in _inside(schema):
        yield from _all_schemas(inner, (*path, *at))


def _inside(schema: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for word in _MAPS:
        found = schema.get(word)
        if isinstance(found, Mapping):
            yield from (((word, name), value) for name, value in found.items() if isinstance(value, Mapping))
    for word in _LISTS:
        found = schema.get(word)
        if isinstance(found, list):
            yield from (((word, place), value) for place, value in enumerate(found) if isinstance(value, Mapping))
    for word in _SINGLE:
        found = schema.get(word)
        if isinstance(found, Mapping):
            yield (word,), found


def _size(schema: Mapping[str, Any], root: Mapping[str, Any], within: tuple[str, ...], seen: list[int]) -> int:
    """Count schemas with references written out, no further than it matters.

    Raises:
        RecursionError: a reference leads back to itself.
    """
    seen[0] += 1
    if seen[0] > MOST_SCHEMAS:
        return seen[0]
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith("#"):
        if ref in within:
            raise RecursionError
        target = resolve(root, ref)
        if target is root and not within and schema is not root:
            raise RecursionError
        if target is not None:
            _size(target, root, (*within, ref), seen)
    for at, inner in _inside(schema):
        if at[0] not in _UNUSED:
            _size(inner, root, within, seen)
    return seen[0]


def resolve(root: Mapping[str, Any], ref: str) -> Mapping[str, Any] | None:
    """Return the schema that a reference within the document names, or None."""
    found: Any = root
    for part in ref.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(key)] if key.isascii() and key.isdigit() and int(key) < len(found) else None
        else:
            found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _uncompilable(schema: Mapping[str, Any]) -> Iterator[Fault]:
    try:
        compiled(schema)
    except jsonschema_rs.ValidationError as error:
        path, message, _ = next(translated(error))
        yield Fault(path, "schema_invalid", f"No valid JSON Schema: {message}")
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        yield Fault((), "schema_invalid", f"No valid JSON Schema: {str(error).splitlines()[0][:200]}")


def _wrong_defaults(schema: dict[str, Any]) -> Iterator[Fault]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    given = {name for name, part in properties.items() if isinstance(part, Mapping) and "default" in part}
    values = with_defaults(schema, {})
    for error in islice(compiled(schema).iter_errors(values), MOST_FAULTS):
        for path, message, _ in translated(error):
            if path and path[0] in given and path[0] in values:
                yield Fault(("properties", path[0], "default", *path[1:]), "default_invalid", message)


def compiled(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    """Return what holds values against a schema; it follows no reference out of it.

    Raises:
        jsonschema_rs.ValidationError: it is no JSON Schema.
        jsonschema_rs.ReferencingError: a reference leads nowhere.
    """
    return _compiled(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))


@lru_cache(maxsize=256)
def _compiled(text: bytes) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        orjson.loads(text), validate_formats=True, offline=True, pattern_options=PATTERNS, mask="Input"
    )


def with_defaults(schema: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with the defaults of what they leave out, at every depth that ``properties`` reach."""
    return _filled(schema, values, schema)


def _filled(schema: Mapping[str, Any], values: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(values)
    ref = schema.get("$ref")
    if isinstance(ref, str) and (target := resolve(root, ref)) is not None:
        made = _filled(target, made, root)
    properties = schema.get("properties")
    for name, part in properties.items() if isinstance(properties, Mapping) else ():
        if not isinstance(part, Mapping):
            continue
        if name not in made and "default" in part:
            made[name] = copy.deepcopy(part["default"])
        if isinstance(made.get(name), Mapping):
            made[name] = _filled(part, made[name], root)
    return made


def checked(schema: Mapping[str, Any] | None, values: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Return values with their defaults.

    Args:
        schema: an object schema, or None where nothing is declared.
        values: what was given.
        place: where they stand, for the errors.

    Raises:
        ValidationFailed: they do not fit; names every field that does not.
    """
    if schema is None:
        return dict(values)
    made = with_defaults(schema, values)
    issues = [
        Issue((*place, *path), message, kind)
        for error in islice(compiled(schema).iter_errors(made), MOST_FAULTS)
        for path, message, kind in translated(error)
    ]
    if issues:
        raise ValidationFailed(issues)
    return made


def translated(error: jsonschema_rs.ValidationError) -> Iterator[tuple[Path, str, str]]:
    """Yield an error of jsonschema-rs as paths, messages without values, and types."""
    path: Path = tuple(error.instance_path)
    kind = error.kind
    found: Any = kind.as_dict()
    if kind.name == "additionalProperties":
        for name in found["unexpected"]:
            yield (*path, name), "Extra inputs are not permitted", "extra_forbidden"
    elif kind.name == "required":
        yield (*path, found["property"]), "Field required", "missing"
    elif kind.name == "type":
        names = sorted(found["types"], key=lambda name: name == "null")
        kinds = [f"{_ARTICLES.get(name, 'a')} {name}".strip() for name in names]
        yield path, f"Input should be {' or '.join(kinds)}", f"{names[0]}_type"
    elif kind.name == "enum":
        yield path, f"Input should be {' or '.join(map(repr, found['options']))}", "enum"
    elif kind.name == "falseSchema":
        yield path, "Extra inputs are not permitted", "extra_forbidden"
    else:
        yield path, error.message.replace('"Input"', "Input"), kind.name
