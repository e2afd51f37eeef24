"""A billing service in memory, for one approval or thousands: it fails as it is told to, and it forgets nothing."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from windlass.contexts.providers.billing import (
    BillingDown,
    BillingRefused,
    Created,
    Found,
    LookupNotOffered,
    NameTaken,
)

FIRST_ID = 10001


class Fate(StrEnum):
    """What becomes of a call."""

    WELL = "well"
    UNREACHED = "never sent"
    BEFORE = "lost before the work"
    AFTER = "lost after the work"
    LATE = "timed out, and done later"
    ERROR = "500"
    BUSY = "503 with Retry-After"
    REFUSED = "refused"


@dataclass
class Provider:
    """A provider that billing made."""

    provider_id: int
    name: str
    key: str
    created_at: int


async def _at_once() -> None:
    await asyncio.sleep(0)


@dataclass
class FakeBilling:
    """Names are unique, as the real one's.

    ``honours_keys``: a repeated key gets the first answer; ``tells_keys`` and ``tells_names``: what a look-up says.
    ``fates`` are those of the next calls, and ``fate`` that of all others. ``spend`` is how long a call takes.
    """

    now: Callable[[], int]
    honours_keys: bool = True
    tells_keys: bool = True
    tells_names: bool = True
    fates: deque[Fate] = field(default_factory=deque)
    fate: Callable[[], Fate] = lambda: Fate.WELL
    spend: Callable[[], Awaitable[None]] = _at_once
    providers: dict[int, Provider] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    retries: list[tuple[int, int | None, float]] = field(default_factory=list)
    late: list[tuple[str, str]] = field(default_factory=list)

    async def create(self, name: str, key: str) -> Created:
        """Create a provider; see ``BillingClient.create``."""
        self.calls["create"] += 1
        fate = self.fates.popleft() if self.fates else self.fate()
        await self.spend()
        if fate is Fate.UNREACHED:
            raise BillingDown("Connection refused", sent=False)
        if fate is Fate.BEFORE:
            raise BillingDown("no answer within 10 s")
        if fate is Fate.ERROR:
            raise BillingDown("billing answered 500: broken", status=500)
        if fate is Fate.BUSY:
            raise BillingDown("billing answered 503: busy", 7.0, status=503)
        if fate is Fate.REFUSED:
            raise BillingRefused(422, "no such company")
        if fate is Fate.LATE:
            self.late.append((name, key))
            raise BillingDown("no answer within 10 s")
        made = self.make(name, key)
        await self.spend()
        if fate is Fate.AFTER:
            raise BillingDown("no answer within 10 s")
        if made is None:
            raise NameTaken("Provider name must be unique")
        return Created(made.provider_id)

    def make(self, name: str, key: str) -> Provider | None:
        """Do what a call asks for; None where the name is taken."""
        known = next((one for one in self.providers.values() if one.name == name), None)
        if known is not None:
            return known if self.honours_keys and known.key == key else None
        made = Provider(FIRST_ID + len(self.providers), name, key, self.now())
        self.providers[made.provider_id] = made
        return made

    def catch_up(self) -> None:
        """Do what was still to be done when its caller had gone."""
        while self.late:
            self.make(*self.late.pop(0))

    async def find(self, name: str) -> Found | None:
        """Look a provider up; see ``BillingClient.find``."""
        self.calls["find"] += 1
        fate = self.fates.popleft() if self.fates else self.fate()
        await self.spend()
        if fate not in {Fate.WELL, Fate.REFUSED}:
            raise BillingDown("no answer within 10 s", sent=fate is not Fate.UNREACHED)
        if not self.tells_names:
            raise LookupNotOffered
        for one in self.providers.values():
            if one.name == name:
                return Found(one.provider_id, name, one.key if self.tells_keys else None, one.created_at)
        return None

    def retrying(self, _error: BillingDown, *, attempt: int, max_retries: int | None, delay: float) -> None:
        """Remember what was told of a retry."""
        self.retries.append((attempt, max_retries, delay))
