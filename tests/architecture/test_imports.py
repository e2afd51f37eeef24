"""The import rules hold for the package as it is, and each of them can fail."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import BIN, ROOT

SKELETON = [
    "cli/main.py",
    "http/app.py",
    "console/app.py",
    "demo/app.py",
    "bootstrap.py",
    "settings.py",
    "contexts/records/api.py",
    "contexts/records/store.py",
    "contexts/reports/api.py",
    "contexts/reports/service.py",
    "live/streams.py",
    "storage/database.py",
    "storage/sqlite/backend.py",
    "storage/postgres/backend.py",
    "engine/runner.py",
    "engine/journal.py",
    "kernel/clock.py",
]

VIOLATIONS = {
    "a lower layer imports a higher one": ("engine/runner.py", "import windlass.storage.database"),
    "the edges know each other": ("console/app.py", "import windlass.http.app"),
    "a context reads another's store": (
        "contexts/reports/service.py",
        "import windlass.contexts.records.store",
    ),
    "a demo knows the product": ("demo/app.py", "import windlass.http.app"),
    "an edge passes the door": ("http/app.py", "import windlass.contexts.records.store"),
    "a framework in the engine": ("engine/runner.py", "import fastapi"),
    "a driver in a context": ("contexts/records/store.py", "import sqlite3"),
    "a driver beside the contexts": ("live/streams.py", "import psycopg"),
    "a driver behind a context's back": ("storage/database.py", "import psycopg"),
    "a backend chosen by an edge": ("cli/main.py", "import windlass.storage.sqlite.backend"),
    "a cycle": ("kernel/clock.py", "import windlass.kernel.ids"),
    "a package nobody placed": ("helpers/__init__.py", ""),
}


def _check(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1"}
    command = [str(BIN / "lint-imports"), "--no-cache", "--config", ".importlinter"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _write(package: Path, name: str, text: str) -> None:
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in [path.parent, *path.parent.parents]:
        (folder / "__init__.py").touch()
        if folder == package:
            break
    path.write_text(f"{text}\n")


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A small package of the same shape that keeps every rule."""
    shutil.copy(ROOT / ".importlinter", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    package = tmp_path / "src" / "windlass"
    for name in SKELETON:
        _write(package, name, "")
    _write(package, "contexts/records/service.py", "import windlass.contexts.records.store")
    _write(package, "contexts/reports/service.py", "import windlass.contexts.records.api")
    _write(package, "contexts/records/store.py", "import windlass.storage.database")
    _write(package, "kernel/ids.py", "import windlass.kernel.clock")
    _write(package, "bootstrap.py", "import windlass.storage.sqlite.backend, windlass.contexts.records.store")
    return tmp_path


def test_the_package_keeps_the_rules() -> None:
    done = _check(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_skeleton_keeps_the_rules(skeleton: Path) -> None:
    done = _check(skeleton)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_violation_is_caught(skeleton: Path, violation: str) -> None:
    name, line = VIOLATIONS[violation]
    path = skeleton / "src" / "windlass" / name
    before = path.read_text() if path.exists() else ""

    _write(path.parents[len(Path(name).parts) - 1], name, f"{before}\n{line}")

    done = _check(skeleton)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
