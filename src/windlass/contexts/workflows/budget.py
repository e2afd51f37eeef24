"""How much work a computation on behalf of somebody's definition may do, counted so that a replay counts the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

CHARACTERS = 8
"""Characters that cost one unit; an item of a list costs one, too."""


class Exhausted(Exception):
    """The work is more than it may be."""


class Budget:
    """Units of work that are left."""

    __slots__ = ("left",)

    def __init__(self, units: int) -> None:
        self.left = units

    def charge(self, units: int) -> None:
        """Take units off.

        Raises:
            Exhausted: there are not as many.
        """
        self.left -= units
        if self.left < 0:
            raise Exhausted

    def weigh(self, value: Any) -> None:
        """Charge for everything in a value, however it is nested; what occurs twice counts twice.

        Raises:
            Exhausted: it is more than is left.
        """
        if isinstance(value, str):
            self.charge(1 + len(value) // CHARACTERS)
            return
        stack = [value]
        while stack:
            one = stack.pop()
            if isinstance(one, str):
                self.charge(1 + len(one) // CHARACTERS)
            elif isinstance(one, Mapping):
                self.charge(1 + 2 * len(one))
                stack.extend(one.keys())
                stack.extend(one.values())
            elif isinstance(one, list | tuple | set | frozenset):
                self.charge(1 + len(one))
                stack.extend(one)
            elif isinstance(one, range):
                self.charge(1 + len(one))
            elif isinstance(one, int):
                self.charge(1 + one.bit_length() // 64)
            else:
                self.charge(1)

    def items(self, values: Iterable[Any], cost: int = 1) -> Iterator[Any]:
        """Yield the values, each charged with ``cost``."""
        for value in values:
            self.charge(cost)
            yield value

    def listed(self, values: Iterable[Any]) -> list[Any]:
        """Return the values as a list, charged for."""
        return list(islice(self.items(values), self.left + 1))
