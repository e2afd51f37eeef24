"""Waiting for a run, with the progress it makes."""

from __future__ import annotations

import asyncio
from typing import Any

from windlass.cli.client.protocol import Client, Row
from windlass.cli.exits import CommandError, ExitCode
from windlass.cli.output import note, number
from windlass.cli.progress import Progress
from windlass.kernel.versions import UNBOUND, code_of, parts_of

ENDED = frozenset({"succeeded", "failed", "cancelled"})
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.5
LONELY_SECONDS = 2.0
"""After how long nobody's taking a run is worth a word."""
PAGE = 1000


class Watch:
    """Follows one run.

    Args:
        client: whom to ask.
        run_id: which run.
        timeout: seconds until the wait is given up; None waits for ever.
    """

    def __init__(self, client: Client, run_id: str, timeout: float | None) -> None:
        self._client = client
        self._run_id = run_id
        self._timeout = timeout
        self._since = 0
        self.counts: dict[str, int] = {}

    async def ended(self, progress: Progress | None = None, total: int | None = None) -> Row:
        """Return the run once it has ended; ``progress`` shows what its children have done.

        Raises:
            CommandError: it has not ended in time.
        """
        loop = asyncio.get_running_loop()
        begun, pause, lonely = loop.time(), FIRST_PAUSE, False
        while True:
            run = await self._client.get_run(self._run_id)
            if progress is not None:
                await self._count()
                told = ", ".join(f"{number(count)} {status}" for status, count in self.counts.items() if count)
                progress.at(sum(self.counts.values()), total, told)
            if run["status"] in ENDED:
                return run
            waited = loop.time() - begun
            if self._timeout is not None and waited + pause > self._timeout:
                await asyncio.sleep(max(0.0, self._timeout - waited))
                return await self._last_look()
            if not lonely and waited > LONELY_SECONDS:
                lonely = True
                await self._say_if_lonely(run)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def _last_look(self) -> Row:
        run = await self._client.get_run(self._run_id)
        if run["status"] not in ENDED:
            raise CommandError(
                ExitCode.UNAVAILABLE,
                f"run {self._run_id} is still {run['status']} after {self._timeout:g} s",
                f"it goes on; wait for it with `windlass runs wait {self._run_id}`",
            )
        return run

    async def _count(self) -> None:
        """Add up what children that processed records have reported since the last look."""
        while True:
            events = await self._client.events(self._run_id, self._since, PAGE)
            for event in events:
                self._since = event["event_seq"]
                if event["event_type"] == "child_completed":
                    add_counts(self.counts, event["payload"].get("result"))
            if len(events) < PAGE:
                return

    async def _say_if_lonely(self, run: Row) -> None:
        if run["holder"] is None and run["status"] == "queued" and (lacks := await lacking(self._client, run)):
            note(f"run {self._run_id} waits: no live process carries out {lacks}; start one with `windlass worker`")


async def lacking(client: Client, run: Row) -> str | None:
    """Return the version of a workflow that no live process carries out, by its code; None where nobody can tell."""
    found = await client.workers()
    name, version = run["name"], run["interface_version"]
    there = [parts_of(code) for process in found or () for code in process["workflows"]]
    if found is None or (name, version) in there or (version == UNBOUND and name in dict(there)):
        return None
    return name if version == UNBOUND else code_of(name, version)


def add_counts(sums: dict[str, int], result: Any) -> None:
    """Add the counts of a page of processed records, as its run returned them."""
    if isinstance(result, dict) and all(type(count) is int for count in result.values()):
        for status, count in result.items():
            sums[status] = sums.get(status, 0) + count
