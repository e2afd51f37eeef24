"""Errors as data: a stable code, a kind that an edge turns into a status, and fields a caller may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Kind(StrEnum):
    """What an error asks of its caller; each edge maps a kind to its own status in one table."""

    INVALID = "invalid"
    VALIDATION = "validation"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STALE = "stale"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    BAD_GATEWAY = "bad_gateway"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    INTERNAL = "internal"


class WindlassError(Exception):
    """Root of every error a caller may handle.

    ``code`` is stable and upper case, ``kind`` says what the caller can do, ``message`` is for people
    and ``data`` holds JSON-ready details.
    """

    code = "INTERNAL_ERROR"
    kind = Kind.INTERNAL

    def __init__(self, message: str, **data: object) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return self.message


class Invalid(WindlassError):
    """The request cannot be understood or breaks a rule; ``field`` names the culprit where there is one."""

    code = "BAD_REQUEST"
    kind = Kind.INVALID


class Issue(NamedTuple):
    """One thing wrong with a request: where (``("body", "source")``), in words, and a stable ``type``.

    ``data`` is what else is known of it; edges show it beside the others.
    """

    loc: tuple[str | int, ...]
    msg: str
    type: str
    data: Mapping[str, object] = MappingProxyType({})


class ValidationFailed(WindlassError):
    """Fields of a request are missing, unknown, of the wrong type or out of range; ``issues`` names each."""

    code = "VALIDATION_ERROR"
    kind = Kind.VALIDATION

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__("Validation failed")
        self.issues = issues

    def __str__(self) -> str:
        return "; ".join(f"{'.'.join(map(str, issue.loc))}: {issue.msg}" for issue in self.issues)


class NotSerializable(WindlassError):
    """A value cannot be kept as JSON."""

    code = "NOT_SERIALIZABLE"
    kind = Kind.INVALID


class TooLarge(WindlassError):
    """The request is larger than the settings allow."""

    code = "PAYLOAD_TOO_LARGE"
    kind = Kind.TOO_LARGE


class NotFound(WindlassError):
    """Nothing is there under that name."""

    code = "NOT_FOUND"
    kind = Kind.NOT_FOUND


class Conflict(WindlassError):
    """The object is not in a state that allows this."""

    code = "CONFLICT"
    kind = Kind.CONFLICT


class Stale(WindlassError):
    """The object is not what the caller takes it for: somebody has changed it; nothing was done."""

    code = "PRECONDITION_FAILED"
    kind = Kind.STALE


class Unavailable(WindlassError):
    """Try again: the database is away, or writers have fallen behind.

    ``retry_after`` is in seconds.
    """

    code = "SERVICE_UNAVAILABLE"
    kind = Kind.UNAVAILABLE

    def __init__(self, message: str, *, retry_after: float = 1.0, **data: object) -> None:
        super().__init__(message, **data)
        self.retry_after = retry_after


class Moving(Unavailable):
    """The database is being moved to another one, or has been; nothing was accepted. Ask again, there or here."""

    code = "MOVING"


class ConfigError(WindlassError):
    """A setting, a database or a code version with which nothing may start."""

    code = "CONFIG_ERROR"
    kind = Kind.INVALID
