"""Files and functions stay small enough to read; a debt is named here until it is paid."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.code import source_files, tree
from tests.support.paths import SOURCE

FILE_LINES = 400
FILE_LINES_EVER = 600
FUNCTION_LINES = 60
ENGINE_LINES = 5000
"""Lines to read: blank ones are not."""

LONG_FILES = {"engine/run.py", "engine/worker.py"}
LONG_FUNCTIONS: set[str] = set()


def _name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield f"{_name(path)}:{node.name}", node.end_lineno - node.lineno + 1


def test_files_stay_within_their_budget() -> None:
    over = {_name(path) for path in source_files() if _lines(path) > FILE_LINES}

    assert over == LONG_FILES


def test_no_file_is_ever_longer() -> None:
    assert [_name(path) for path in source_files() if _lines(path) > FILE_LINES_EVER] == []


def test_functions_stay_within_their_budget() -> None:
    over = {name for path in source_files() for name, lines in _functions(path) if lines > FUNCTION_LINES}

    assert over == LONG_FUNCTIONS


def test_the_engine_can_be_read_in_an_evening() -> None:
    texts = [path.read_text() for path in source_files() if path.is_relative_to(SOURCE / "engine")]

    assert sum(bool(line.strip()) for text in texts for line in text.splitlines()) <= ENGINE_LINES


def test_a_long_function_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    path = tmp_path / "x.py"
    path.write_text("async def long():\n" + "    pass\n" * 60)

    assert list(_functions(path)) == [("x.py:long", 61)]
