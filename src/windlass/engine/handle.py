"""A run, seen from anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import orjson

from windlass.engine.errors import RunCancelled, RunFailed
from windlass.engine.types import ControlResult, Ended, RunView, Status
from windlass.kernel.items import StreamItem


class Runs(Protocol):
    """What a handle asks of its engine."""

    live: Any

    async def result(self, run_id: str, timeout: float | None = None) -> Any:
        """Wait for a run to end and return its output."""
        ...

    async def get_run(self, run_id: str) -> RunView:
        """Return a run."""
        ...

    async def control(self, run_id: str, action: str, *, by: str = "user", reason: str | None = None) -> ControlResult:
        """Cancel, pause, resume or retry a run."""
        ...

    async def signal(self, run_id: str, name: str, payload: object = None, *, dedup_id: str | None = None) -> bool:
        """Send a signal to a run."""
        ...


class Handle:
    """A run, seen from anywhere: any process with the same database can hold one."""

    def __init__(self, engine: Runs, run_id: str, created: bool = True) -> None:
        self._engine = engine
        self.run_id = run_id
        self.created = created

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the output as JSON values.

        Args:
            timeout: seconds to wait; the run goes on when they are over.

        Raises:
            RunFailed, RunCancelled: it ended so.
            TimeoutError: it has not ended in time.
            UnknownRun: there is no such run.
        """
        return await self._engine.result(self.run_id, timeout)

    async def status(self) -> RunView:
        """Return the run as it stands."""
        return await self._engine.get_run(self.run_id)

    async def cancel(self, reason: str | None = None) -> ControlResult:
        """Cancel the run, its children and its running steps."""
        return await self._engine.control(self.run_id, "cancel", reason=reason)

    async def pause(self) -> ControlResult:
        """Keep the run from starting further steps."""
        return await self._engine.control(self.run_id, "pause")

    async def resume(self) -> ControlResult:
        """Let a paused run go on."""
        return await self._engine.control(self.run_id, "resume")

    async def retry(self) -> ControlResult:
        """Open a failed run again from its failed step."""
        return await self._engine.control(self.run_id, "retry")

    async def signal(self, name: str, payload: object = None, *, dedup_id: str | None = None) -> bool:
        """Send a signal to the run; see ``Engine.signal``."""
        return await self._engine.signal(self.run_id, name, payload, dedup_id=dedup_id)

    # of a run that is open; see ``windlass.live.api.Live``
    def read_stream(self, name: str, *, offset: int = 0) -> AsyncIterator[StreamItem]:
        """Yield what the run writes to a stream, from an offset on, until the stream or the run has ended."""
        items: AsyncIterator[StreamItem] = self._engine.live.read_stream(self.run_id, name, offset)
        return items

    async def published(self) -> dict[str, Any]:
        """Return the newest value of each key that the run has published, also after its end."""
        values: dict[str, Any] = await self._engine.live.published(self.run_id)
        return values

    async def update(
        self, name: str, payload: object = None, *, update_id: str | None = None, timeout: float | None = None
    ) -> Any:
        """Have the run take an update and return its answer; see ``Live.update``."""
        return await self._engine.live.update(self.run_id, name, payload, update_id=update_id, timeout=timeout)

    async def query(self, name: str, arg: object = None, *, timeout: float | None = 10.0) -> Any:
        """Ask the run what it knows, and change nothing; see ``Live.query``."""
        return await self._engine.live.query(self.run_id, name, arg, timeout=timeout)


def outcome(ended: Ended) -> Any:
    """Return the output of a run that ended.

    Raises:
        RunFailed, RunCancelled: it ended so.
    """
    run_id, status, text = ended
    value = None if text is None else orjson.loads(text)
    if status == Status.SUCCEEDED:
        return value
    message = (value or {}).get("message", status)
    if status == Status.CANCELLED:
        raise RunCancelled(f"run {run_id} was cancelled: {message}", run_id=run_id, error=value)
    raise RunFailed(f"run {run_id} failed: {message}", run_id=run_id, error=value)
