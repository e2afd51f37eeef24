"""The database from outside: does it answer, is it at the right version, is its file sound, is there room?"""

from __future__ import annotations

import shutil
from pathlib import Path

from windlass.cli.output import number
from windlass.cli.work.doctor.findings import Check
from windlass.kernel.errors import ConfigError, WindlassError
from windlass.settings import Settings
from windlass.storage import migrate
from windlass.storage.urls import DatabaseUrl

MEBIBYTE = 1024 * 1024
WAL_BYTES = 64 * MEBIBYTE
"""The WAL of a database in use stays below that; a larger one means that somebody reads without end."""
DISK_BYTES = 512 * MEBIBYTE


def database(found: Settings) -> tuple[list[Check], bool]:
    """Look at the database from outside; also say whether its tables can be looked at."""
    url = found.database
    try:
        version = migrate.inspect(url)
    except ConfigError as error:
        return [Check("database", "failed", error.message)], False
    except WindlassError as error:
        return [Check("database", "failed", str(error), "start it, or mend DATABASE_URL")], False
    checks = [Check("database", "ok", f"{url} answers")]
    try:
        migrate.refuse_other(url, version)
        checks.append(Check("schema", "ok", f"at {version.current}, as this program wants"))
    except ConfigError as error:
        checks.append(Check("schema", "failed", error.message, "windlass db upgrade" if version.known else ""))
    sound = True
    if url.path is not None and url.path.exists():
        whole = integrity(url)
        sound = whole.result == "ok"
        checks += [whole, *files(url.path.absolute())]
    return checks, version.matches and sound


def integrity(url: DatabaseUrl) -> Check:
    """Let SQLite look for damage in its file."""
    try:
        found = migrate.quick_check(url)
    except WindlassError as error:
        return Check("file", "failed", error.message)
    if found == "ok":
        return Check("file", "ok", "SQLite finds no damage in it")
    return Check("file", "failed", migrate.damaged(url, found).message)


def files(path: Path) -> list[Check]:
    """Look at the files of a SQLite database and their disk."""
    wal = Path(f"{path}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    free = shutil.disk_usage(path.parent).free
    said = f"{size / MEBIBYTE:.1f} MiB beside a file of {path.stat().st_size / MEBIBYTE:.1f} MiB"
    grown = "one large transaction has grown it, which passes, or a reader keeps it: look for one without end"
    checks = [Check("wal", "ok", said) if size <= WAL_BYTES else Check("wal", "warning", said, grown)]
    said = f"{number(free / MEBIBYTE)} MiB free"
    full = "make room: without it nothing can be accepted"
    checks.append(Check("disk", "ok", said) if free >= DISK_BYTES else Check("disk", "warning", said, full))
    return checks
