"""What travels to another process: which function is to be called with what, and back: what came of it."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from windlass.kernel.stepping import RUNNING, StepInfo
from windlass.kernel.telling import told


class RemoteTraceback(Exception):
    """The cause of an error that was raised elsewhere: its argument is the traceback there."""


class CannotTravel(Exception):
    """Something cannot be sent to another process, or back."""


def check_place(function: Callable[..., Any]) -> None:
    """Check that another process will find a function.

    Raises:
        ValueError: it is not a function of a module.
    """
    if "<" in function.__qualname__:
        raise ValueError(f"another process finds functions of modules only, not {function.__qualname__}")


@dataclass(frozen=True, slots=True)
class Errand:
    """A call of a step's function, named by where it stands."""

    module: str
    qualname: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    info: StepInfo

    def packed(self) -> bytes:
        """Return it as it travels.

        Raises:
            CannotTravel: an argument cannot.
        """
        try:
            return pickle.dumps(self)
        except Exception as error:
            raise CannotTravel(f"an argument of {self.qualname} cannot be sent to another process: {error}") from error

    def __call__(self) -> Any:
        """Make the call.

        Raises:
            CannotTravel: the function is not found here.
            Exception: what it raises.
        """
        try:
            found: Any = import_module(self.module)
            for name in self.qualname.split("."):
                found = getattr(found, name)
        except (ImportError, AttributeError) as error:
            raise CannotTravel(f"{self.module}.{self.qualname} is not found in another process: {error}") from error
        token = RUNNING.set(self.info)
        try:
            return getattr(found, "fn", found)(*self.args, **self.kwargs)
        finally:
            RUNNING.reset(token)


def carry_out(packed: bytes) -> bytes:
    """Carry out an errand; returns its outcome, whatever that is, as it travels back."""
    succeeded, trace = True, ""
    try:
        errand: Errand = pickle.loads(packed)  # noqa: S301  from the process that has started this one
        value = errand()
    except BaseException as error:  # noqa: BLE001  it is raised where the errand came from
        said = f"{type(error).__name__}: {told(error)}".removesuffix(": ")
        value = error if isinstance(error, Exception) else RuntimeError(said)  # to exit ends the step, no process
        succeeded, trace = False, traceback.format_exc()
    try:
        answer = pickle.dumps((succeeded, value, trace))
        if not succeeded:
            pickle.loads(answer)  # noqa: S301  constructors of errors take what they like
    except Exception as error:  # noqa: BLE001  what cannot be pickled is told in words
        said = f"the result cannot be sent back: {error}" if succeeded else f"{type(value).__name__}: {told(value)}"
        return pickle.dumps((False, CannotTravel(said) if succeeded else RuntimeError(said), trace))
    return answer


def outcome(packed: bytes) -> Any:
    """Return what an errand has returned.

    Raises:
        Exception: what it has raised, with its traceback as the cause.
    """
    succeeded, value, trace = pickle.loads(packed)  # noqa: S301  from a process of ours
    if succeeded:
        return value
    value.__cause__ = RemoteTraceback(trace)
    raise value
