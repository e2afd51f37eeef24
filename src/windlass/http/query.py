"""Query parameters: read strictly, once but for lists, and described in the OpenAPI document from the same words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from windlass.contexts.records.api import NAME_LENGTH, name_complaints, read_moment
from windlass.kernel.errors import Invalid, Issue, ValidationFailed
from windlass.storage.waits import KNOWN, waiting_for

_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
PAGE_OF_RUNS = 200
MOST_RUNS = 1000
NO_NUL = "^[^\\u0000]*$"


class Wrong(ValueError):
    """A value that a parameter does not take; ``type`` is stable."""

    def __init__(self, message: str, type_: str) -> None:
        super().__init__(message)
        self.type = type_


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter: its name, JSON Schema, meaning, how its text is read, and what it is when it is not given."""

    name: str
    schema: dict[str, Any]
    description: str
    read: Callable[[str], Any]
    default: Any = None

    def described(self) -> dict[str, Any]:
        """Return its part of the OpenAPI document."""
        given = str(self.default).lower() if self.default is False else self.default
        schema = self.schema if self.default is None else {**self.schema, "default": given}
        return {"name": self.name, "in": "query", "required": False, "schema": schema, "description": self.description}


def choice(name: str, values: Sequence[str], description: str, default: str | None = None) -> Parameter:
    """Return a parameter that is one of some words."""

    def read(text: str) -> str:
        if text not in values:
            raise Wrong(f"Input should be {' or '.join(repr(value) for value in values)}", "enum")
        return text

    return Parameter(name, {"type": "string", "enum": list(values)}, description, read, default)


def integer(
    name: str,
    description: str,
    *,
    least: int,
    default: int | None = None,
    cap: int | None = None,
    most: int = 10**18 - 1,
) -> Parameter:
    """Return a parameter that is an integer; above ``cap`` it is the cap, above ``most`` it is refused."""

    def read(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise Wrong("Input should be a valid integer", "int_parsing")
        value = int(text)
        if value < least:
            raise Wrong(f"Input should be greater than or equal to {least}", "greater_than_equal")
        if value > most:
            raise Wrong(f"Input should be less than or equal to {most}", "less_than_equal")
        return value if cap is None else min(value, cap)

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Parameter(name, schema, description, read, default)


def label(name: str, description: str) -> Parameter:
    """Return a parameter that is a record's category or source."""

    def read(text: str) -> str:
        for issue in name_complaints(text, ()):
            raise Wrong(issue.msg, issue.type)
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH, "pattern": NO_NUL}
    return Parameter(name, schema, description, read)


def flag(name: str, description: str) -> Parameter:
    """Return a parameter that is ``true`` or ``false``, which it is when it is not given."""
    chosen = choice(name, ("true", "false"), description, "false")
    return Parameter(name, chosen.schema, description, lambda text: chosen.read(text) == "true", False)


_WAITING = {"type": "string", "pattern": NO_NUL}


def waiting_complaint(given: object) -> str | None:
    """Return what is wrong with a word for what runs wait for."""
    try:
        waiting_for(str(given))
    except Invalid as error:
        return error.message.replace("waiting_on", "Input")
    return None


def _waiting(text: str) -> str:
    wrong = waiting_complaint(text)
    if wrong is not None:
        raise Wrong(wrong, "enum")
    return _free(text)


def narrowing() -> list[Parameter]:
    """Return the parameters by which lists of runs are narrowed down to those in trouble."""
    return [
        flag("failing", "Only open runs an attempt of whose steps has failed"),
        integer(
            "attempt_gte", "Only runs a step of which has failed at this attempt or a later one", least=1, cap=32_767
        ),
        Parameter("waiting_on", _WAITING, f"Only runs that wait for this: {KNOWN}", _waiting),
        free("error_class", "Only failed runs whose error begins with this code"),
    ]


def page_of_runs() -> Parameter:
    """Return how many runs are wanted: what no page holds by far is a mistake, and is refused."""
    words = f"Runs on a page; more than {PAGE_OF_RUNS} is {PAGE_OF_RUNS}, more than {MOST_RUNS} is refused"
    return integer("limit", words, least=1, default=50, cap=PAGE_OF_RUNS, most=MOST_RUNS)


def moment(name: str, description: str, *, end: bool = False) -> Parameter:
    """Return a parameter that is a date or a date-time with a zone (400 when it is neither)."""

    def read(text: str) -> str:
        return read_moment(text, name, end=end)

    return Parameter(name, _moment_schema(), description, read)


def _moment_schema() -> dict[str, Any]:
    return {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}


def free(name: str, description: str, schema: dict[str, Any] | None = None) -> Parameter:
    """Return a parameter that somebody else reads."""
    return Parameter(name, schema or {"type": "string", "pattern": NO_NUL}, description, _free)


def _free(text: str) -> str:
    if "\0" in text:
        raise Wrong("String should not contain NUL characters", "string_nul")
    return text


def many(name: str, description: str) -> Parameter:
    """Return a parameter that may be given several times, or with commas between its values: a tuple of texts."""

    def read(text: str) -> tuple[str, ...]:
        return tuple(one for one in _free(text).split(",") if one)

    return Parameter(name, {"type": "array", "items": {"type": "string"}}, description, read, ())


def read_query(request: Request, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the value of every parameter.

    Raises:
        ValidationFailed: one is unknown, given twice, not UTF-8 or wrong; names each.
        Invalid: a date or date-time cannot be read.
    """
    values = {parameter.name: parameter.default for parameter in parameters}
    raw: bytes = request.scope["query_string"]
    if not raw:
        return values
    known = {parameter.name: parameter for parameter in parameters}
    issues: list[Issue] = []
    seen: set[str] = set()
    for name, text in _pairs(raw, issues):
        parameter = known.get(name)
        if parameter is None:
            issues.append(Issue(("query", name), "Extra inputs are not permitted", "extra_forbidden"))
        elif name in seen and not isinstance(parameter.default, tuple):
            issues.append(Issue(("query", name), "Given more than once", "duplicate"))
        else:
            seen.add(name)
            try:
                value = parameter.read(text)
                values[name] = (*values[name], *value) if isinstance(value, tuple) else value
            except Wrong as wrong:
                issues.append(Issue(("query", name), str(wrong), wrong.type))
    if issues:
        raise ValidationFailed(issues)
    return values


def _pairs(raw: bytes, issues: list[Issue]) -> Iterator[tuple[str, str]]:
    for part in raw.split(b"&"):
        if not part:
            continue
        name, _, value = (unquote_to_bytes(half.replace(b"+", b" ")) for half in part.partition(b"="))
        try:
            yield name.decode(), value.decode()
        except UnicodeDecodeError:
            shown = name.decode(errors="replace")
            issues.append(Issue(("query", shown), "Input should be valid UTF-8", "string_unicode"))
