"""JSON and YAML are read so that nothing is lost without a word, and told with lines."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.contexts.workflows.definitions.diff import difference
from windlass.contexts.workflows.definitions.reading import json_positions, read_document, read_with_positions
from windlass.contexts.workflows.definitions.yamltext import Unreadable, read_yaml, write_yaml
from windlass.kernel.errors import ValidationFailed

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
    | st.sampled_from(
        ["yes", "off", "2026-01-31", "1e3", "0o7", "0x1f", "012", "1_000", "~", "null", ".5", "<<", "=", "1:30"]
    )
)
VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4), max_leaves=12
)


@given(VALUES)
def test_what_is_written_as_yaml_reads_back_the_same(value: Any) -> None:
    assert read_yaml(write_yaml({"value": value}))[0] == {"value": value}


@given(VALUES)
def test_every_part_of_a_json_text_has_a_place(value: Any) -> None:
    text = orjson.dumps({"value": value}, option=orjson.OPT_INDENT_2).decode()
    lines = text.splitlines()

    found, positions = read_with_positions(text.encode(), yaml=False)

    assert found == {"value": value}
    for path, (line, column) in positions.items():
        at, parent = found, None
        for part in path:
            parent, at = at, at[part]
        written = orjson.dumps(path[-1] if isinstance(parent, dict) else at, option=orjson.OPT_INDENT_2).decode()
        assert lines[line - 1][column - 1 :].startswith(written[0])


def test_plain_words_are_what_yaml_1_2_says() -> None:
    text = "[yes, on, no, true, False, ~, 2026-01-31, 1e3, 0x1f, 0o17, 1.5, .5, '1', 12:30, 1_0, .inf, '']"

    assert read_yaml(text)[0] == [
        "yes", "on", "no", True, False, None, "2026-01-31", 1000.0, 31, 15, 1.5, 0.5, "1", "12:30", "1_0", ".inf", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text,line,column,said",
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", 4, 3, "Duplicate field 'c'"),
        ("a: !!binary aGk=", 1, 4, "not supported"),
        ("a: &x [*x]", 1, 4, "deeper than 64"),
        ("a:\n  - b\n c", 3, 2, "Invalid YAML"),
        ("? [a]\n: b", 1, 3, "Names of fields should be strings"),
        ("a: {<<: {b: 1}}", 1, 5, "Merging"),
        ("a: 1\n---\nb: 1", 2, 1, "single document"),
        ("a: *nothing", 1, 4, "undefined alias"),
        ("a: \x01", 1, 1, "Invalid YAML"),
    ],
)
def test_what_yaml_cannot_say_here_is_refused_with_its_line(text: str, line: int, column: int, said: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_yaml(text)

    fault = refused.value.fault
    assert said in fault.message
    assert (fault.line, fault.column) == (line, column)


def test_anchors_are_followed() -> None:
    assert read_yaml("a: &x {b: [1]}\nc: *x")[0] == {"a": {"b": [1]}, "c": {"b": [1]}}


@pytest.mark.parametrize(
    "raw,said",
    [
        (b'{"a": {"b": 1, "b": 2}}', "Duplicate field 'b'"),
        (b'{"a": 1', "Invalid JSON"),
        (b"\xff", "UTF-8"),
        (b"[" * 100 + b"]" * 100, "deeper"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a": 123456789012345678901}', "64 bits"),
    ],
)
def test_json_is_read_strictly(raw: bytes, said: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        read_document(raw, yaml=False)
    with pytest.raises(Unreadable):
        read_with_positions(raw, yaml=False)

    assert said in str(refused.value)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_document(b'\xef\xbb\xbf{"a": 1}', yaml=False) == {"a": 1}
    assert read_document(b"\xef\xbb\xbfa: 1", yaml=True) == {"a": 1}
    assert json_positions('\ufeff{"a": 1}')["a",] == (1, 3)


def test_definitions_are_compared_field_by_field() -> None:
    old = {"name": "x", "tags": ["a"], "steps": [{"id": "a", "type": "log"}, {"id": "b", "type": "log", "retry": 1}]}
    new = {
        "name": "x",
        "tags": ["a", "b"],
        "steps": [{"id": "b", "type": "log", "retry": 1.0}, {"id": "a", "type": "log"}],
    }

    found = difference(old, new)

    assert found["fields"] == [{"path": "tags", "old": ["a"], "new": ["a", "b"]}]
    assert (found["steps"]["moved"], found["steps"]["added"], found["steps"]["removed"]) == (True, [], [])
    assert found["steps"]["changed"] == [{"id": "b", "changes": [{"path": "retry", "old": 1, "new": 1.0}]}]
    assert difference(old, old) == {
        "same": True,
        "fields": [],
        "steps": {"added": [], "removed": [], "changed": [], "moved": False},
        "text": "",
    }
