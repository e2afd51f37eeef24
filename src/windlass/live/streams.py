"""Streams: what a run writes while it goes on, and anybody reads from any offset, live or later."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from windlass.engine.errors import Suspend
from windlass.engine.heads import to_json
from windlass.engine.registry import check_name
from windlass.engine.run import Run
from windlass.engine.scope import current_scope
from windlass.engine.types import NewEvent
from windlass.kernel.clock import to_iso
from windlass.kernel.stepping import StepInfo
from windlass.live.errors import StreamClosed
from windlass.live.rows import write_items
from windlass.live.state import Outlet, begun, running_step, state_of
from windlass.values.codec import encode

_BEGINNING = (0, False)
FULL = 500
"""How many events may wait for their commit before who writes waits for it, too."""


class Stream:
    """One of the streams of the run whose code asks for it."""

    def __init__(self, name: str) -> None:
        self.name = check_name(name)

    async def write(self, *items: object) -> int:
        """Add items and return the offset of the first. They reach the disk, and readers, with the run's next commit.

        What a workflow writes is written once, whatever crashes. An attempt of a step that fails has written what it
        has, and the next begins anew: its items bear their step and the number of the attempt.

        Raises:
            NotSerializable: an item cannot be kept as JSON.
            StreamClosed: the stream was closed.
        """
        texts = [encode(item, f"item of stream {self.name}") for item in items]
        found = running_step(f"stream {self.name}")
        if found is not None:
            run, info = found
            outlet = await self._outlet(run)
            if outlet.closed:
                raise _closed(self.name)
            offset = self._from_step(run, info, outlet, texts)
            await _not_too_full(run)
            return offset
        scope = current_scope(f"stream {self.name}")
        run = scope.run
        path, recorded = scope.enter(f"stream:{self.name}", "stream")
        if recorded is not None:
            said = recorded.opened or {}
            if said.get("closed"):
                scope.hear(recorded.seq)
                raise _closed(self.name)
            if said.get("items") != len(texts):
                raise run.diverged(f"{path!r} writes {len(texts)} items where its journal holds {said.get('items')}")
            scope.hear(recorded.seq)
            return int(said["offset"])
        outlet = await self._live(run)
        if outlet.closed:
            said = {"stream": self.name, "closed": True}
            run.record([NewEvent("stream_written", path, to_json(said), run.worker.clock.now())])
            scope.hear()
            raise _closed(self.name)
        offset = self._add(run, outlet, texts, None, None)
        said = {"stream": self.name, "offset": offset, "items": len(texts)}
        run.record([NewEvent("stream_written", path, to_json(said), run.worker.clock.now())])
        scope.hear()
        await _not_too_full(run)
        return offset

    def push(self, *items: object) -> None:
        """Add items from a step that is a plain function; see ``write``. The function does not wait for anything.

        Raises:
            RuntimeError: this is no such step: use ``write``.
            NotSerializable, StreamClosed: see ``write``.
        """
        texts = [encode(item, f"item of stream {self.name}") for item in items]
        found = running_step(f"stream {self.name}")
        if found is None or asyncio._get_running_loop() is not None:
            raise RuntimeError(
                f"stream {self.name}: push is for steps that are plain functions; use 'await ….write(…)'"
            )
        run, info = found
        outlet = state_of(run).outlets.setdefault(self.name, Outlet())
        end = _BEGINNING
        if outlet.next is None and not _fresh(run):
            end = _live(run).end_here(run.run_id, self.name)
        if outlet.closed or end[1]:
            raise _closed(self.name)
        run.loop.call_soon_threadsafe(self._pushed, run, info, outlet, end, texts)

    def _pushed(self, run: Run, info: StepInfo, outlet: Outlet, end: tuple[int, bool], texts: list[str]) -> None:
        if outlet.next is None:
            outlet.next, outlet.closed = end
        if not (run.gone or outlet.closed):
            self._from_step(run, info, outlet, texts)

    async def close(self) -> None:
        """End the stream: whoever reads it comes to its end. Closing it again does nothing.

        Raises:
            RuntimeError: called in a step.
        """
        scope = current_scope(f"stream {self.name}: close")
        run = scope.run
        path, recorded = scope.enter(f"stream:{self.name}", "stream")
        if recorded is not None:
            if "items" in (recorded.opened or {}):
                raise run.diverged(f"{path!r} closes a stream where its journal holds items")
            scope.hear(recorded.seq)
            return
        outlet = await self._live(run)
        if not outlet.closed:
            run.along.append((write_items, self._row(run, outlet, None, None, None)))
            outlet.closed = True
        said = {"stream": self.name, "offset": outlet.next}
        run.record([NewEvent("stream_closed", path, to_json(said), run.worker.clock.now())])
        scope.hear()

    async def _live(self, run: Run) -> Outlet:
        """Return where a workflow writes, once it does not only replay."""
        if run.replaying:
            await run.catch_up()
        if run.held_up:
            await run.hold()
        return await self._outlet(run)

    async def _outlet(self, run: Run) -> Outlet:
        outlet = state_of(run).outlets.setdefault(self.name, Outlet())
        async with outlet.turn:
            if outlet.next is None:
                end = _BEGINNING if _fresh(run) else await _live(run).end_of(run.run_id, self.name)
                if outlet.next is None:  # else a thread has been quicker
                    outlet.next, outlet.closed = end
        if run.gone:
            raise Suspend
        return outlet

    def _from_step(self, run: Run, info: StepInfo, outlet: Outlet, texts: list[str]) -> int:
        last, outlet.last = outlet.last, None
        offset = self._add(run, outlet, texts, info.path, info.attempt)
        said = {"stream": self.name, "offset": offset, "items": len(texts), "attempt": info.attempt}
        if last is not None and run.pending and run.pending[-1] is last and last.step_id == info.path:
            run.pending.pop()
            said["offset"], said["items"] = _first(last), offset + len(texts) - _first(last)
        event = NewEvent("step_streamed", info.path, to_json(said), run.worker.clock.now())
        outlet.last = event
        run.record([*begun(run, info.path), event])
        return offset

    def _add(self, run: Run, outlet: Outlet, texts: list[str], step: str | None, attempt: int | None) -> int:
        first = outlet.next or 0
        for text in texts:
            run.along.append((write_items, self._row(run, outlet, text, step, attempt)))
            outlet.next = (outlet.next or 0) + 1
        return first

    def _row(self, run: Run, outlet: Outlet, text: str | None, step: str | None, attempt: int | None) -> object:
        return (run.run_id, self.name, outlet.next, text, step, attempt, to_iso(run.worker.clock.now()))


def _fresh(run: Run) -> bool:
    """Whether a run has only just begun, so that nobody can have written anything."""
    return run.claimed.head.last_seq <= 1


def _live(run: Run) -> Any:
    return run.worker.live


def _first(event: NewEvent) -> int:
    offset: int = orjson.loads(event.payload)["offset"]
    return offset


def _closed(name: str) -> StreamClosed:
    return StreamClosed(f"stream {name} is closed", stream=name)


async def _not_too_full(run: Run) -> None:
    if len(run.along) >= FULL:
        await run.barrier()


def stream(name: str) -> Stream:
    """Return a stream of the run whose code this is; inside a workflow, or one of its steps in the same process.

    Raises:
        BadName: no stream can have this name.
    """
    return Stream(name)
