"""Sending batches one after the other; one that may not have arrived is sent again under the same key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from windlass.cli.client.protocol import Client, Fault, Stored
from windlass.cli.exits import bad_input
from windlass.cli.importing.batches import Batch
from windlass.cli.importing.items import Refused, shown
from windlass.cli.importing.rejects import Rejects
from windlass.cli.output import note
from windlass.kernel.errors import TooLarge, Unavailable

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class Tally:
    """How many records are stored, how many of those were so before this import, how many lines were refused."""

    accepted: int = 0
    repeated: int = 0
    refused: int = 0


class Importer:
    """Stores batches in order.

    Args:
        client: who stores them.
        name: distinguishes imports of the same records; see ``Batch.key``.
        rejects: hears of refused lines.
        patience: seconds for which a server that is away is asked again.
    """

    def __init__(self, client: Client, name: str, rejects: Rejects, patience: float) -> None:
        self._client = client
        self._name = name
        self._rejects = rejects
        self._patience = patience
        self.tally = Tally()

    async def run(self, batches: Iterable[Batch], progress: Callable[[Tally], None]) -> Tally:
        """Store all of them and return what became of them.

        Raises:
            Unavailable: the server stayed away; what was stored is recognised when the import is repeated.
        """
        for batch in batches:
            refused = list(batch.refused)
            if batch.lines:
                stored = await self._store(batch)
                self.tally.accepted += stored.created
                self.tally.repeated += stored.repeated
                refused += [
                    Refused(batch.lines[place - 1], field, message, shown(batch.parts[place - 1]))
                    for place, field, message in stored.faults
                ]
            for one in sorted(refused, key=lambda one: one.line):
                self._rejects.add(one)
            self.tally.refused = self._rejects.count
            progress(self.tally)
        return self.tally

    async def _store(self, batch: Batch) -> Stored:
        body, key = batch.body, batch.key(self._name)
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._patience, FIRST_PAUSE
        while True:
            try:
                return await self._client.store(body, key)
            except TooLarge as error:
                return _refused(batch, error)
            except Unavailable as error:
                if loop.time() + pause > until:
                    raise
                if pause == FIRST_PAUSE:
                    note(f"waiting, then sending line {batch.lines[0]} and on again: {error.message}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def _refused(batch: Batch, error: TooLarge) -> Stored:
    """Return a batch of one record as refused: it is larger than the server takes.

    Raises:
        CommandError: there are several, and the server did not say which.
    """
    if len(batch.lines) > 1:
        bad_input(f"lines {batch.lines[0]} to {batch.lines[-1]}: {error.message}", "the server's limits are too low")
    return Stored(0, 0, [Fault(1, None, error.message)])
