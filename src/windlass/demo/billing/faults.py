"""What can be wrong with billing, switched on and off while it runs."""

from __future__ import annotations

import random
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Kind(StrEnum):
    """What happens to a call that fails: an error status or a broken connection, without or after doing the work."""

    ERROR = "error"
    ERROR_AFTER = "error-after"
    DROP_BEFORE = "drop-before"
    DROP_AFTER = "drop-after"
    MIXED = "mixed"

    @property
    def works(self) -> bool:
        """Whether the work is done all the same."""
        return self in {Kind.ERROR_AFTER, Kind.DROP_AFTER}

    @property
    def drops(self) -> bool:
        """Whether the connection breaks instead of an answer."""
        return self in {Kind.DROP_BEFORE, Kind.DROP_AFTER}


_SINGLE = tuple(kind for kind in Kind if kind is not Kind.MIXED)


class Faults(BaseModel):
    """The faults of ``GET`` and ``PUT /faults``; without any, billing is well."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    slow: float = Field(0, ge=0, le=600, description="Seconds that every call takes longer")
    fail: str = Field("error", pattern=f"^({'|'.join(Kind)})$", description="What happens to calls that fail")
    next: int = Field(0, ge=0, le=1_000_000, description="How many of the next calls fail")
    share: float = Field(0, ge=0, le=1, description="The share of the calls after those that fail")
    seed: int = Field(0, ge=0, le=2**32, description="Begins the dice that choose them")
    status: int = Field(500, ge=400, le=599, description="The status of errors; 400 and 422 refuse")
    retry_after: float | None = Field(None, ge=0, le=3600, description="Seconds of Retry-After beside it")
    keys: bool = Field(True, description="Whether Idempotency-Key is honoured")
    lookup: bool = Field(True, description="Whether GET /provider?name= is offered")


class Switch:
    """Holds the faults that are on, and chooses the calls that fail."""

    def __init__(self, faults: Faults) -> None:
        self.set(faults)

    def set(self, faults: Faults) -> None:
        """Switch to other faults; their dice begin anew."""
        self._faults = faults
        self._left = faults.next
        self._dice = random.Random(faults.seed)  # noqa: S311  a fault that can be repeated, no secret

    @property
    def faults(self) -> Faults:
        """The faults that are on; ``next`` is what is left of it."""
        return self._faults.model_copy(update={"next": self._left})

    def choose(self) -> Kind | None:
        """Return what happens to the call that has come, None when it goes well."""
        if self._left:
            self._left -= 1
        elif self._dice.random() >= self._faults.share:
            return None
        kind = Kind(self._faults.fail)
        return self._dice.choice(_SINGLE) if kind is Kind.MIXED else kind
