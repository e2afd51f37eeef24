"""The places by name, and which of them are there."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from windlass.executors.errands import Errand, carry_out, outcome

THREADS = "threads"
"""Where plain steps run by themselves."""


class Crashed(Exception):
    """Whoever ran a step died over it: a signal, no memory, a lost machine. The attempt has failed as others do."""


class Place(ABC):
    """Where errands are carried out. One that is cancelled is killed: nothing of it goes on."""

    def __init__(self) -> None:
        self._rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    @abstractmethod
    async def size(self) -> int:
        """Return how many errands may be under way at once; the place is ready afterwards."""

    @abstractmethod
    async def deliver(self, work: Callable[[bytes], bytes], packed: bytes) -> bytes:
        """Call ``work`` there, and return what it returns.

        Raises:
            Crashed: who carried it out died.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop everything; what is under way is killed. The place opens again when it is asked for."""

    async def room(self) -> asyncio.Semaphore:
        """Return what lets in as many as there is room for: the time of a step begins inside."""
        loop = asyncio.get_running_loop()
        if loop not in self._rooms:
            size = await self.size()
            self._rooms.setdefault(loop, asyncio.Semaphore(size))
        return self._rooms[loop]

    async def run(self, errand: Errand) -> Any:
        """Carry out an errand and return its result.

        Raises:
            CannotTravel: an argument or the result cannot be sent.
            Crashed: who carried it out died.
            Exception: what the function raised.
        """
        return outcome(await self.deliver(carry_out, errand.packed()))


_MAKERS: dict[str, Callable[[], Place]] = {}
_OPEN: dict[str, Place] = {}


def register(name: str, make: Callable[[], Place]) -> None:
    """Offer a place under a name, in place of an earlier one; it is made when a step first asks for it."""
    close_place(name)
    _MAKERS[name] = make


def check_name(name: str) -> None:
    """Check that there is a place of this name.

    Raises:
        ValueError: there is none; names those that are there.
    """
    if name not in _MAKERS:
        raise ValueError(f"there is no executor {name!r}, but {', '.join(sorted({THREADS, *_MAKERS}))}")


def place(name: str) -> Place:
    """Return the place of this name, made if need be.

    Raises:
        ValueError: there is none.
    """
    check_name(name)
    if name not in _OPEN:
        _OPEN[name] = _MAKERS[name]()
    return _OPEN[name]


def close_place(name: str) -> None:
    """Close a place if it is open."""
    found = _OPEN.pop(name, None)
    if found is not None:
        found.close()


def close_all() -> None:
    """Close every place; those that are asked for afterwards open again."""
    for name in list(_OPEN):
        with suppress(KeyError):
            close_place(name)
