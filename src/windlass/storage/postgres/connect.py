"""How this product connects to PostgreSQL: what it checks, what it sets, and what SQLAlchemy sees of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa
from psycopg.adapt import Dumper
from psycopg.types.json import Json, Jsonb
from psycopg.types.string import TextLoader

from windlass.engine.errors import TransactionLost
from windlass.kernel.errors import ConfigError
from windlass.storage.batches import ConnectionLost
from windlass.storage.postgres.servers import CONNECT_SECONDS, servers
from windlass.storage.urls import DatabaseUrl

MINIMUM_VERSION = 150000

PARAMETERS: dict[str, Any] = {
    "application_name": "windlass",
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "target_session_attrs": "read-write",
}
"""Connection parameters unless the address says otherwise: a peer that is gone is noticed within a minute."""
_SETTLE_IN = """SELECT pg_backend_pid(), count(set_config(s.key, s.value, false)) FROM json_each_text(%s::json) AS s
 WHERE s.key = 'timezone' OR pg_backend_pid() = %s"""
"""The process told at the start is not the one that answers when a pooler stands between. Poolers know time zones."""


class OwnedConnection(psycopg.Connection[Any]):
    """A connection whose transactions are the engine's to end, once it is ``owned``.

    One that is ``pooled`` leads to another process of the server at each transaction: nothing of a session lasts.
    """

    owned = False
    pooled = False

    def commit(self) -> None:
        """Commit, unless that is the engine's business.

        Raises:
            TransactionLost: it is.
        """
        self._refuse()
        super().commit()

    def rollback(self) -> None:
        """Roll back, unless that is the engine's business.

        Raises:
            TransactionLost: it is.
        """
        self._refuse()
        super().rollback()

    def _refuse(self) -> None:
        if self.owned:
            raise TransactionLost("only the engine ends this transaction")


def connect(
    url: DatabaseUrl, settings: Mapping[str, str], *, alone_for: str = "", **parameters: Any
) -> OwnedConnection:
    """Open a connection that commits by itself, with JSON as text and times in UTC.

    Through a pooler none of ``settings`` is made: it would be made for whoever has the server's process next.

    Args:
        url: the database.
        settings: run-time parameters of the session, by name.
        alone_for: what the connection is wanted for, where that takes a process of the server for itself.
        parameters: connection parameters on top of the usual ones.

    Raises:
        ConnectionLost: no server can be reached that takes connections and writes now.
        ConfigError: it is too old, the database is not in UTF-8, or a pooler stands between where none may.
    """
    raw = _reach(url, parameters)
    try:
        _check(raw)
        wanted = orjson.dumps({"timezone": "UTC", **settings}).decode()
        told = raw.info.backend_pid
        [(pid, _)] = raw.execute(_SETTLE_IN, (wanted, told), prepare=False).fetchall()
        raw.pooled = pid != told
        if raw.pooled:
            raw.prepare_threshold = None
            if alone_for:
                raise ConfigError(
                    f"{alone_for} does not work through a pooler such as PgBouncer, as {url} is:"
                    " name the database's own address, beside a pooler's in DATABASE_DIRECT_URL"
                )
    except psycopg.OperationalError as error:
        raw.close()
        raise ConnectionLost(str(error)) from error
    except BaseException:
        raw.close()
        raise
    for kind in ("json", "jsonb"):
        raw.adapters.register_loader(kind, TextLoader)
    for wrapper in (Json, Jsonb):
        raw.adapters.register_dumper(wrapper, JsonText)
    return raw


def _reach(url: DatabaseUrl, parameters: Mapping[str, Any]) -> OwnedConnection:
    """Connect to the server that takes writes."""
    known = servers(url)
    past: set[tuple[str, str]] = set()
    while len(past) < len(url.hosts):
        named = known.parameters(past)
        patience = {"connect_timeout": CONNECT_SECONDS} if named else {}
        given = {**PARAMETERS, **patience, **url.libpq, **named, **parameters}
        raw = None
        try:
            raw = OwnedConnection.connect(**given, autocommit=True)
            place = known.of_the_past(raw)
        except BaseException as error:
            if raw is not None:
                raw.close()
            if isinstance(error, psycopg.OperationalError):
                raise ConnectionLost(f"{_replaced(past)}{error}") from error
            raise
        if place is None:
            return raw
        raw.close()
        past.add(place)
    raise ConnectionLost(_replaced(past).rstrip("; "))


def _replaced(past: set[tuple[str, str]]) -> str:
    """Say which servers answer as primaries and are none any more."""
    return "".join(f"{host}:{port or 5432} has been replaced as the primary; " for host, port in sorted(past))


def _check(raw: OwnedConnection) -> None:
    version = raw.info.server_version
    if version < MINIMUM_VERSION:
        raise ConfigError(f"PostgreSQL {version // 10000} is too old: {MINIMUM_VERSION // 10000} or newer is needed")
    encoding = raw.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigError(f"the encoding of the database is {encoding}, it must be UTF8")


class JsonText(Dumper):
    """Sends what SQLAlchemy takes for a JSON value: JSON text as it is, and None as NULL."""

    def dump(self, obj: Json) -> bytes | None:
        """Return the text to send.

        Raises:
            TypeError: it is no text.
        """
        text = obj.obj
        if text is None:
            return None
        if not isinstance(text, str):
            raise TypeError(f"a JSON column takes JSON text, not {type(text).__qualname__}")
        return text.encode()


def alchemy_engine(creator: Callable[[], OwnedConnection], poolclass: type[sa.Pool], **options: Any) -> sa.Engine:
    """Return a SQLAlchemy engine over such connections; it begins and ends no transaction."""
    return sa.create_engine(
        "postgresql+psycopg://",
        creator=creator,
        poolclass=poolclass,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        use_native_hstore=False,
        **options,
    )
