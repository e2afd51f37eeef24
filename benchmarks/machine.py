"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.databases import file_system

_QUIET_LOAD = 0.5
_PACKAGES = ("windlass", "sqlalchemy", "psycopg", "uvicorn", "uvloop", "fastapi", "pydantic", "orjson")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory() -> str:
    kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
    return f"{kilobytes / 1024**2:.0f} GiB"


def is_busy() -> bool:
    """Whether something else has kept a good part of a core busy lately."""
    return os.getloadavg()[0] > _QUIET_LOAD


def describe(folder: Path) -> dict[str, str]:
    """Return the machine, the file system of the data folder and the versions, by name."""
    found = {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "file system": file_system(folder),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
