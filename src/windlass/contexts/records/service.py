"""What can be done with records. The door for others is ``api``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from windlass.contexts.records import listing, reports, requests, rollups, rows, tallies, transitions
from windlass.contexts.records.creation import INTAKE, Intake
from windlass.contexts.records.intake import read_draft
from windlass.contexts.records.listing import COUNT_BOUND, Filter, ListQuery
from windlass.contexts.records.model import Draft, Record, Status, fresh
from windlass.contexts.records.processors import Processors
from windlass.contexts.records.reports import ReportFilter
from windlass.contexts.records.requests import RequestKey
from windlass.contexts.records.stamps import Stamps
from windlass.contexts.records.tallies import ALL, ALL_OF_SOURCE, Span
from windlass.contexts.records.tasks import PROCESS, PROCESS_MANY, define, packed
from windlass.engine.engine import Engine
from windlass.engine.errors import RunCancelled, RunFailed
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.errors import Conflict, NotFound
from windlass.kernel.ids import new_id
from windlass.kernel.rounds import Calm, Rounds

EXPORT_PAGE = 500
FOLD_WHEN = 500
FOLD_ANYWAY = 10
"""Rounds after which even a few deltas are folded."""
ROUND_SECONDS = 1.0
QUIET_ROUND_SECONDS = 10.0
EXPIRY_ROUNDS = 60
UUID_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Limits:
    """``wait_seconds``: how long ``process`` waits; ``key_seconds``: how long an Idempotency-Key is remembered."""

    max_payload: int = 256 * 1024
    wait_seconds: float = 10.0
    key_seconds: float = 7 * 86400


class Page(NamedTuple):
    """A page of records; ``total`` is None when nobody wanted it, and exact when ``exact``."""

    items: list[Record]
    next_cursor: str | None
    total: int | None
    exact: bool


class Accepted(NamedTuple):
    """A record whose run has not ended yet."""

    run_id: str


class Many(NamedTuple):
    """A run over ``matched`` records."""

    run_id: str
    matched: int


class Records:
    """Records of one database.

    Args:
        engine: carries out their runs.
        processors: who processes which category.
        limits: sizes and times.
    """

    def __init__(self, engine: Engine, processors: Processors, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._engine = engine
        self._clock = engine.clock
        self._stamps = Stamps(engine.clock)
        self._rounds = 0
        self._calm = Calm(ROUND_SECONDS, QUIET_ROUND_SECONDS)
        self._keeping = Rounds("windlass-records", self._round, lambda: self._calm.seconds, self._not_kept)
        for workflow in processors.workflows().values():
            engine.registry.add(workflow)
        define(engine.registry, processors, engine.read, engine.clock)

    # taking in
    async def create(self, raw: bytes, key: str | None = None) -> Record:
        """Store a record from its JSON; it is on disk when this returns.

        Args:
            raw: the JSON.
            key: an Idempotency-Key; a repeated request gets the first one's answer.

        Raises:
            ValidationFailed: the JSON breaks a rule.
            TooLarge: the payload is too large.
            Conflict: the key was used with another request.
            Unavailable: nothing was stored.
        """
        draft = read_draft(raw, self.limits.max_payload)
        record_id, created_at = self.stamp()
        item = (record_id, created_at, draft)
        if key is None:
            await self._engine.submit(INTAKE, Intake([item]))
            return fresh(*item)
        answer = orjson.dumps([record_id, created_at]).decode()
        known = await self._engine.submit(
            INTAKE, Intake([item], self.key("create", key, requests.digest(*draft)), answer)
        )
        if known is not None:
            record_id, created_at = orjson.loads(known)
        return fresh(record_id, created_at, draft)

    def stamp(self) -> tuple[str, str]:
        """Return a new record's id and creation time."""
        now, record_id = self._stamps.new()
        return record_id, to_iso(now)

    async def store(self, items: list[tuple[str, str, Draft]], key: RequestKey | None, answer: str) -> str | None:
        """Store checked records in one transaction; returns what a repeated request was answered before."""
        return await self._engine.submit(INTAKE, Intake(items, key, answer))

    async def known_parts(self, scope: str, key: str) -> int | None:
        """Return of how many parts a request under this key was, once it has come to its end."""
        whole = self.key(scope, key, "", requests.WHOLE)
        answer = await self._engine.read(lambda connection: requests.look(connection, whole))
        return None if answer is None else int(answer)

    def key(self, scope: str, key: str, digest: str, part: int = 0) -> RequestKey:
        """Return a request's key as it is kept."""
        now = self._clock.now()
        return RequestKey(scope, key, part, digest, now, now + int(self.limits.key_seconds * SECOND))

    # reading
    async def get(self, record_id: str) -> Record:
        """Return a record.

        Raises:
            NotFound: there is none.
        """
        found = None
        if len(record_id) == UUID_LENGTH and record_id.isascii() and record_id.isprintable():
            found = await self._engine.read(lambda connection: rows.get(connection, record_id))
        if found is None:
            raise NotFound("record not found", id=record_id)
        return found

    async def page(self, query: ListQuery, *, count: bool = True) -> Page:
        """Return a page of records, counted unless it follows a cursor."""
        counted = count and query.after is None

        def read(connection: Any) -> Page:
            items, cursor = listing.page(connection, query)
            if not counted:
                return Page(items, cursor, None, False)
            return Page(items, cursor, *_total(connection, query.filter))

        return await self._engine.read(read)

    async def export(self, wanted: Filter) -> AsyncIterator[list[Record]]:
        """Yield the records of a filter, oldest first, a page at a time."""
        query = ListQuery(wanted, descending=False, limit=EXPORT_PAGE)
        while True:
            page = await self.page(query, count=False)
            yield page.items
            if page.next_cursor is None:
                return
            query = query.resume(page.next_cursor)

    async def summary(self, wanted: ReportFilter) -> dict[str, Any]:
        """Return the summary of a filter, all of it from the same moment."""
        return await self._engine.read(lambda connection: reports.summary(connection, wanted))

    async def report(self, name: str, wanted: ReportFilter) -> list[dict[str, Any]]:
        """Return the rows of one report.

        Raises:
            NotFound: there is no such report.
        """
        if name not in reports.REPORTS:
            raise NotFound(f"report not found: there are {', '.join(reports.REPORTS)}", report=name)
        return await self._engine.read(lambda connection: reports.report(connection, wanted, name))

    # processing
    async def process(self, record_id: str, key: str | None = None) -> Record | Accepted:
        """Process a pending record, once however many ask, and return it as it is afterwards.

        Args:
            record_id: which record.
            key: an Idempotency-Key; a repeated request waits for the same run.

        Raises:
            NotFound: there is no such record.
            Conflict: it is not pending, or somebody else's run is at it.
        """
        return await self._run(record_id, "process", key)

    async def retry(self, record_id: str, key: str | None = None) -> Record | Accepted:
        """Process a failed record again; see ``process``.

        Raises:
            NotFound: there is no such record.
            Conflict: it has not failed.
        """
        return await self._run(record_id, "retry", key)

    async def _run(self, record_id: str, action: str, key: str | None) -> Record | Accepted:
        if len(record_id) != UUID_LENGTH:
            raise NotFound("record not found", id=record_id)
        run_id = new_id()
        now = self._clock.now()
        request = None if key is None else self.key(f"{action}:{record_id}", key, "")
        take = transitions.claim if action == "process" else transitions.reopen

        def start(tx: Transaction) -> str:
            if request is not None:
                known = requests.claim(tx, request, orjson.dumps(run_id).decode())
                if known is not None:
                    return str(orjson.loads(known))
            ticket = take(tx, record_id, run_id, now)
            return self._engine.start_run_in(tx, PROCESS, list(ticket), now, run_id, run_id=run_id)

        started = await self._engine.transact(start)
        try:
            await self._engine.result(started, timeout=self.limits.wait_seconds)
        except TimeoutError:
            return Accepted(started)
        except (RunFailed, RunCancelled) as ended:
            found = await self.get(record_id)
            if found.status == Status.PENDING:
                raise Conflict(f"processing did not come to an end: {ended}", id=record_id, run_id=started) from ended
            return found
        return await self.get(record_id)

    async def process_many(self, wanted: Filter, limit: int | None = None, key: str | None = None) -> Many:
        """Start a run that processes the records that match now (pending ones unless the filter says failed)."""
        now = to_iso(self._clock.now())
        until = now if wanted.created_before is None else min(now, wanted.created_before)
        chosen = replace(wanted, status=wanted.status or Status.PENDING.value, created_before=until)
        matched = await self._engine.read(lambda connection: listing.count_up_to(connection, chosen, limit or 1 << 62))
        run_id = new_id()
        request = None
        if key is not None:
            request = self.key(PROCESS_MANY, key, requests.digest(orjson.dumps([wanted, limit])))

        def start(tx: Transaction) -> Many:
            if request is not None:
                known = requests.claim(tx, request, orjson.dumps([run_id, matched]).decode())
                if known is not None:
                    return Many(*orjson.loads(known))
            self._engine.start_run_in(tx, PROCESS_MANY, packed(chosen), limit, run_id, run_id=run_id)
            return Many(run_id, matched)

        return await self._engine.transact(start)

    # housekeeping
    async def start(self) -> None:
        """Begin to fold counts and forget expired keys."""
        self._keeping.start()

    async def stop(self) -> None:
        """Stop doing so."""
        await self._keeping.stop()

    def _not_kept(self, error: Exception) -> None:
        self._engine.worker.telemetry.event("records.counts_not_folded", error=str(error))

    async def fold(self) -> None:
        """Fold all that is to be folded."""
        while await self._engine.transact(rollups.fold):
            pass

    async def rebuild_counts(self) -> None:
        """Count all records anew, for counts that somebody changed by hand."""
        await self._engine.transact(rollups.rebuild)

    async def _round(self) -> None:
        self._rounds += 1
        waiting = await self._engine.read(lambda connection: rollups.waiting(connection, FOLD_WHEN))
        self._calm.looked(waiting > 0)
        if waiting >= FOLD_WHEN or (waiting and self._rounds % FOLD_ANYWAY == 0):
            await self.fold()
        if self._rounds % EXPIRY_ROUNDS == 0:
            await self._engine.transact(self._forget_expired)

    def _forget_expired(self, tx: Transaction) -> int:
        return requests.forget_expired(tx, self._clock.now())


def _total(connection: Any, wanted: Filter) -> tuple[int, bool]:
    """Count what a filter matches: from the counts when they know, else one by one up to a bound."""
    if wanted.created_after is not None or wanted.created_before is not None:
        found = listing.count_up_to(connection, wanted, COUNT_BOUND)
        return found, found < COUNT_BOUND
    span = Span(wanted.status, wanted.category, wanted.source)
    [groups] = tallies.answer(connection, span, [ALL if wanted.source is None else ALL_OF_SOURCE])
    return sum(group.total for group in groups), True
