"""Rules of the house that imports alone do not show."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.code import calls, imports, module_name, source_files, tracked_files, tree, within
from tests.support.paths import ROOT

CLOCKS = {"windlass.kernel.clock", "windlass.kernel.ids"}

TIME_CALLS = {
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "time.sleep",
    "time.time",
    "time.time_ns",
}

ONLY_IN = {
    "fastapi": ["windlass.http"],
    "fastapi_offline": ["windlass.http"],
    "starlette": ["windlass.http", "windlass.demo"],
    "uvicorn": ["windlass.http", "windlass.cli", "windlass.demo"],
    "typer": ["windlass.cli"],
    "rich": ["windlass.cli"],
    "jinja2": ["windlass.http", "windlass.console", "windlass.contexts.workflows"],
    "sqlite3": ["windlass.storage", "windlass.demo"],
    "psycopg": ["windlass.storage"],
    "psycopg_pool": ["windlass.storage"],
    "alembic": ["windlass.storage", "windlass.migrations"],
    "pydantic_settings": ["windlass.settings"],
}

NOTES_TO_SELF = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
SOMEONES_FOLDER = re.compile(r"(?<![\w.~$}/-])/(?:root|home|Users|work|private)/[\w.]")
BINARY = {".db", ".gif", ".gz", ".ico", ".jpg", ".lz4", ".png", ".xz"}

Finding = Iterator[str]


def time_reads(path: Path) -> Finding:
    """Calls that read or spend real time; everything but the kernel goes through the clock."""
    if module_name(path) not in CLOCKS:
        for line, name in calls(path):
            if name in TIME_CALLS:
                yield f"line {line}: {name}"


def commits(path: Path) -> Finding:
    """Commits of a database outside storage; everyone else hands the committer a unit of work."""
    # The kit's session stands in for storage's own.
    if not within(module_name(path), "windlass.storage", "windlass.testing.simulation"):
        for node in ast.walk(tree(path)):
            # The drivers' own commit takes nothing; handing something to a committer is fine.
            if isinstance(node, ast.Call) and ast.unparse(node).endswith(".commit()"):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def strayed_libraries(path: Path) -> Finding:
    """Libraries used outside the packages they belong to."""
    for line, imported in imports(path):
        for library, homes in ONLY_IN.items():
            if within(imported, library) and not within(module_name(path), *homes):
                yield f"line {line}: {imported} belongs in {' or '.join(homes)}"


def impure_kernel(path: Path) -> Finding:
    """Imports of the kernel that are neither standard library nor kernel."""
    if within(module_name(path), "windlass.kernel"):
        for line, imported in imports(path):
            standard = imported.partition(".")[0] in sys.stdlib_module_names
            if not standard and not within(imported, "windlass.kernel"):
                yield f"line {line}: {imported}"


def relative_imports(path: Path) -> Finding:
    """Relative imports; a module is named in full wherever it is used."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"line {node.lineno}: relative import"


def silent_modules(path: Path) -> Finding:
    """Modules that do not say what they are for."""
    if not ast.get_docstring(tree(path)):
        yield "no docstring"


RULES = [time_reads, commits, strayed_libraries, impure_kernel, relative_imports, silent_modules]


def test_the_package_keeps_the_rules() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {finding} ({rule.__doc__})"
        for path in source_files()
        for rule in RULES
        for finding in rule(path)
    ]

    assert source_files()
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "rule,module,code",
    [
        (time_reads, "engine/x.py", "import time\ntime.time()"),
        (time_reads, "engine/x.py", "from time import sleep\nsleep(1)"),
        (time_reads, "storage/x.py", "from datetime import UTC, datetime\ndatetime.now(UTC)"),
        (time_reads, "http/x.py", "import datetime\ndatetime.datetime.now()"),
        (commits, "contexts/x.py", "connection.commit()"),
        (strayed_libraries, "contexts/x.py", "def f():\n    from fastapi.routing import APIRoute"),
        (impure_kernel, "kernel/x.py", "import orjson"),
        (impure_kernel, "kernel/x.py", "from windlass.engine import runner"),
        (relative_imports, "engine/x.py", "from . import runner"),
        (silent_modules, "engine/x.py", "import sys"),
    ],
)
def test_the_rule_finds_what_it_is_for(
    rule: Callable[[Path], Finding], module: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.code.SOURCE", tmp_path / "windlass")
    path = tmp_path / "windlass" / module
    path.parent.mkdir(parents=True)
    path.write_text(code)

    assert list(rule(path))


def test_every_folder_of_the_package_is_a_package() -> None:
    missing = {path.parent for path in source_files() if not (path.parent / "__init__.py").exists()}

    assert not missing


def test_python_files_beside_the_package_say_what_they_are_for() -> None:
    beside = [path for path in tracked_files() if path.suffix == ".py" and path not in source_files()]

    assert beside
    assert [path for path in beside if not ast.get_docstring(tree(path))] == []


@pytest.mark.parametrize("pattern", [NOTES_TO_SELF, SOMEONES_FOLDER], ids=["notes", "folders"])
def test_no_tracked_file_carries_private_matter(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_files()
        if path.suffix not in BINARY and path.name != "uv.lock"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", ["root/notes", "home/ann/x", "work/main"])
def test_someones_folder_is_recognised(folder: str) -> None:
    assert SOMEONES_FOLDER.search(f"cd /{folder}")


def test_the_lock_names_no_index_but_the_public_one() -> None:
    hosts = set(re.findall(r"(?:\w+)://[^/\"]*", (ROOT / "uv.lock").read_text()))

    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}
