"""Group commit: one connection writes for the whole process. Promises 2 and 3.

Callers hand in units and wait; the committer takes all that is waiting, applies it in one transaction, commits
once and answers all. Nothing is answered before it is on disk.

A thread does that, except where the session says that writing is a matter of a millisecond (SQLite): there the
event loop writes what it has gathered itself, at the end of its turn, as long as that stays quick. Handing a
batch to a thread and its answers back costs more than the batch: the two fight for the interpreter lock at every
statement. A slow disk, another process's turn, or user code in the batch send it to the thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from operator import attrgetter
from typing import Any, TypeVar, cast

from windlass.engine.errors import Fenced, Overloaded, WriteFailed
from windlass.engine.ops import Operation
from windlass.engine.ports import Ring, WriteSession
from windlass.engine.types import Event
from windlass.storage.batches import RECONNECT_PAUSES, BatchWriter, ConnectionLost, Outcome, Pending, Promise

A = TypeVar("A")
R = TypeVar("R")

OnRings = Callable[[Sequence[Ring], Sequence[Event]], None]

_log = logging.getLogger(__name__)
_is_quick = attrgetter("quick")

MAX_BATCH = 1000
MAX_INLINE = 250
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Of JSON in one transaction, unless a single unit has more: other processes wait for it, and a WAL has to hold it."""
CROWD = 4
"""From how many waiting callers on a batch is worth another turn of the event loop."""
PATIENCE_SECONDS = 0.02
"""When batches written by the event loop take longer than this on average, the thread writes for a second."""
TURN_SECONDS = 0.005
"""How long the thread waits for an event loop to act on a batch's answers before it begins the next batch."""
TURNS = 3
"""Turns of the loop from an answer to the write it leads to: a run hears, its caller hears, the caller writes."""


