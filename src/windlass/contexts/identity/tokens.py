"""Bearer tokens: JSON Web Tokens signed with HS256 and nothing else."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
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
    """What a good token says: whose it is, at which version of its password, and what it is narrowed down to.

    ``lasts_with`` is the id of what it ends with before its time: its login, or itself.
    """

    user_id: str
    role: str
    version: int
    lasts_with: str
    grant: Grant | None


class Tokens:
    """Signs and reads tokens.

    Args:
        keys: the key of both, and others that only read: a token names the one it was signed by.
        now: wall time in microseconds.
    """

    def __init__(self, keys: Sequence[bytes], now: Callable[[], int]) -> None:
        import jwt  # noqa: PLC0415  it may bring a large library along, and the command line does without it

        if any(len(key) < KEY_BYTES for key in keys):
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        self._jwt = jwt
        self._keys = [(key_id(key), key) for key in keys]
        self._now = now

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token."""
        [(kid, key), *_] = self._keys
        return self._jwt.encode(dict(claims), key, ALGORITHM, {"kid": kid})

    def read(self, token: str) -> Claims:
        """Return what a bearer token says.

        Raises:
            NotAuthenticated: its signature is not of these keys and this algorithm, its time is up or not said, or it
                is none.
        """
        said = self.open(token, "access")
        try:
            return _claims(said)
        except (ValueError, TypeError, KeyError):
            raise NotAuthenticated(UNKNOWN) from None

    def open(self, token: str, kind: str) -> Mapping[str, Any]:
        """Return what a token of some kind says, whatever that is.

        Raises:
            NotAuthenticated: see ``read``.
        """
        if len(token) > LONGEST:
            raise NotAuthenticated(UNKNOWN)
        try:
            named = self._jwt.get_unverified_header(token).get("kid")
            keys = [key for kid, key in self._keys if named in {None, kid}]
            said = self._decoded(token, keys)
            now = self._now() / SECOND
            begun = "nbf" not in said or _moment(said["nbf"]) <= now
            if begun and _moment(said["exp"]) > now and said["type"] == kind:
                return said
        except (self._jwt.InvalidTokenError, ValueError, TypeError, KeyError):
            pass
        raise NotAuthenticated(UNKNOWN)

    def _decoded(self, token: str, keys: Sequence[bytes]) -> Mapping[str, Any]:
        # The times are looked at by the one clock.
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        for key in keys:
            try:
                return self._jwt.decode(token, key, [ALGORITHM], options)
            except self._jwt.InvalidSignatureError:
                continue
        raise ValueError("signed by another key")


def key_id(key: bytes) -> str:
    """Return the name of a key in the header of its tokens, which tells nothing of it."""
    return hashlib.sha256(b"kid:" + key).hexdigest()[:16]


def _claims(said: Mapping[str, Any]) -> Claims:
    user_id, role, version = _text(said["sub"]), _text(said["role"]), said["ver"]
    if type(version) is not int:
        raise TypeError("ver")
    jti = _text(said["jti"])
    grant = None
    if any(said.get(name) is not None for name in _NARROWING):
        scope, schedule = (None if said.get(name) is None else _text(said[name]) for name in ("scope", "schedule_id"))
        listed = [_texts(said.get(name)) for name in ("allowed_endpoints", "allowed_methods", "allowed_paths")]
        counts = [_count(said.get(name)) for name in ("max_runs", "max_calls")]
        expires = _moment(said["exp"])
        grant = Grant(jti, expires, scope, schedule, listed[0], listed[1], listed[2], counts[0], counts[1])
    return Claims(user_id, role, version, jti if said.get("sid") is None else _text(said["sid"]), grant)


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
