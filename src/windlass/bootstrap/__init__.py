"""The composition root: settings in; database, engine and contexts out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from windlass.bootstrap.gate import Gate
from windlass.contexts.records.api import Limits, Records, load_processors
from windlass.engine.engine import Engine
from windlass.engine.ops import Commits
from windlass.engine.ports import Backend, Ring
from windlass.engine.registry import Registry, default_registry
from windlass.engine.types import Event
from windlass.executors import api as executors
from windlass.kernel.clock import SECOND, Clock
from windlass.kernel.lanes import STRICT_AGEING, LaneRules
from windlass.kernel.telemetry import Silent, Telemetry
from windlass.kernel.tuning import tune_process
from windlass.live.api import Live
from windlass.settings import Settings
from windlass.storage import migrate
from windlass.storage.committer import Committer
from windlass.storage.moving.marks import refuse_marked
from windlass.storage.own import OwnTransactions
from windlass.storage.sqlite.backend import SqliteBackend
from windlass.storage.sqlite.folder import RunFolder, TurnLock
from windlass.storage.urls import DatabaseUrl

if TYPE_CHECKING:
    from windlass.bootstrap.contexts import Contexts
    from windlass.contexts.artifacts.api import Artifacts
    from windlass.contexts.identity.api import Identity
    from windlass.contexts.limits.api import Limits as StartLimits
    from windlass.contexts.outbound.api import Outbound
    from windlass.contexts.people.api import People
    from windlass.contexts.providers.api import Providers
    from windlass.contexts.schedules.api import Schedules
    from windlass.contexts.webhooks.api import Webhooks
    from windlass.contexts.workflows.api import Definitions, Workflows

STOP_SECONDS = 5.0
TRANSACTION_CONNECTIONS = 8
"""How many transactional steps may run at once, where each has a transaction of its own."""


class Part(Protocol):
    """A context with work of its own."""

    async def start(self) -> None:
        """Begin it."""
        ...

    async def stop(self) -> None:
        """End it, also when it has not begun."""
        ...


class Application:
    """A running Windlass without its edges.

    What stands beside records is put together when it is first asked for: a command that only looks at runs need not
    load the half of the product.
    """

    def __init__(
        self, settings: Settings, backend: Backend, commits: Committer, engine: Engine, records: Records
    ) -> None:
        self.settings = settings
        self.backend = backend
        self.commits = commits
        self.engine = engine
        self.records = records
        self.gate = Gate(engine, watches=settings.database.path is not None)
        self.own: OwnTransactions | None = None
        self.assembled: Contexts | None = None

    def hurry(self) -> None:
        """Wait no more for a database that is away: who waits for an answer hears that it is not known."""
        self.commits.hurry()
        if self.own is not None:
            self.own.hurry()

    @property
    def contexts(self) -> Contexts:
        """Return what stands beside records.

        Raises:
            ConfigError: a setting asks for what is not installed, or two do not fit together.
        """
        return self.assemble() if self.assembled is None else self.assembled

    def assemble(self) -> Contexts:
        """Put together what stands beside records; a process that carries runs out does so before it begins."""
        from windlass.bootstrap.contexts import assemble  # noqa: PLC0415  see the class

        self.assembled = assemble(self.settings, self.engine)
        return self.assembled

    @property
    def identity(self) -> Identity:
        """Return who may come in."""
        return self.contexts.identity

    @property
    def people(self) -> People:
        """Return those who decide."""
        return self.contexts.people

    @property
    def outbound(self) -> Outbound:
        """Return the way to other hosts."""
        return self.contexts.outbound

    @property
    def webhooks(self) -> Webhooks:
        """Return the deliveries."""
        return self.contexts.webhooks

    @property
    def artifacts(self) -> Artifacts:
        """Return the files of runs."""
        return self.contexts.artifacts

    @property
    def schedules(self) -> Schedules:
        """Return what starts by the clock."""
        return self.contexts.schedules

    @property
    def workflows(self) -> Workflows:
        """Return the workflows written as documents."""
        return self.contexts.workflows

    @property
    def definitions(self) -> Definitions:
        """Return the saved definitions."""
        return self.contexts.workflows.definitions

    @property
    def limits(self) -> StartLimits:
        """Return how much may be started."""
        return self.contexts.limits

    @property
    def providers(self) -> Providers:
        """Return the provider registration."""
        return self.contexts.providers

    @property
    def parts(self) -> list[Part]:
        """Return those contexts that have work of their own beside the engine's runs."""
        found = self.contexts
        first: list[Part] = [self.records, found.identity, found.people, found.webhooks, found.artifacts]
        return [*first, found.schedules, found.limits, found.upkeep, found.providers.candidates, self.gate]


def open_backend(url: DatabaseUrl, lease_seconds: float | None = None) -> Backend:
    """Return the backend of a database, for a process whose leases are so long; nothing is connected yet."""
    if url.path is not None:
        return SqliteBackend(url.path)
    from windlass.storage.postgres.backend import PostgresBackend  # noqa: PLC0415  its driver is an extra

    return PostgresBackend(url, lease_seconds=lease_seconds)


@contextmanager
def _turn(url: DatabaseUrl) -> Iterator[None]:
    """Keep other processes of a SQLite file from migrating or writing."""
    assert url.path is not None  # noqa: S101  the caller looked
    path = url.path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = TurnLock(RunFolder(path).path)
    turn.acquire()
    try:
        yield
    finally:
        turn.close()


def migration_lock(url: DatabaseUrl) -> AbstractContextManager[None]:
    """Return what a migrating process holds."""
    return nullcontext() if url.path is None else _turn(url)


