"""An event loop on virtual time, shared by several simulated processes, whose order a seed decides.

Each process has a lane of its own: within a lane callbacks run in the order in which they were scheduled, as
asyncio promises; which lane goes next, how far it gets, how long a thread takes and when its answer arrives are
up to the dice. When nothing is ready, time jumps to the next timer. A process can be killed between (or inside)
any two callbacks: nothing of it runs ever again, not even a ``finally``.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, ContextVar
from typing import Any

from windlass.kernel.clock import SECOND

WORLD = "world"
PROCESS: ContextVar[str] = ContextVar("simulated_process", default=WORLD)

_STEP_MICROSECONDS = 40
"""How long a turn of one lane takes at most; now and then it takes much longer."""


class Stalled(Exception):
    """Nothing can ever happen again: no callback is ready and no timer is set."""


class SimLoop(asyncio.BaseEventLoop):
    """Runs everything in one real thread. Times are microseconds of its own; they begin well above 0.

    Args:
        dice: decides everything that a real machine leaves open.
    """

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.us = 1000 * SECOND
        self.turns = 0
        self.dead: set[str] = set()
        self.frozen: set[str] = set()
        self.stalls = 0.0
        self._stalled: dict[str, int] = {}
        self.between: Callable[[], None] = lambda: None
        self.trace: Callable[[str], None] = lambda _line: None
        self._dice = dice
        self._lanes: dict[str, deque[asyncio.Handle]] = {WORLD: deque()}
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._count = 0
        self._over = False
        self._grave: list[object] = []

    # what asyncio asks of a loop
    def time(self) -> float:
        """Return virtual seconds."""
        return self.us / SECOND

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer; timers for the same instant fire in the order in which they were set."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        if not self._is_dead(handle):
            heapq.heappush(self._timers, (round(when * SECOND), self._count, handle))
        return handle

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Put a callback at the end of its process's lane."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self._is_dead(handle):
            self._lane(_process_of(handle)).append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Post a callback from a thread: it is as good as one of the loop's own."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self,
        executor: object,  # noqa: ARG002  there is one kind of thread
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Run a function as a thread would: at some moment, in one piece; its answer comes at a later one."""
        future = self.create_future()
        self.in_thread(self.pause(), lambda: self._answer(future, func, *args))
        return future

    def in_thread(self, delay: int, work: Callable[[], None]) -> None:
        """Run ``work`` after ``delay`` microseconds as code of a thread of the calling process: outside the loop."""
        self.call_at((self.us + delay) / SECOND, self._outside, work)

    def _outside(self, work: Callable[[], None]) -> None:
        asyncio._set_running_loop(None)
        try:
            work()
        finally:
            asyncio._set_running_loop(self)

    def _answer(self, future: asyncio.Future[Any], func: Callable[..., Any], *args: Any) -> None:
        if future.cancelled():
            return
        done: Future[Any] = Future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  it belongs to who waits for the answer
            done.set_exception(error)
        self.in_thread(self.pause(), lambda: self._post(future, done))

    def _post(self, future: asyncio.Future[Any], done: Future[Any]) -> None:
        self.call_soon_threadsafe(_settle, future, done)

    def _run_once(self) -> None:
        self._collect()
        lanes = [
            name
            for name, lane in self._lanes.items()
            if lane and name not in self.frozen and self._stalled.get(name, 0) <= self.us
        ]
        if not lanes:
            self._jump()
            return
        name = self._dice.choice(lanes)
        if self._dice.random() < self.stalls:
            # Something else has the processor, so that much will be due when it comes back.
            self._stalled[name] = self.us + self._dice.randrange(400_000)
            return
        lane = self._lanes[name]
        limit = len(lane) if self._dice.random() < 0.9 else self._dice.randint(1, len(lane))
        for _ in range(limit):
            if not lane:
                break
            handle = lane.popleft()
            if not handle.cancelled():
                self.turns += 1
                handle._run()
            if name in self.dead or name in self.frozen or self._stopping:  # type: ignore[attr-defined]
                break
        self.us += self._dice.randrange(_STEP_MICROSECONDS) if self._dice.random() < 0.995 else self.pause()
        self.between()

    def _process_events(self, event_list: object) -> None:
        """There is no input or output."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is left out when its time comes."""

    # time
    def pause(self) -> int:
        """Return how long something takes that may take any time: microseconds, mostly few."""
        roll = self._dice.random()
        if roll < 0.7:
            return self._dice.randrange(50)
        if roll < 0.97:
            return self._dice.randrange(5_000)
        return self._dice.randrange(400_000)

    def _collect(self) -> None:
        """Move timers whose time has come into their lanes."""
        while self._timers and self._timers[0][0] <= self.us:
            handle = heapq.heappop(self._timers)[2]
            if not handle.cancelled():
                self._lane(_process_of(handle)).append(handle)

    def _jump(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        times = [until for name, until in self._stalled.items() if until > self.us and self._lanes.get(name)]
        if self._timers:
            times.append(self._timers[0][0])
        if not times:
            raise Stalled("nothing is ready and no timer is set")
        self.us = max(self.us, min(times))

    # processes
    def kill(self, name: str) -> None:
        """Let a process stop existing at this instant."""
        self.dead.add(name)
        lane = self._lanes.pop(name, deque())
        gone = [entry for entry in self._timers if _process_of(entry[2]) == name]
        self._timers = [entry for entry in self._timers if _process_of(entry[2]) != name]
        heapq.heapify(self._timers)
        self._grave.extend([lane, gone])

    def close(self) -> None:
        """End every task without a word: what a dead process left must not speak up when it is freed."""
        if self.is_closed():
            return
        self._over = True
        ended: set[asyncio.Task[Any]] = set()
        while left := asyncio.all_tasks(self) - ended:
            for task in left:
                self._end(task)
            ended |= left
        self._grave.clear()
        super().close()

    def _end(self, task: asyncio.Task[Any]) -> None:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine: Any = task.get_coro()
        try:
            coroutine.close()
        except BaseException as error:  # noqa: BLE001  code that was killed may complain, to nobody
            self._grave.append(error)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hear a complaint, unless it comes from the dead."""
        if not self._over and PROCESS.get() not in self.dead:
            super().call_exception_handler(context)

    def _is_dead(self, handle: asyncio.Handle) -> bool:
        if self._over or _process_of(handle) in self.dead:
            self._grave.append(handle)
            return True
        return False

    def _lane(self, name: str) -> deque[asyncio.Handle]:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = deque()
        return lane


def _process_of(handle: asyncio.Handle) -> str:
    context: Context = handle._context  # type: ignore[attr-defined]
    return context.get(PROCESS, WORLD)


def _settle(future: asyncio.Future[Any], done: Future[Any]) -> None:
    if not future.done():
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)
