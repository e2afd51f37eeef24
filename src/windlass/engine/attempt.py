"""One attempt of a step that has no transaction: within its time, on the event loop or in a thread. Promise 12."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from windlass.engine.errors import StepTimeout, Suspend
from windlass.engine.failures import code_error
from windlass.executors.api import CannotTravel, Errand, place
from windlass.kernel.deadlines import within
from windlass.kernel.errors import NotSerializable

if TYPE_CHECKING:
    from windlass.engine.run import Run

R = TypeVar("R")

_NOT_BEGUN: Any = object()


def too_long(name: str, seconds: float) -> StepTimeout:
    """Return the error of an attempt that took more than its time."""
    return StepTimeout(f"step {name} took longer than {seconds:g} s", timeout=seconds)


async def in_thread(run: Run, call: Callable[[], R], name: str, seconds: float | None, *, abandon: bool) -> R:
    """Run a plain function in a step thread; its time begins when a thread takes it, not while it queues for one.

    By then the run may be gone, or its lease in doubt: the function is not called.

    Raises:
        StepTimeout: it took longer than ``seconds``; it has returned since, unless it is to be abandoned.
        Suspend: the run is gone.
    """
    loop, worker = run.loop, run.worker
    while True:
        worker.check_lease()
        begun: asyncio.Future[None] = loop.create_future()

        def taken(begun: asyncio.Future[None] = begun) -> R:
            if run.gone or not worker.lease_holds():
                return _NOT_BEGUN  # type: ignore[no-any-return]
            if seconds is not None:
                loop.call_soon_threadsafe(_mark, begun)
            return _guarded(call)

        thread = worker.in_thread(taken)
        value = await thread if seconds is None else await _timed(thread, begun, name, seconds, abandon=abandon)
        if value is not _NOT_BEGUN:
            return value
        if run.gone:
            raise Suspend


async def _timed(
    thread: asyncio.Future[R], begun: asyncio.Future[None], name: str, seconds: float, *, abandon: bool
) -> R:
    try:
        either: list[asyncio.Future[Any]] = [thread, begun]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return await within(seconds, asyncio.shield(thread), lambda: too_long(name, seconds))
    except asyncio.CancelledError:
        thread.cancel()
        raise
    except StepTimeout:
        thread.add_done_callback(_retrieve)
        if not abandon:
            await asyncio.wait([thread])
        raise


async def elsewhere(run: Run, executor: str, errand: Errand, name: str, seconds: float | None) -> Any:
    """Run a plain function where an executor runs it; its time begins when there is room. Cancelled, it is killed.

    Raises:
        StepTimeout: it took longer than ``seconds`` and was killed.
        Suspend: the run is gone.
    """
    where = place(executor)
    async with await where.room():
        run.worker.check_lease()
        if run.gone:
            raise Suspend
        try:
            work = where.run(errand)
            return await (work if seconds is None else within(seconds, work, lambda: too_long(name, seconds)))
        except CannotTravel as error:
            raise NotSerializable(f"step {name}: {error}") from error


def _guarded(call: Callable[[], R]) -> R:
    try:
        return call()
    except BaseException as error:
        own = code_error(error)
        if own is error:
            raise
        raise own from error


def _mark(begun: asyncio.Future[None]) -> None:
    if not begun.done():
        begun.set_result(None)


def _retrieve(thread: asyncio.Future[Any]) -> None:
    """Take note of how a dropped attempt ended; its outcome is refused."""
    if not thread.cancelled():
        thread.exception()
