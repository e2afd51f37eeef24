"""Threads for code that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Work = tuple[Future[Any], Callable[[], Any]]


class DaemonThreads(Executor):
    """Like ``ThreadPoolExecutor``, but the process may end while a call is still running.

    Python joins the threads of that one at its end, so that one call without an end keeps a process for ever.

    Args:
        max_workers: how many calls may run at once.
        name: how its threads' names begin.
    """

    def __init__(self, max_workers: int, name: str) -> None:
        self._most = max_workers
        self._name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call a function in a thread, once one is free.

        Raises:
            RuntimeError: shut down.
        """
        future: Future[R] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("these threads have been shut down")
            self._work.put((future, partial(fn, *args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; ``wait`` until those that run have returned, ``cancel_futures`` of those that do not."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                self._drop()
            for _ in self._threads:
                self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _drop(self) -> None:
        while True:
            try:
                work = self._work.get_nowait()
            except Empty:
                return
            if work is not None:
                work[0].cancel()

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get_nowait()
            except Empty:
                self._idle.release()
                work = self._work.get()
            if work is None:
                return
            future, call = work
            if future.set_running_or_notify_cancel():
                _carry_out(future, call)
            del work, future, call  # nothing of a call is kept while the thread waits for the next


def _carry_out(future: Future[R], call: Callable[[], R]) -> None:
    try:
        value = call()
    except BaseException as error:  # noqa: BLE001  whoever waits for the call is to hear of it
        future.set_exception(error)
        del future, call  # the error's traceback has this frame, and would keep all that the call had made
    else:
        future.set_result(value)
