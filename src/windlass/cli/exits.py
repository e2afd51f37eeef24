"""How a command ends: its exit code, and what it says when it could not do what was asked."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

from windlass.kernel.errors import Kind, Unavailable, WindlassError


class ExitCode(IntEnum):
    """What the shell sees."""

    OK = 0
    FINDING = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    INTERNAL = 6
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FINDING: "done, and something is wrong: a finding, a failed run, a refused line",
    ExitCode.USAGE: "not understood: a wrong option, setting or input, a missing or wrong API key",
    ExitCode.NOT_FOUND: "no such record, run or queue",
    ExitCode.CONFLICT: "the state of the record or run does not allow it",
    ExitCode.UNAVAILABLE: "the server or the database does not answer, or not in time",
    ExitCode.INTERNAL: "a fault of the program; --debug shows where",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C",
}

_KINDS = {
    Kind.INVALID: ExitCode.USAGE,
    Kind.VALIDATION: ExitCode.USAGE,
    Kind.UNAUTHORIZED: ExitCode.USAGE,
    Kind.FORBIDDEN: ExitCode.USAGE,
    Kind.TOO_LARGE: ExitCode.USAGE,
    Kind.NOT_FOUND: ExitCode.NOT_FOUND,
    Kind.CONFLICT: ExitCode.CONFLICT,
    Kind.STALE: ExitCode.CONFLICT,
    Kind.RATE_LIMITED: ExitCode.UNAVAILABLE,
    Kind.BAD_GATEWAY: ExitCode.UNAVAILABLE,
    Kind.UNAVAILABLE: ExitCode.UNAVAILABLE,
    Kind.TIMED_OUT: ExitCode.UNAVAILABLE,
    Kind.INTERNAL: ExitCode.INTERNAL,
}


class CommandError(Exception):
    """Ends a command with a code and one line that says what is wrong and, as ``hint``, what to do next."""

    def __init__(self, code: ExitCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def bad_input(message: str, hint: str = "") -> NoReturn:
    """End the command: what was given cannot be used."""
    raise CommandError(ExitCode.USAGE, message, hint)


def explain(error: Exception) -> CommandError:
    """Return any error as the end of a command."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, WindlassError):
        return CommandError(_KINDS[error.kind], _in_one_line(str(error)), _hint(error))
    if isinstance(error, OSError):
        return CommandError(ExitCode.USAGE, f"{error.strerror or error}: {error.filename or 'input or output'}")
    return CommandError(
        ExitCode.INTERNAL, f"{type(error).__name__}: {_in_one_line(str(error))}", "run it again with --debug"
    )


def _hint(error: WindlassError) -> str:
    if error.kind is Kind.UNAUTHORIZED:
        return "give the server's key with --api-key or in API_KEY"
    if isinstance(error, Unavailable) and "cannot be reached" in error.message:
        return "is it running, and is DATABASE_URL right? `windlass config` prints it"
    return ""


def _in_one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def epilog() -> str:
    """Return the exit codes as the help prints them."""
    return "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."
