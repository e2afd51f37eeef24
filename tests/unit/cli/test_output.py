"""What commands print: whole cells in a pipe, numbers to the right, bars, short lines."""

import io
import sys

import orjson
import pytest

from windlass.cli import output


@pytest.mark.parametrize(
    "value,expected",
    [
        (None, "-"),
        ("", ""),
        (0, "0"),
        (True, "yes"),
        (False, "no"),
        (1.50, "1.5"),
        ({"a": [1]}, '{"a":[1]}'),
        ("2026-11-22T16:30:06.217963Z", "2026-11-22 16:30:06Z"),
        ("text", "text"),
    ],
)
def test_values_are_shown_as_people_read_them(value: object, expected: str) -> None:
    assert output.text(value) == expected


def test_a_table_in_a_pipe_keeps_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "count", "note"), [("a" * 300, 7, None), ("b", 1234, "x")], numbers=("count",))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{'name':300}  count  note"
    assert lines[1] == f"{'a' * 300}      7  -"
    assert lines[2] == f"{'b':300}   1234  x"


def test_an_empty_table_shows_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "count"), [])

    assert capsys.readouterr().out == "name  count\n"


def test_fields_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.fields({"a": 1, "longer": "[not markup]"})

    assert capsys.readouterr().out == "a       1\nlonger  [not markup]\n"


def test_json_in_a_pipe_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.as_json({"a": [1, {"b": "ü"}]})

    printed = capsys.readouterr().out
    assert printed == '{"a":[1,{"b":"ü"}]}\n'
    assert orjson.loads(printed) == {"a": [1, {"b": "ü"}]}


@pytest.mark.parametrize(
    "count,most,expected", [(0, 10, ""), (10, 10, "████"), (5, 10, "██"), (1, 32, "▏"), (1, 10**6, "▏"), (0, 0, "")]
)
def test_bars_are_as_long_as_their_share(count: int, most: int, expected: str) -> None:
    assert output.bar(count, most, width=4) == expected


@pytest.mark.parametrize(
    "value,expected", [(1234567, "1,234,567"), (1234.6, "1,235"), (0.12345, "0.123"), (12.0, "12")]
)
def test_numbers_have_their_thousands_apart(value: float, expected: str) -> None:
    assert output.number(value) == expected


def test_long_values_become_one_short_line() -> None:
    assert output.short("a\n b\tc") == "a b c"
    assert output.short("x" * 200, 10) == "xxxxxxxxx…"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.colours(Terminal())
    assert not output.colours(io.StringIO())

    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.colours(Terminal())

    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.is_terminal(Terminal())


def test_a_terminal_gets_colours_and_a_pipe_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe = Terminal(), io.StringIO()

    for stream in (terminal, pipe):
        monkeypatch.setattr(sys, "stdout", stream)
        output.table(("status",), [("failed",)])

    assert "\x1b[31mfailed" in terminal.getvalue()
    assert pipe.getvalue() == "status\nfailed\n"
