"""A Ray cluster, for steps that want more than one machine: one that is there, or one started on this machine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import ray

from windlass.executors.places import Crashed, Place

T = TypeVar("T")

OBJECTS_BYTES = 256 * 1024 * 1024
"""Shared memory of a cluster that is started here."""


class RayCluster(Place):
    """Ray's workers. A cluster that was started here ends with ``close``.

    Args:
        address: of the cluster, ``ray://host:10001`` or ``host:6379``; None starts one here.
        most: how many errands may be under way; as many as the cluster has processors by default.
    """

    def __init__(self, address: str | None = None, most: int | None = None) -> None:
        super().__init__()
        self._address = address
        self._most = most
        # What Ray starts dies with the thread that has started it.
        self._thread = ThreadPoolExecutor(1, "windlass-ray")
        self._remote: Any = None

    async def size(self) -> int:
        """Connect, and return how many errands the cluster takes at once."""
        return await self._in_thread(self._open)

    def _open(self) -> int:
        if self._remote is None:
            if not ray.is_initialized():
                ray.init(**self._options())
            self._remote = ray.remote(max_retries=0, num_cpus=1)(_call)
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return self._most or max(int(there.get("CPU", 1)), 1)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _options(self) -> dict[str, Any]:
        quiet = {"log_to_driver": False, "configure_logging": False, "namespace": "windlass"}
        if self._address is not None:
            return {"address": self._address, **quiet}
        paths = os.pathsep.join(path for path in sys.path if path)  # its workers find what this process finds
        return {
            "include_dashboard": False, "object_store_memory": OBJECTS_BYTES,
            "runtime_env": {"env_vars": {"PYTHONPATH": paths}}, **quiet,
        }  # fmt: skip

    async def deliver(self, work: Callable[[bytes], bytes], packed: bytes) -> bytes:
        """See ``Place``."""
        task = await self._in_thread(lambda: self._remote.remote(work, packed))
        try:
            return bytes(await task)
        except asyncio.CancelledError:
            await asyncio.shield(self._in_thread(lambda: ray.cancel(task, force=True)))
            raise
        except ray.exceptions.RayError as error:
            raise Crashed(f"its Ray worker was lost while it ran: {error}".partition("\n")[0]) from error

    def close(self) -> None:
        """Leave the cluster, which ends if it was started here."""
        if self._remote is not None:
            self._remote = None
            self._thread.submit(ray.shutdown).result()
        self._thread.shutdown()
        self._thread = ThreadPoolExecutor(1, "windlass-ray")


def _call(work: Callable[[bytes], bytes], packed: bytes) -> bytes:
    return work(packed)
