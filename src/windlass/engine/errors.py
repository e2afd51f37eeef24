"""The engine's errors: those callers handle, and control flow that user code must not swallow."""

from __future__ import annotations

from windlass.kernel.errors import Conflict, Kind, NotFound, NotSerializable, Unavailable, WindlassError


class UnknownRun(NotFound):
    """No run has this id."""


class UnknownWorkflow(NotFound):
    """No workflow is registered under this name."""


class RunConflict(Conflict):
    """The run is in a state that does not allow this."""


class Overloaded(Unavailable):
    """The committer has fallen behind; nothing was accepted."""


class WriteFailed(Unavailable):
    """The database refused or lost the write; it is not on disk."""


class RunFailed(WindlassError):
    """A run ended as failed; ``data["error"]`` holds its error."""

    code = "RUN_FAILED"
    kind = Kind.CONFLICT


class RunCancelled(WindlassError):
    """A run ended as cancelled."""

    code = "RUN_CANCELLED"
    kind = Kind.CONFLICT


class StepFailed(WindlassError):
    """A step failed for good: no attempts were left, or its error was fatal.

    ``data``: ``step`` (its path), ``error_type``, ``attempts``.
    """

    code = "STEP_FAILED"


class CompensationFailed(WindlassError):
    """A failed run could not be undone as a whole: a person must see to the steps in ``data["open"]`` (their paths)."""

    code = "COMPENSATION_FAILED"


class StepTimeout(WindlassError):
    """An attempt took longer than the step's ``timeout``."""

    code = "STEP_TIMEOUT"


class SignalTimeout(WindlassError):
    """A signal did not come in time."""

    code = "SIGNAL_TIMEOUT"


class Fatal(Exception):
    """Raised by a step to say that trying again cannot help."""


class NonDeterminismError(WindlassError):
    """The code asked for something else than its journal holds; names both sides."""

    code = "NON_DETERMINISM"


class BareTaskError(WindlassError):
    """A step was called from a task the engine does not know, so its place cannot be told."""

    code = "BARE_TASK"


class UnknownCommit(Exception):
    """The answer to a COMMIT was lost."""


class TransactionLost(Exception):
    """The database gave up the whole transaction inside a unit, so that its neighbours must be written anew."""


class Fenced(Exception):
    """This process no longer holds the run (or its lease): it may write nothing."""


class Withheld(Exception):
    """Raised by the code of a step that lacks something only a person can bring: the run is paused with this reason.

    The attempt does not count; it is made again when the run is resumed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Suspend(BaseException):
    """Unwinds a run that leaves memory; not an ``Exception`` so that user code does not swallow it."""


FINAL = (Fatal, NotSerializable, NonDeterminismError)
"""After these no step is tried again."""
