"""YAML as definitions may be written in it: the JSON of YAML 1.2's core schema, and where each part stands.

Dates stay strings, ``yes`` and ``on`` too. Duplicate keys and tags are refused. Anchors are followed, up to a bound:
a text of a few bytes cannot grow into a document of gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from windlass.contexts.workflows.definitions.limits import MOST_DEPTH
from windlass.contexts.workflows.schemas import Path

MOST_NODES = 50_000
"""How many values a document may have, aliases written out."""
_PLAIN = "plain"
_TEXT = "tag:yaml.org,2002:str"
_SEQUENCE, _MAPPING = "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_OTHER_BASE = re.compile(r"0(o[0-7]{1,40}|x[0-9a-fA-F]{1,40})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Positions = dict[Path, tuple[int, int]]
"""Line and column, from 1, of each part."""


class TextFault(NamedTuple):
    """Why a text cannot be read: where (line and column from 1, and the path as far as it is known), and in words."""

    message: str
    line: int
    column: int
    path: Path = ()


class Unreadable(Exception):
    """A text that is no document."""

    def __init__(self, fault: TextFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class _Loader(_Base):  # type: ignore[misc]  # the C loader has no types
    """Tells plain scalars from quoted ones instead of guessing types the way of YAML 1.1."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:  # noqa: ARG002  as PyYAML calls it
        """Return the tag of a node that says none."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TEXT
        return _SEQUENCE if kind is yaml.SequenceNode else _MAPPING


def read_yaml(text: str) -> tuple[Any, Positions]:
    """Return the value of a YAML document, and where each part of it stands.

    Raises:
        Unreadable: it is no YAML, or says what JSON cannot, or is too deep or too large.
    """
    try:
        _check_depth(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise Unreadable(TextFault(f"Invalid YAML: {said}", *_at(mark))) from None
    except yaml.YAMLError as error:
        raise Unreadable(TextFault(f"Invalid YAML: {str(error).splitlines()[0]}", 1, 1)) from None
    positions: Positions = {}
    if node is None:
        return None, positions
    return _Reader(positions).value(node, (), 0), positions


class _Dumper(yaml.SafeDumper):
    """Quotes what the reader above would take for something else than a text."""


for _kind, _pattern in (("int", _INTEGER), ("int", _OTHER_BASE), ("float", _FLOAT)):
    _whole = re.compile(f"(?:{_pattern.pattern})$")
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _whole, list("-+.0123456789"))


def write_yaml(value: Any) -> str:
    """Return a JSON value as YAML that reads back as the same."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def _check_depth(text: str) -> None:
    """Refuse what is too deep before anything recurses into it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                raise Unreadable(TextFault(f"Nesting is deeper than {MOST_DEPTH} levels", *_at(event.start_mark)))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _at(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


class _Reader:
    """Makes values of nodes; ``positions`` is filled on the way."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._count = 0

    def value(self, node: Any, path: Path, depth: int) -> Any:
        """Return the value of a node."""
        self._count += 1
        if self._count > MOST_NODES:
            self._refuse(node, path, f"The document has more than {MOST_NODES} values, aliases written out")
        if depth > MOST_DEPTH:
            self._refuse(node, path, f"Nesting is deeper than {MOST_DEPTH} levels")
        self._positions.setdefault(path, _at(node.start_mark))
        made = {yaml.MappingNode: self._mapping, yaml.SequenceNode: self._sequence, yaml.ScalarNode: self._scalar}
        make: Callable[[Any, Path, int], Any] = made[type(node)]
        return make(node, path, depth)

    def _mapping(self, node: Any, path: Path, depth: int) -> dict[str, Any]:
        self._check_tag(node, path, _MAPPING)
        found: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in {_PLAIN, _TEXT}:
                self._refuse(key, path, "Names of fields should be strings")
            name = str(key.value)
            if name in found:
                self._refuse(key, (*path, name), f"Duplicate field {name!r}")
            if name == "<<" and key.tag == _PLAIN:
                self._refuse(key, path, "Merging with << is not supported: write the fields out")
            self._positions[*path, name] = _at(key.start_mark)
            found[name] = self.value(item, (*path, name), depth + 1)
        return found

    def _sequence(self, node: Any, path: Path, depth: int) -> list[Any]:
        self._check_tag(node, path, _SEQUENCE)
        return [self.value(item, (*path, place), depth + 1) for place, item in enumerate(node.value)]

    def _scalar(self, node: Any, path: Path, _depth: int) -> Any:
        text = str(node.value)
        if node.tag == _TEXT:
            return text
        self._check_tag(node, path, _PLAIN)
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OTHER_BASE.fullmatch(text):
            return int(text[2:], 8 if text[1] == "o" else 16)
        if _FLOAT.fullmatch(text):
            return float(text)
        return text

    def _check_tag(self, node: Any, path: Path, expected: str) -> None:
        if node.tag != expected:
            self._refuse(node, path, f"The tag {node.tag[:60]} is not supported")

    def _refuse(self, node: Any, path: Path, message: str) -> None:
        raise Unreadable(TextFault(message, *_at(node.start_mark), path))
