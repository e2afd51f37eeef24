"""Which of the servers that an address names is the primary: the one found last is asked first, a past one never."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import psycopg

from windlass.storage.urls import DatabaseUrl

CONNECT_SECONDS = 3
"""How long one of several servers is waited for, unless the address says otherwise: the next may be the one."""
_TIMELINE = """SELECT (SELECT system_identifier::text FROM pg_control_system()),
 ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"""


class Servers:
    """The servers of one address, shared by all connections of the process.

    A standby that is promoted begins a new timeline. A primary of an older one is a server that came back and does not
    know that it was replaced: what is read there is out of date, what is written there is lost.

    Args:
        url: the address.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self._lock = threading.Lock()
        self._order = url.hosts
        self._several = len(self._order) > 1 and "hostaddr" not in url.libpq
        self._timelines: dict[str, int] = {}

    def parameters(self, but: set[tuple[str, str]]) -> dict[str, Any]:
        """Return the connection parameters that name the servers, empty when there is only one.

        Args:
            but: servers to leave out.
        """
        if not self._several:
            return {}
        with self._lock:
            left = [one for one in self._order if one not in but]
        return {"host": ",".join(host for host, _ in left), "port": ",".join(port for _, port in left)}

    def of_the_past(self, raw: psycopg.Connection[Any]) -> tuple[str, str] | None:
        """Return which server a connection leads to if that has been replaced; remember it as the first if not.

        Raises:
            psycopg.OperationalError: the connection broke.
        """
        reached = [one for one in self._order if one[0] == raw.info.host and one[1] in {"", str(raw.info.port)}]
        if not self._several or not reached:
            return None
        try:
            [(system, timeline)] = raw.execute(_TIMELINE, prepare=False).fetchall()
        except (psycopg.ProgrammingError, psycopg.NotSupportedError, psycopg.errors.ObjectNotInPrerequisiteState):
            return None  # where a provider hides the log, it is on him to keep old servers away
        with self._lock:
            known = self._timelines.setdefault(system, timeline)
            if timeline < known:
                return reached[0]
            self._timelines[system] = timeline
            self._order.remove(reached[0])
            self._order.insert(0, reached[0])
        return None


@lru_cache(maxsize=64)
def servers(url: DatabaseUrl) -> Servers:
    """Return what this process knows of the servers of an address."""
    return Servers(url)
