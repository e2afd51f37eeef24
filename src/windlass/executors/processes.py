"""Processes of this machine, for steps that compute: each has an interpreter of its own, and can be killed.

``pebble`` keeps them: one that dies or is killed takes nothing but its own errand along.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import wait

from pebble import ProcessExpired, ProcessPool

from windlass.executors.places import Crashed, Place


class Processes(Place):
    """So many processes, started when they are first asked for.

    Args:
        most: how many; as many as there are processors by default.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most = most or os.cpu_count() or 1
        self._pool: ProcessPool | None = None

    async def size(self) -> int:
        """Return how many processes there are."""
        if self._pool is None:
            # A fork would copy locks that threads of this process hold.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPool(max_workers=self._most, context=context, initializer=_end_with_parent)
        return self._most

    async def deliver(self, work: Callable[[bytes], bytes], packed: bytes) -> bytes:
        """See ``Place``."""
        await self.size()
        assert self._pool is not None  # noqa: S101  it is open
        try:
            return bytes(await asyncio.wrap_future(self._pool.schedule(work, args=[packed])))
        except ProcessExpired as error:
            raise Crashed(f"its process ended with code {error.exitcode} while it ran") from error

    def close(self) -> None:
        """Kill them."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def _end_with_parent() -> None:
    """End this process with the one that has started it: somebody else carries out the step again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=[parent.sentinel], name="windlass-parent", daemon=True).start()


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
