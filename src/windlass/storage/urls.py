"""DATABASE_URL in all its spellings, read once: which database, where, and how many connections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from windlass.kernel.errors import ConfigError

POOL_SIZE = 10
MAX_OVERFLOW = 20
SPELLINGS = (
    "sqlite:///./file.db, sqlite:////absolute/file.db or"
    " postgresql://user:password@host:5432/name?pool_size=10&max_overflow=20; several hosts with commas between"
)
_SQLITE = frozenset({"sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"})
_POSTGRES = frozenset({"postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"})
_SEVERAL = re.compile(r"(?P<head>\w[\w+]*://(?:[^:/]*(?::[^@]*)?@)?)(?P<hosts>[^/?]*,[^/?]*)")
_HOST = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>[0-9]*))?")
_SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
_STANDBYS = frozenset({"read-only", "standby", "prefer-standby"})


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A database's address.

    ``backend`` is ``sqlite`` or ``postgresql``; ``path`` is the file of the former; ``pool_size`` connections
    are kept and ``max_overflow`` more are opened when needed. ``direct`` leads to the same database past a pooler.
    """

    backend: str
    sqlalchemy: sa.URL
    path: Path | None = None
    pool_size: int = POOL_SIZE
    max_overflow: int = MAX_OVERFLOW
    direct: DatabaseUrl | None = None

    def __str__(self) -> str:
        query = {name: "***" if name in _SECRETS else value for name, value in self.sqlalchemy.query.items()}
        hosts = self.hosts
        if len(hosts) > 1:
            query = {name: value for name, value in query.items() if name not in {"host", "port"}}
        shown = self.sqlalchemy.set(drivername=self.backend, query=query).render_as_string(hide_password=True)
        if len(hosts) > 1:
            head, _, rest = shown.partition("://")
            who, _, path = rest.partition("/")
            named = (f"[{host}]" if ":" in host else host for host, _ in hosts)
            placed = (f"{host}:{port}" if port else host for host, (_, port) in zip(named, hosts, strict=True))
            shown = f"{head}://{who}{','.join(placed)}/{path}"
        return shown

    @property
    def hosts(self) -> list[tuple[str, str]]:
        """The servers of which one is the primary, in order: name or address, and port where one is said."""
        known = self.libpq
        names = str(known.get("host", "")).split(",")
        ports = str(known.get("port", "")).split(",")
        return list(zip(names, ports * len(names) if len(ports) == 1 else ports, strict=True))

    @property
    def libpq(self) -> dict[str, Any]:
        """The connection parameters of PostgreSQL's own client library, by name."""
        url = self.sqlalchemy
        given = {
            "host": url.host,
            "port": url.port,
            "user": url.username,
            "password": url.password,
            "dbname": url.database,
            **url.query,
        }
        return {name: value for name, value in given.items() if value is not None}


def parse(text: str) -> DatabaseUrl:
    """Read a database's address.

    Raises:
        ConfigError: it is none, or names an option that does not exist; the message holds no password.
    """
    several = _SEVERAL.match(text)
    try:
        url = sa.make_url(text if several is None else several["head"] + text[several.end() :])
    except (ArgumentError, ValueError):
        raise ConfigError("it is no database address") from None
    if url.drivername in _SQLITE:
        return _sqlite(url)
    if url.drivername in _POSTGRES:
        return _postgres(url if several is None else url.update_query_dict(_hosts(several["hosts"])))
    raise ConfigError(f"{url.drivername!r} is no known kind of database")


def _sqlite(url: sa.URL) -> DatabaseUrl:
    if url.query:
        raise ConfigError(f"SQLite knows no option {min(url.query)!r}")
    if url.host or url.username:
        raise ConfigError("a SQLite address has three slashes before the file: sqlite:///./file.db")
    if not url.database or url.database == ":memory:":
        raise ConfigError("SQLite needs a file, a database in memory would not outlive the process")
    path = Path(url.database)
    return DatabaseUrl("sqlite", sa.URL.create("sqlite", database=str(path)), path)


def _hosts(text: str) -> dict[str, str]:
    """Return several hosts as libpq names them: all hosts, and a port of each where there are any."""
    found = [_HOST.fullmatch(one) for one in text.split(",")]
    if not all(found):
        raise ConfigError("between the commas of a database address stands host, host:port or [address]:port")
    hosts = [(one["six"] or one["name"], one["port"] or "") for one in found if one]
    ports = {"port": ",".join(port for _, port in hosts)} if any(port for _, port in hosts) else {}
    return {"host": ",".join(host for host, _ in hosts), **ports}


def _postgres(url: sa.URL) -> DatabaseUrl:
    query = {
        name: value if isinstance(value, str) else ",".join(value) if name in {"host", "port"} else value[-1]
        for name, value in url.query.items()
    }
    if "ssl" in query:
        query["sslmode"] = query.pop("ssl")
    pool_size = _count(query, "pool_size", POOL_SIZE, least=1)
    max_overflow = _count(query, "max_overflow", MAX_OVERFLOW, least=0)
    unknown = set(query) - _libpq_options()
    if unknown:
        raise ConfigError(f"PostgreSQL knows no option {min(unknown)!r}")
    if not url.database:
        raise ConfigError("the name of the database is missing")
    plain = url.set(drivername="postgresql+psycopg", query=query)
    made = DatabaseUrl("postgresql", plain, None, pool_size, max_overflow)
    _refuse_standbys(made)
    return made


def _refuse_standbys(url: DatabaseUrl) -> None:
    """Refuse an address by which somebody could come to a server that takes no writes."""
    known = url.libpq
    names, ports = (str(known.get(name, "")).count(",") for name in ("host", "port"))
    if ports not in {0, names}:
        raise ConfigError("there are other ports than hosts: name one for all, or one for each")
    wanted = known.get("target_session_attrs")
    if wanted in _STANDBYS or (wanted == "any" and names):
        raise ConfigError(f"target_session_attrs={wanted} finds servers that take no writes: leave it out")


def _count(query: dict[str, str], name: str, default: int, least: int) -> int:
    text = query.pop(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(f"{name} must be an integer, {least} or more")
    return int(text)


def _libpq_options() -> set[str]:
    try:
        from psycopg.pq import Conninfo  # noqa: PLC0415  only who uses PostgreSQL needs its driver
    except ImportError:
        raise ConfigError("PostgreSQL needs its driver: pip install 'windlass[postgres]'") from None
    return {option.keyword.decode() for option in Conninfo.get_defaults()}
