"""A PostgreSQL database as a backend: reads on a pool, leases by heartbeat, doorbells by LISTEN and NOTIFY."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import sqlalchemy as sa

from windlass.engine.ports import Ring
from windlass.kernel.clock import Clock
from windlass.kernel.errors import Unavailable
from windlass.storage.batches import ConnectionLost
from windlass.storage.postgres import sql
from windlass.storage.postgres.bells import Bells
from windlass.storage.postgres.clock import ServerClock
from windlass.storage.postgres.connect import OwnedConnection, alchemy_engine, connect
from windlass.storage.postgres.lease import LeaseKeeper
from windlass.storage.postgres.session import PostgresSession
from windlass.storage.postgres.wire import Wire
from windlass.storage.queries import SqlReader
from windlass.storage.rings import spoken
from windlass.storage.urls import DatabaseUrl, parse

T = TypeVar("T")

READ_WAIT_SECONDS = 10.0
"""How long a read waits for one of the pool's connections."""
LEASE_REPLY_SECONDS = 5.0


class PostgresBackend:
    """One database shared by any number of processes on any number of machines.

    Args:
        url: its address; ``pool_size`` and ``max_overflow`` in it are kept to.
        pool_size: connections kept for reads, instead of what the address says.
        max_overflow: how many more are opened when needed, instead of what the address says.
        clock: the one clock; the server's when left out.
        lease_seconds: how long leases are; the server has less patience with a transaction that stands still.
    """

    name = "postgres"
    own_transactions = True
    deaths = f"EXISTS ({sql.DEAD_HOLDERS})"
    fleet = "(SELECT count(*) FROM workflow_leases WHERE state = 'live' AND workflows <> '')"

    def __init__(
        self,
        url: DatabaseUrl | str,
        *,
        pool_size: int | None = None,
        max_overflow: int | None = None,
        clock: Clock | None = None,
        lease_seconds: float | None = None,
    ) -> None:
        self.url = parse(url) if isinstance(url, str) else url
        self._clock = clock or ServerClock()
        self._idle = sql.IDLE_SECONDS if lease_seconds is None else min(sql.IDLE_SECONDS, lease_seconds / 2)
        self.reader = SqlReader(self)
        self.engine = alchemy_engine(
            self._read_connection,
            sa.QueuePool,
            pool_size=self.url.pool_size if pool_size is None else pool_size,
            max_overflow=self.url.max_overflow if max_overflow is None else max_overflow,
            pool_timeout=READ_WAIT_SECONDS,
        )
        self._bells = Bells(self._direct_wire, self._clock)

    def _read_connection(self) -> OwnedConnection:
        return connect(self.url, {"default_transaction_read_only": "on", "jit": "off"})

    def _side_wire(self) -> Wire:
        """Return a connection for heartbeats, which need no disk."""
        return Wire(connect(self.url, {"synchronous_commit": "off", "jit": "off"}), LEASE_REPLY_SECONDS)

    def _direct_wire(self) -> Wire:
        """Return a connection past a pooler, where the way is known: only there can be listened."""
        direct = self.url.direct or self.url
        return Wire(connect(direct, {"synchronous_commit": "off", "jit": "off"}), LEASE_REPLY_SECONDS)

    def write_session(self) -> PostgresSession:
        return PostgresSession(self.url, self._idle)

    def read(self, fn: Callable[[sa.Connection], T]) -> T:
        """Run ``fn`` with a read-only connection; once more when its connection turns out to be dead.

        Raises:
            Unavailable: the database cannot be reached, or too many reads are waiting.
        """
        try:
            try:
                with self.engine.connect() as connection:
                    return fn(connection)
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            with self.engine.connect() as connection:
                return fn(connection)
        except sa.exc.TimeoutError as error:
            raise Unavailable("too many reads are waiting for a database connection") from error
        except ConnectionLost as error:
            raise Unavailable(f"the database is not available: {error}") from error
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable(f"the database is not available: {error.orig}") from error
            raise

    def dead_holders(self, connection: sa.Connection) -> list[str]:
        return list(connection.exec_driver_sql(sql.DEAD_HOLDERS).scalars())

    def lease_holds(self, connection: sa.Connection, holder: str) -> bool:
        query = "SELECT 1 FROM workflow_leases WHERE holder = %s AND state = 'live' AND expires_at > clock_timestamp()"
        return connection.exec_driver_sql(query, (holder,)).first() is not None

    def agree(self) -> Clock:
        if isinstance(self._clock, ServerClock):
            with suppress(Unavailable):  # the first renewal of the lease tells it as well
                asked = self._clock.monotonic()
                self._clock.compare(self.read(lambda c: c.exec_driver_sql(sql.TIME).scalar_one()), asked)
        return self._clock

    @contextmanager
    def keep_lease(self, holder: str, ttl: float, lost: Callable[[], None]) -> Iterator[LeaseKeeper]:
        keeper = LeaseKeeper(self._side_wire, holder, ttl, lost, self._clock)
        keeper.start()
        try:
            yield keeper
        finally:
            keeper.stop()

    @contextmanager
    def listen(self, holder: str, ring: Callable[[str], None]) -> Iterator[None]:
        self._bells.listen(holder, ring)
        try:
            yield
        finally:
            self._bells.mute()

    def ring(self, rings: Sequence[Ring]) -> None:
        news = {spoken(ring) for ring in rings if ring.kind != "inbox"}
        news.update(f"inbox:{ring.holder}" for ring in rings if ring.kind == "inbox" and ring.holder)
        if news:
            self._bells.ring(news)

    def sweep(self, holder: str) -> None:
        """Nothing is kept beside the database."""

    def close(self) -> None:
        self._bells.close()
        self.engine.dispose()
