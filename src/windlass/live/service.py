"""What anybody may ask of runs, in whatever process they are held: streams, published values, updates, queries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, cast

from windlass.engine.engine import Engine
from windlass.engine.errors import RunConflict, Suspend
from windlass.engine.ports import Transaction
from windlass.engine.registry import check_name, check_text
from windlass.engine.run import Run
from windlass.engine.types import TERMINAL, Event, InboxRow
from windlass.kernel.checks import check_number
from windlass.kernel.feed import News
from windlass.kernel.ids import new_id
from windlass.kernel.items import StreamItem
from windlass.live import rows
from windlass.live.errors import NoAnswer, QueryFailed, QueryRefused, UpdateFailed, UpdateRefused
from windlass.live.queries import outcome, spawn
from windlass.live.rows import ACCEPTED, FAILED, REFUSED, Page, Request
from windlass.live.sending import QUERY, SEND, UPDATE, Sending
from windlass.live.state import state_of
from windlass.values.codec import decode, digest, encode

PAGE = 500
LOOK_SECONDS = 0.2
"""How often a visitor looks for an answer."""
LONGEST_OFFSET = 1 << 53
_NEWS = frozenset({
    "stream_written", "step_streamed", "stream_closed", "run_completed", "run_failed", "run_cancelled"
})  # fmt: skip
"""Events after which there may be more to read of a stream."""


class Live:
    """Answers for the runs of one engine's database; see ``Handle``, whose methods end here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # streams
    async def items(self, run_id: str, name: str, offset: int = 0, limit: int = PAGE) -> Page:
        """Return up to ``limit`` items of a stream from an offset on.

        Raises:
            BadName, BadNumber: no stream has this name, or no item this offset.
        """
        check_name(name)
        check_number("offset", offset, 0, LONGEST_OFFSET)
        found: Page = await self._engine.read(lambda one: rows.find_items(one, run_id, name, offset, limit))
        return found

    async def end_of(self, run_id: str, name: str) -> tuple[int, bool]:
        """Return the offset of a stream's next item, and whether it is closed."""
        found: tuple[int, bool] = await self._engine.read(lambda one: rows.find_end(one, run_id, name))
        return found

    def end_here(self, run_id: str, name: str) -> tuple[int, bool]:
        """Return the same to a thread that may wait for it."""
        return self._engine.backend.read(lambda one: rows.find_end(one, run_id, name))

    async def read_stream(self, run_id: str, name: str, offset: int = 0) -> AsyncIterator[StreamItem]:
        """Yield the items of a stream from an offset on, as they are written, until the stream or the run has ended.

        Who remembers the offset of the last item that he has seen, and reads on from the next, misses none and gets
        none twice, whatever crashed meanwhile.

        Raises:
            UnknownRun: there is no such run.
        """
        async for page in self.follow(run_id, name, offset):
            for item in page.items:
                yield item

    async def follow(self, run_id: str, name: str, offset: int = 0) -> AsyncIterator[Page]:
        """Yield pages of a stream as it is written; an empty one about once a second. The last one is ``closed``.

        Raises:
            UnknownRun: there is no such run.
        """
        view = await self._engine.get_run(run_id)
        ended = view.status in TERMINAL
        async with aclosing(cast("AsyncGenerator[News[Event]]", self._engine.follow(run_id, view.last_seq))) as news:
            while True:
                page = await self.items(run_id, name, offset)
                if page.items:
                    offset = page.items[-1].offset + 1
                full = len(page.items) == PAGE and not page.closed
                page = page._replace(closed=page.closed or (ended and not full))
                if page.items or page.closed:
                    yield page
                if page.closed:
                    return
                if full:
                    continue
                async for events in news:
                    if self._deaf or any(_tells(event, name) for event in events):
                        ended = (await self._engine.get_run(run_id)).status in TERMINAL
                        break
                    if not events:
                        yield Page([], closed=False)

    # published values
    async def published(self, run_id: str) -> dict[str, Any]:
        """Return the newest value of each key that a run has published, also after its end.

        Raises:
            UnknownRun: there is no such run.
        """
        await self._engine.get_run(run_id)
        found: dict[str, Any] = await self._engine.read(lambda one: rows.find_published(one, run_id))
        return found

    # updates
    async def update(
        self,
        run_id: str,
        name: str,
        payload: object = None,
        *,
        update_id: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Have a run take an update, once, and return its answer. It waits for the run to ask for it.

        Args:
            run_id: which run.
            name: which of its updates.
            payload: JSON data, which the run's validator checks.
            update_id: makes a repeated update harmless: it gets the answer of the first.
            timeout: seconds to wait for the answer; the update stays sent when they are over.

        Raises:
            UpdateRefused: the validator refused it; the run's journal knows nothing of it.
            UpdateFailed: the run took it and answered so.
            RunConflict: the run has ended without having answered it, or ``update_id`` was another update's.
            NoAnswer: it did not answer in time.
            UnknownRun: there is no such run.
        """
        check_text("update_id", update_id)
        sending = self._sending(UPDATE, run_id, name, payload, update_id or new_id())
        about = {"run_id": run_id, "update_id": sending.request_id}
        sent = await self._engine.submit(SEND, sending)
        try:
            async with asyncio.timeout(timeout):
                found = await self._answered(run_id, sent)
        except TimeoutError:
            raise NoAnswer(f"update {sending.request_id!r} has not been answered yet", **about) from None
        if found.state == REFUSED:
            raise UpdateRefused(str(found.answer), **about, state=REFUSED)
        if found.state == FAILED:
            raise UpdateFailed(str(found.answer), **about, state=FAILED)
        return found.answer

    async def find_update(self, run_id: str, update_id: str) -> Request | None:
        """Return how an update stands; None for one that was never sent."""
        if not update_id.isprintable():
            return None
        found = await self._find(run_id, update_id)
        return found if found is not None and found.kind == UPDATE else None

    # queries
    async def query(self, run_id: str, name: str, arg: object = None, *, timeout: float | None = 10.0) -> Any:
        """Ask a run that is open, and return what its handler says. One that has left memory is replayed for it.

        Raises:
            QueryRefused: it has no query of this name, or its handler wanted to do more than look.
            QueryFailed: the handler raised an error.
            RunConflict: the run has ended, or is paused: read what it has published.
            NoAnswer: it did not answer in time.
            UnknownRun: there is no such run.
        """
        sending = self._sending(QUERY, run_id, name, arg, new_id())
        state, answer = await self._at_once(sending, timeout) or await self._ask(sending, timeout)
        if state == REFUSED:
            raise QueryRefused(str(answer), run_id=run_id, state=REFUSED)
        if state == FAILED:
            raise QueryFailed(str(answer), run_id=run_id, state=FAILED)
        return answer

    async def _at_once(self, sending: Sending, timeout: float | None) -> tuple[str, Any] | None:
        """Answer for a run that is held here and stands where it stands; None for any other.

        The answer is told once all that it was made from is on disk: a crash could make the run go another way.
        """
        run = self._engine.worker.runs.get(sending.run_id)
        if run is None or run.gone or run.replaying or sending.name not in state_of(run).queries:
            return None
        state, text = outcome(run, sending.name, decode(sending.payload))
        if run.unsettled:
            landing = asyncio.get_running_loop().create_task(_landed(run))
            run.worker.keep(landing)
            if not (await asyncio.wait([landing], timeout=timeout))[0]:
                raise _late_answer(sending)
            if not landing.result():
                return None
        return state, decode(text)

    async def _ask(self, sending: Sending, timeout: float | None) -> tuple[str, Any]:
        run_id, request_id = sending.run_id, sending.request_id
        sent = True  # also when we are told to give up before we hear of it

        def forget(tx: Transaction) -> None:
            rows.drop_request(tx, run_id, request_id)
            tx.consume_inbox([sending.inbox_id])

        try:
            try:
                request = await self._engine.submit(SEND, sending)
            except Exception:
                sent = False
                raise
            async with asyncio.timeout(timeout):
                found = await self._answered(run_id, request)
        except TimeoutError:
            raise _late_answer(sending) from None
        finally:
            if sent:
                await self._engine.transact(forget, bounded=False)
        return found.state, found.answer

    def ask(self, run: Run, row: InboxRow) -> None:
        """Answer a query in the inbox of a run that is held here, once it has come to where it stands."""
        state_of(run).asked[row.inbox_id] = row
        spawn(run, row)

    # both
    @property
    def _deaf(self) -> bool:
        """Whether this process only visits the database, without a lease, and so hears of nothing."""
        return not self._engine.worker.holder

    def _sending(self, kind: str, run_id: str, name: str, payload: object, request_id: str) -> Sending:
        check_name(name)
        text = encode(payload, f"payload of {kind} {name}")
        mark = digest([name, decode(text)], {}, f"payload of {kind} {name}")
        return Sending(run_id, kind, name, request_id, text, mark, new_id(), self._engine.clock.now())

    async def _find(self, run_id: str, request_id: str) -> Request | None:
        found: Request | None = await self._engine.read(lambda one: rows.find_request(one, run_id, request_id))
        return found

    async def _answered(self, run_id: str, request: Request) -> Request:
        """Wait until a request has its answer.

        Raises:
            RunConflict: the run ended without.
        """
        while not request.over:
            with self._expecting(run_id, request.request_id) as news:
                found = await self._find(run_id, request.request_id)
                if found is not None and found.over:
                    return found
                view = await self._engine.get_run(run_id)
                if view.status in TERMINAL:
                    found = await self._find(run_id, request.request_id)
                    if found is not None and found.over:
                        return found
                    taken = found is not None and found.state == ACCEPTED
                    what = f"{request.kind} {request.name!r}"
                    said = f"has not answered {what}, which it took" if taken else f"took no {what}"
                    raise RunConflict(f"run is {view.status} and {said}", run_id=run_id, status=view.status)
                done, _ = await asyncio.wait([news], timeout=LOOK_SECONDS if self._deaf else None)
                for heard in done:
                    heard.result()
        return request

    @contextmanager
    def _expecting(self, run_id: str, request_id: str) -> Iterator[asyncio.Future[Any]]:
        """Hear of the answer to a request and of the end of its run."""
        results = self._engine.worker.results
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        keys = (run_id, rows.place(run_id, request_id))
        for key in keys:
            results.setdefault(key, []).append(future)
        try:
            yield future
        finally:
            for key in keys:
                waiting = results.get(key)
                if waiting is not None and future in waiting:
                    waiting.remove(future)
                    if not waiting:
                        del results[key]
            if future.done() and not future.cancelled():
                future.exception()


async def _landed(run: Run) -> bool:
    """Wait until all that a run has heard is on disk; False when it has left memory before."""
    try:
        await run.barrier()
    except Suspend:
        return False
    return True


def _late_answer(sending: Sending) -> NoAnswer:
    said = f"run {sending.run_id} has not answered query {sending.name!r} in time"
    return NoAnswer(said, run_id=sending.run_id)


def _tells(event: Event, name: str) -> bool:
    """Whether an event says that there may be more of a stream."""
    if event.type not in _NEWS:
        return False
    return event.step_id is None or decode(event.payload).get("stream") == name
