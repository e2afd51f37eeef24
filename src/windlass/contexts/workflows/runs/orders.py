"""What is said of runs when they are started, and what starting them needs of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from windlass.contexts.workflows.runs.plan import Rules
from windlass.engine.ports import Transaction
from windlass.engine.types import Started, StartRequest
from windlass.kernel.actors import Actor
from windlass.kernel.errors import Kind, WindlassError


class NotInTime(WindlassError):
    """The run goes on, but nobody waits for it any more."""

    code = "RUN_TIMEOUT"
    kind = Kind.TIMED_OUT


@dataclass(frozen=True, slots=True)
class RunRules:
    """What the settings say of runs; times are seconds."""

    wait_seconds: float = 3300.0
    key_seconds: float = 24 * 3600.0
    adhoc: bool = True
    attempts: Rules = field(default_factory=Rules)


class SavedDefinition(NamedTuple):
    """A saved definition as a run needs it."""

    id: int
    version: int
    document: Mapping[str, Any]
    owner: str | None = None


class Definitions(Protocol):
    """The saved definitions, and the rules of all of them."""

    async def fetch(self, actor: Actor, workflow_id: int) -> SavedDefinition:
        """Return one that exists for this caller.

        Raises:
            NotFound: none does.
        """
        ...

    def check(self, document: Any, mode: str) -> Mapping[str, Any]:
        """Return a definition sent for one run.

        Raises:
            ValidationFailed, TooLarge: it breaks a rule; names each.
        """
        ...

    def check_inputs(self, document: Mapping[str, Any], inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return inputs with the defaults of the definition.

        Raises:
            ValidationFailed: they break its schema; names each.
        """
        ...


class Starting(Protocol):
    """What starts runs: the engine, or who counts them first."""

    async def begin(self, request: StartRequest) -> Started:
        """Start the run of a request; when this returns it is on disk."""
        ...

    def begin_in(self, tx: Transaction, request: StartRequest) -> Started:
        """Start the run of a request inside an open transaction."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller says of a run it starts; of those that share their limits a smaller ``priority`` goes first."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    session_id: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    validation_mode: str = "block"
    mode: str = "async"
    priority: int | None = None
    traceparent: str | None = None
