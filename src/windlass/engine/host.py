"""What a run needs from the process that holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from windlass.engine.errors import NonDeterminismError
from windlass.engine.history import History
from windlass.engine.ops import Commits
from windlass.engine.registry import Definition
from windlass.engine.turn import EndOfTurn
from windlass.engine.types import ClaimedRun, Finish, InboxRow, NewRun
from windlass.kernel.clock import Clock
from windlass.kernel.lanes import LaneRules
from windlass.kernel.telemetry import Telemetry

T = TypeVar("T")


class Replayed(Protocol):
    """A run, as its scopes see it."""

    gone: bool
    history: History | None
    divergence: NonDeterminismError | None
    progress: int

    def diverged(self, message: str) -> NonDeterminismError:
        """Remember a divergence and return the first."""
        ...

    def tick(self) -> int:
        """Return a number above those of the journal that was read, and above all such numbers before."""
        ...


class Held(Replayed, Protocol):
    """A run, as the process that holds it sees it."""

    run_id: str
    claimed: ClaimedRun
    workflow: Definition
    counted: bool
    begun: int

    def drop(self) -> None:
        """Forget the run."""
        ...


class Live(Protocol):
    """What others may ask of a run that is held; see ``windlass.live``."""

    def ask(self, run: Any, row: InboxRow) -> None:
        """Answer a question that is in a run's inbox, once the run has come to where it stands."""
        ...


class Host(Protocol):
    """A process that holds runs."""

    holder: str
    clock: Clock
    commits: Commits
    transactions: Commits
    telemetry: Telemetry
    births: int
    lanes: LaneRules
    stopping: bool
    turn: EndOfTurn
    live: Live | None

    @property
    def ending(self) -> bool:
        """Whether this process shuts down, or its event loop does."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def birth(self, queue: str, code: str) -> str | None:
        """Return the holder id when a new run may start here at once."""
        ...

    def born(self, run: NewRun, held: bool, landed: bool) -> None:
        """Take in a run that was born here, once it is on disk (``landed``), or hear that it never will be."""
        ...

    def check_lease(self) -> None:
        """Refuse to start a step once the lease may have run out."""
        ...

    def lease_holds(self) -> bool:
        """Say whether the lease holds for certain; any thread may ask."""
        ...

    def in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run a plain function in a step thread."""
        ...

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a reference to a task until it is done."""
        ...

    def step_ended(self) -> None:
        """Hear that a step ended while this process shuts down."""
        ...

    def may_linger(self, run: Held) -> bool:
        """Whether a waiting run may stay in memory for a moment."""
        ...

    def rests(self, run: Held) -> None:
        """Hear that all of a run waits."""
        ...

    def stirs(self, run: Held) -> None:
        """Hear that a waiting run goes on."""
        ...

    def finished(self, run: Held, finish: Finish) -> None:
        """Hear that a run ended."""
        ...

    def fenced(self, run: Held) -> None:
        """Hear that a write of a run was refused."""
        ...

    def left(self, run: Held) -> None:
        """Hear that a run left memory."""
        ...
