"""Logins that go on: ``wr_<handle>_<secret>`` gets the next bearer token, and is spent then for another one.

Of a login one row is kept, with the hash of the secret that is good. Who comes with its handle and another secret has
a refresh token that was used before: it was copied, so the login ends for whoever has it.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

import sqlalchemy as sa

from windlass.contexts.identity.keys import hashed
from windlass.contexts.identity.model import User
from windlass.contexts.identity.tables import ended_tokens, login_sessions
from windlass.engine.ports import Transaction
from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.ids import new_id

LONGEST_TOKEN_SECONDS = 1440 * 60
"""The longest that a bearer token is good, whatever the settings of the process that signed it."""
_TOKEN = re.compile(r"wr_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")
_BEGIN = """INSERT INTO login_sessions
 (handle, session_id, user_id, token_version, secret_hash, created_at, expires_at)
 VALUES (:handle, :session_id, :user_id, :version, :secret_hash, :created_at, :expires_at)"""
_TURN = """UPDATE login_sessions SET secret_hash = :fresh, refreshed = refreshed + 1
 WHERE handle = :handle AND secret_hash = :spent AND expires_at > :now"""
_FORGET = "DELETE FROM login_sessions WHERE session_id = :session_id"
_END = "INSERT INTO ended_tokens (id, expires_at) VALUES (:id, :expires_at) ON CONFLICT DO NOTHING"


class Session(NamedTuple):
    """A login: whose it is, and at which version of the password."""

    session_id: str
    user_id: str
    version: int


class Begun(NamedTuple):
    """A new login and its first refresh token."""

    session_id: str
    refresh_token: str


def handle_of(text: str) -> str | None:
    """Return the handle of a refresh token, or None when it is none."""
    found = _TOKEN.fullmatch(text)
    return None if found is None else found[1]


def begin(tx: Transaction, user: User, now: int, seconds: float) -> Begun:
    """Begin a login that can be refreshed for some seconds."""
    handle, secret = secrets.token_hex(16), secrets.token_urlsafe(32)
    session_id = new_id()
    tx.execute(
        _BEGIN,
        {
            "handle": handle,
            "session_id": session_id,
            "user_id": int(user.user_id),
            "version": user.version,
            "secret_hash": hashed(secret),
            "created_at": to_iso(now),
            "expires_at": now + int(seconds * SECOND),
        },
    )
    return Begun(session_id, _written(handle, secret))


def turn(tx: Transaction, text: str, now: int) -> str | None:
    """Spend a refresh token for another one; None when it is not the one that is good."""
    handle, spent = _parts(text)
    secret = secrets.token_urlsafe(32)
    values = {"handle": handle, "spent": hashed(spent), "fresh": hashed(secret), "now": now}
    return _written(handle, secret) if tx.execute(_TURN, values).rowcount == 1 else None


def find(connection: sa.Connection, text: str, now: int) -> Session | None:
    """Return the login that a refresh token was of, whether it is still good or not; None when that is over."""
    c = login_sessions.c
    query = sa.select(c.session_id, c.user_id, c.token_version).where(c.handle == handle_of(text), c.expires_at > now)
    row = connection.execute(query).first()
    return None if row is None else Session(row[0], str(row[1]), row[2])


def end(tx: Transaction, ended_id: str, now: int) -> bool:
    """End a login or a token by its id; bearer tokens are good no more. Says whether it had not been ended before."""
    tx.execute(_FORGET, {"session_id": ended_id})
    values = {"id": ended_id, "expires_at": now + LONGEST_TOKEN_SECONDS * SECOND}
    return int(tx.execute(_END, values).rowcount) == 1


def is_ended(connection: sa.Connection, ended_id: str) -> bool:
    """Say whether a login or a token was ended."""
    query = sa.select(ended_tokens.c.id).where(ended_tokens.c.id == ended_id)
    return connection.execute(query).first() is not None


def _parts(text: str) -> tuple[str, str]:
    found = _TOKEN.fullmatch(text)
    return ("", "") if found is None else (found[1], found[2])


def _written(handle: str, secret: str) -> str:
    return f"wr_{handle}_{secret}"