class Committer:
    """The queue in front of a ``BatchWriter``, and the thread that empties it.

    Args:
        session: the connection that writes; closed with the committer.
        limit: how many units may wait before bounded ones are refused.
        on_rings: called with the doorbells and the events of each commit, on the thread that wrote it.
        patience: seconds a batch may take on the event loop before the thread takes over for a while.
        max_batch: units in one transaction.
        monotonic: the clock by which writing is quick or slow, in seconds.
    """

    def __init__(
        self,
        session: WriteSession,
        *,
        limit: int = 10_000,
        on_rings: OnRings = lambda _rings, _written: None,
        patience: float = PATIENCE_SECONDS,
        max_batch: int = MAX_BATCH,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._pause = threading.Event()
        self._writer = BatchWriter(session, self._pause_in_doubt)
        self._limit = limit
        self.on_rings = on_rings
        self._patience = patience
        self._max_batch = max_batch
        self._monotonic = monotonic
        self._writing = threading.Lock()
        self._scheduled = False
        self._pace = 0.0
        self._inline = session.inline
        self._slow_until = 0.0
        self._queue: deque[Pending] = deque()
        self._bell = threading.Semaphore(0)
        self._asleep = False
        self._closing = False
        self._hurried = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_hand = 0
        self._turn = threading.Event()
        self._thread = threading.Thread(target=self._run, name="windlass-committer", daemon=True)
        self.batches = 0
        self.units = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def hurry(self) -> None:
        """Wait for no database that is away any more: who stops waits for callers, and they for their answers."""
        self._hurried = True
        self._pause.set()

    def close(self) -> None:
        """Write what is waiting, then stop the thread and close the session."""
        self._closing = True
        self.hurry()
        self._bell.release()
        if self._thread.ident is not None:
            self._thread.join()
        with self._writing:  # an event loop may be at it
            while self._queue:
                self._write([self._queue.popleft()])
            self._session.close()

    @property
    def waiting(self) -> int:
        """How many units wait or are being written."""
        return len(self._queue) + self._in_hand

    def submit(self, op: Operation[A, R], unit: A, *, bounded: bool = False) -> asyncio.Future[R]:
        """Queue a unit; see ``engine.ops.Commits``. Call it from a running event loop.

        Raises:
            Overloaded: ``bounded`` and too much is waiting; nothing was accepted.
        """
        if bounded:
            self._admit()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = Promise(loop=loop)
        self._put(Pending(op, unit, future, loop, bounded, self._inline and op.quick(unit)), loop)
        return future

    def submit_from_thread(self, op: Operation[A, R], unit: A, *, bounded: bool = False) -> ThreadFuture[R]:
        """Queue a unit from a thread without an event loop; its future cannot be cancelled."""
        if bounded:
            self._admit()
        future: ThreadFuture[R] = ThreadFuture()
        future.set_running_or_notify_cancel()
        self._put(Pending(op, unit, future, None, bounded))
        return future

    def _admit(self) -> None:
        if len(self._queue) >= self._limit:
            raise Overloaded("too many writes are waiting", retry_after=1.0, waiting=len(self._queue))

    def _put(self, pending: Pending, loop: asyncio.AbstractEventLoop | None = None) -> None:
        if self._closing:
            raise WriteFailed("the database is closed")
        self._queue.append(pending)
        if self._scheduled:
            return
        if loop is not None and pending.quick and self._monotonic() > self._slow_until:
            self._scheduled = True
            self.soon(loop, self._gather)
        else:
            self._wake_thread()

    def soon(self, loop: asyncio.AbstractEventLoop, flush: Callable[[], None]) -> None:
        """Have the loop call ``flush`` once this turn's callers have all submitted."""
        loop.call_soon(flush)

    def _wake_thread(self) -> None:
        if self._asleep:
            self._asleep = False
            self._bell.release()

    def _gather(self) -> None:
        """Flush; but give a crowd one more turn first, so that requests which have just arrived join its batch."""
        if len(self._queue) < CROWD:
            self._flush()
        else:
            self.soon(asyncio.get_running_loop(), self._flush)

    def _flush(self) -> None:
        """Write what is waiting on the event loop, or leave it to the thread."""
        self._scheduled = False
        queue = self._queue
        if not queue:
            return
        if not self._writing.acquire(blocking=False):
            self._wake_thread()
            return
        try:
            if not all(map(_is_quick, queue)) or not self._session.reserve():
                self._wake_thread()
                return
            begun = self._monotonic()
            batch, later = put_off(self._take(MAX_INLINE))
            queue.extendleft(reversed(later))
            try:
                kept = self._write(batch)
            except Exception as error:
                _refuse(batch, error)
                kept = []
            queue.extendleft(reversed(kept))
            now = self._monotonic()
            self._pace += 0.2 * (now - begun - self._pace)
            if kept or self._pace > self._patience:
                self._slow_until, self._pace = now + 1.0, 0.0
                self._wake_thread()
        finally:
            self._writing.release()
        if queue and not self._scheduled:
            self._scheduled = True
            self._flush_after(TURNS if later else 1)

    def _flush_after(self, turns: int) -> None:
        """Flush so many turns of the loop later: those that hear of a batch go on first."""
        flush = self._flush if turns == 1 else lambda: self._flush_after(turns - 1)
        self.soon(asyncio.get_running_loop(), flush)

    def _take(self, most: int) -> list[Pending]:
        """Take the next batch from the queue: what waits, up to ``most`` units and a weight."""
        queue, weight = self._queue, 0
        batch: list[Pending] = []
        while queue and len(batch) < most:
            pending = queue[0]
            weight += pending.op.weight(pending.unit)
            if weight > MAX_BATCH_BYTES and batch:
                break
            batch.append(queue.popleft())
        return batch

    def _run(self) -> None:
        queue = self._queue
        while True:
            if not queue:
                self._asleep = True
                if not queue:
                    if self._closing:
                        return
                    self._bell.acquire()
                self._asleep = False
                continue
            with self._writing:
                batch, later = put_off(self._take(self._max_batch))
                queue.extendleft(reversed(later))
                self._in_hand = len(batch)
                self._work_off(batch)
                self._in_hand = 0
            if self._loop is not None and not self._closing and self._max_batch > 1:
                self._turn.wait(TURN_SECONDS)

    def _work_off(self, batch: list[Pending]) -> None:
        """Write a batch from the thread, for as long as it takes the database to come back.

        What has come in meanwhile goes along with each new try: callers from outside hear that it is away.
        """
        queue, tries = self._queue, 0
        while batch:
            try:
                batch = self._write(batch)
            except BaseException as error:
                _refuse(batch, error)
                return
            if batch:
                self._pause.wait(RECONNECT_PAUSES[min(tries, len(RECONNECT_PAUSES) - 1)])
                tries += 1
                if self._max_batch > 1:
                    batch += [queue.popleft() for _ in range(len(queue))]
                self._in_hand = len(batch)

    def _pause_in_doubt(self, seconds: float) -> bool:
        """Wait before the database is asked again about a commit; those behind it from outside hear that it is away.

        Those whose commit it is must wait: nobody can tell them anything true.

        Returns:
            whether to give up.
        """
        behind = [self._queue.popleft() for _ in range(len(self._queue))]
        self._queue.extendleft(pending for pending in reversed(behind) if not pending.bounded)
        away: Outcome = (None, WriteFailed("the database is not available: it is asked about a commit before this one"))
        answer([(pending, away) for pending in behind if pending.bounded], self._turn)
        return self._pause.wait(seconds)

    def _write(self, batch: list[Pending]) -> list[Pending]:
        """Write a batch once and answer; returns what must be tried again because the database is away."""
        outcomes, rings, written = self._writer.write(batch)
        kept: list[Pending] = []
        for place, (pending, (_, error)) in enumerate(zip(batch, outcomes, strict=True)):
            if isinstance(error, ConnectionLost):
                if not pending.bounded and not self._hurried:
                    kept.append(pending)
                outcomes[place] = (None, WriteFailed(f"the database is not available: {error}"))
        self.batches += 1
        self.units += len(batch) - len(kept)
        if rings or written:
            try:
                self.on_rings(rings, written)
            except Exception:
                _log.exception("doorbells were not rung; others look once a second")
        told = [(p, o) for p, o in zip(batch, outcomes, strict=True) if not kept or p not in kept]
        self._loop = answer(told, self._turn)
        return kept


def put_off(batch: list[Pending]) -> tuple[list[Pending], list[Pending]]:
    """Return a batch without those that are left to the next one, and these: patient ones beside a run that begins.

    Each is put off once: whoever waits for a claim waits for one batch more, however many runs begin.
    """
    later = [pending for pending in batch if pending.op.patient and not pending.put_off]
    if not later or not any(pending.op.begins(pending.unit) for pending in batch):
        return batch, []
    for pending in later:
        pending.put_off = True
    return [pending for pending in batch if pending not in later], later


def _refuse(batch: Sequence[Pending], error: BaseException) -> None:
    """Answer callers after a fault of our own: they must not wait for ever, and the next batch must be written."""
    _log.error("a batch could not be written", exc_info=error)
    failure = WriteFailed(f"the writer failed: {error!r}")
    answer([(pending, (None, failure)) for pending in batch], threading.Event())


def answer(told: Sequence[tuple[Pending, Outcome]], turn: threading.Event) -> asyncio.AbstractEventLoop | None:
    """Give every waiting caller its outcome; one wake-up per event loop.

    Returns:
        another thread's loop that will set ``turn`` once its callers have had the time to write again. Waiting for
        it makes one batch of what would be two half ones, and keeps two threads from fighting for the interpreter.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
    for pending, outcome in told:
        if pending.loop is not None:
            future = cast("asyncio.Future[Any]", pending.future)
            by_loop.setdefault(pending.loop, []).append((future, outcome))
        else:
            _settle_thread(cast("ThreadFuture[Any]", pending.future), outcome)
    here = asyncio._get_running_loop()
    away = None
    for loop, answers in by_loop.items():
        if loop is here:
            _settle(answers)
            continue
        turn.clear()
        try:
            loop.call_soon_threadsafe(_settle_there, loop, answers, turn)
        except RuntimeError:
            if not loop.is_closed():
                raise
        else:
            away = loop
    return away


def _settle_there(
    loop: asyncio.AbstractEventLoop, answers: list[tuple[asyncio.Future[Any], Outcome]], turn: threading.Event
) -> None:
    _settle(answers)
    _pass_turn(loop, turn, TURNS)


def _pass_turn(loop: asyncio.AbstractEventLoop, turn: threading.Event, left: int) -> None:
    if left == 0:
        turn.set()
    else:
        loop.call_soon(_pass_turn, loop, turn, left - 1)


def _settle(answers: list[tuple[asyncio.Future[Any], Outcome]]) -> None:
    for future, (value, error) in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
            if isinstance(error, Fenced):
                future.exception()


def _settle_thread(future: ThreadFuture[Any], outcome: Outcome) -> None:
    value, error = outcome
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
