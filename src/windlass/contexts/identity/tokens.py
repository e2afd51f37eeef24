"""Bearer tokens: JSON Web Tokens signed with HS256 and nothing else."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from windlass.contexts.identity.errors import UNKNOWN, NotAuthenticated
from windlass.contexts.identity.model import Grant
from windlass.kernel.clock import SECOND

ALGORITHM = "HS256"
LONGEST = 8192
MOST_LISTED = 100
KEY_BYTES = 32
"""A key shorter than these is for development alone."""
_NARROWING = ("scope", "schedule_id", "allowed_endpoints", "allowed_methods", "allowed_paths", "max_runs", "max_calls")


class Claims(NamedTuple):
    """What a good token says: whose it is, at which version of its password, and what it is narrowed down to."""

    user_id: str
    role: str
    version: int
    grant: Grant | None


class Tokens:
    """Signs and reads tokens.

    Args:
        key: the key of both.
        now: wall time in microseconds.
    """

    def __init__(self, key: bytes, now: Callable[[], int]) -> None:
        import jwt  # noqa: PLC0415  it may bring a large library along, and the command line does without it

        if len(key) < KEY_BYTES:
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        self._jwt = jwt
        self._key = key
        self._now = now

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token."""
        return self._jwt.encode(dict(claims), self._key, ALGORITHM)

    def read(self, token: str) -> Claims:
        """Return what a token says.

        Raises:
            NotAuthenticated: its signature is not of this key and algorithm, its time is up or not said, or it is none.
        """
        if len(token) > LONGEST:
            raise NotAuthenticated(UNKNOWN)
        # The times are looked at here, by the one clock.
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        try:
            said = self._jwt.decode(token, self._key, [ALGORITHM], options)
            return self._understood(said)
        except (self._jwt.InvalidTokenError, ValueError, TypeError, KeyError):
            raise NotAuthenticated(UNKNOWN) from None

    def _understood(self, said: Mapping[str, Any]) -> Claims:
        now = self._now() / SECOND
        expires = _moment(said["exp"])
        if expires <= now or ("nbf" in said and _moment(said["nbf"]) > now) or said["type"] != "access":
            raise ValueError("not now, or no access token")
        user_id, role, version = _text(said["sub"]), _text(said["role"]), said["ver"]
        if type(version) is not int:
            raise TypeError("ver")
        jti = _text(said["jti"])
        grant = None
        if any(said.get(name) is not None for name in _NARROWING):
            scope, schedule = (
                None if said.get(name) is None else _text(said[name]) for name in ("scope", "schedule_id")
            )
            listed = [_texts(said.get(name)) for name in ("allowed_endpoints", "allowed_methods", "allowed_paths")]
            counts = [_count(said.get(name)) for name in ("max_runs", "max_calls")]
            grant = Grant(jti, expires, scope, schedule, listed[0], listed[1], listed[2], counts[0], counts[1])
        return Claims(user_id, role, version, grant)


def _moment(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("a time is a number")
    return float(value)


def _text(value: Any) -> str:
    if not (isinstance(value, str) and 1 <= len(value) <= 255 and value.isprintable()):
        raise TypeError("a text is printable")
    return value


def _texts(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MOST_LISTED:
        raise TypeError("a list")
    return tuple(map(_text, value))


def _count(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        raise TypeError("a count")
    return value