def prepare_database(settings: Settings, telemetry: Telemetry | None = None) -> migrate.Version:
    """Bring the database to this version where that is wanted, else make sure that it is.

    Args:
        settings: which database, and whether it is wanted.
        telemetry: hears of it once an older database is upgraded: ``schema.upgraded`` with ``before`` and ``after``.

    Raises:
        ConfigError: it is newer than the code, or older and not to be migrated, or it is being or has been moved.
        Unavailable: it cannot be reached.
    """
    url = settings.database
    found = migrate.inspect(url)
    wanted = settings.auto_migrate if settings.auto_migrate is not None else url.path is not None
    if wanted and not found.matches:
        before, found = found.current, migrate.upgrade(url, migration_lock(url))
        if telemetry is not None and before is not None:
            telemetry.event("schema.upgraded", before=before, after=found.current)
    migrate.refuse_other(url, found)
    refuse_marked(url)
    return found


@asynccontextmanager
async def run_application(
    settings: Settings,
    *,
    worker: bool | None = None,
    queues: Sequence[str] | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Application]:
    """Open the database and start the engine; stop and close both at the end.

    Args:
        settings: the settings.
        worker: whether this process carries runs out; as EMBED_WORKER says by default.
        queues: carry out runs of these queues only.
        telemetry: who hears what the engine tells.

    Raises:
        ConfigError: the database is not at this version, or a module of APP_MODULES cannot be imported.
        Unavailable: the database cannot be reached.
    """
    wanted = settings.embed_worker if worker is None else worker
    async with _open(settings, worker=wanted, queues=queues, telemetry=telemetry) as application:
        engine, parts = application.engine, application.parts
        await engine.start()
        try:
            for part in parts:
                await part.start()
            if settings.tune_process:
                tune_process()
            yield application
        finally:
            hurry = asyncio.get_running_loop().call_later(STOP_SECONDS, application.hurry)
            for part in reversed(parts):
                await part.stop()
            await engine.stop(STOP_SECONDS)
            hurry.cancel()


@asynccontextmanager
async def visit_application(settings: Settings) -> AsyncIterator[Application]:
    """Open the database for a moment: runs can be started, spoken to and looked at, and nothing of the visit stays.

    No lease is taken, so the engine hears of no run's end: ask for it.

    Raises:
        ConfigError: the database is not at this version, or a module of APP_MODULES cannot be imported.
        Unavailable: the database cannot be reached.
    """
    async with _open(settings, worker=False, visiting=True) as application:
        yield application


@asynccontextmanager
async def _open(
    settings: Settings,
    *,
    worker: bool,
    queues: Sequence[str] | None = None,
    telemetry: Telemetry | None = None,
    visiting: bool = False,
) -> AsyncIterator[Application]:
    processors = load_processors(settings.app_modules)
    await asyncio.to_thread(prepare_database, settings, telemetry)
    backend = open_backend(settings.database, settings.lease_seconds)
    commits = Committer(backend.write_session(), limit=settings.commit_queue_limit)
    own = None if visiting else _own_transactions(backend, commits)
    clock = await asyncio.to_thread(backend.agree)
    engine = _engine(settings, backend, commits, own, worker, queues, telemetry, clock=clock)
    if worker:
        executors.configure(
            processes=settings.executor_processes,
            ray_address=settings.executor_ray_address,
            ray_at_once=settings.executor_ray_at_once,
        )
    commits.on_rings = engine.worker.on_rings
    limits = Limits(settings.max_payload_bytes, settings.process_wait_seconds, settings.idempotency_seconds)
    records = Records(engine, processors, limits)
    application = Application(settings, backend, commits, engine, records)
    application.own = own
    if not visiting:
        try:
            application.assemble()
        except BaseException:
            backend.close()
            raise
    commits.start()
    if own is not None:
        own.start()
    try:
        yield application
    finally:
        if application.assembled is not None:
            await application.assembled.outbound.close()
            await application.assembled.providers.billing.close()
        if worker:
            await asyncio.to_thread(executors.close_all)
        await asyncio.to_thread(_close, backend, commits, own)


def _own_transactions(backend: Backend, commits: Committer) -> OwnTransactions | None:
    if not backend.own_transactions:
        return None
    sessions = [backend.write_session() for _ in range(TRANSACTION_CONNECTIONS)]

    def on_rings(rings: Sequence[Ring], written: Sequence[Event]) -> None:
        commits.on_rings(rings, written)

    return OwnTransactions(sessions, on_rings=on_rings)


def _engine(
    settings: Settings,
    backend: Backend,
    commits: Committer,
    transactions: Commits | None,
    worker: bool,
    queues: Sequence[str] | None,
    telemetry: Telemetry | None,
    *,
    clock: Clock,
) -> Engine:
    registry = Registry()
    for workflow in default_registry.definitions:
        registry.add(workflow)
    return Engine(
        backend,
        commits,
        transactions=transactions,
        clock=clock,
        registry=registry,
        worker=worker,
        concurrency=settings.worker_concurrency,
        lease_seconds=settings.lease_seconds,
        queues=queues,
        telemetry=telemetry or Silent(),
        lanes=lane_rules(settings),
        live=Live,
    )


def lane_rules(settings: Settings) -> LaneRules:
    """Return the limits of runs of definitions where nobody has set one."""
    ageing = int(settings.workflows_priority_ageing_seconds * SECOND) or STRICT_AGEING
    return LaneRules(settings.workflows_tenant_concurrency, settings.workflows_workflow_concurrency, ageing)


def _close(backend: Backend, commits: Committer, own: OwnTransactions | None) -> None:
    if own is not None:
        own.close()
    commits.close()
    backend.close()
