"""Coming and going: logins with a password, the tokens they get, and their end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from windlass.contexts.identity import logins, seeds, sessions, users
from windlass.contexts.identity.cache import Cache
from windlass.contexts.identity.errors import MISSING, UNKNOWN, WRONG_PASSWORD, NotAuthenticated, TooManyLogins
from windlass.contexts.identity.keys import PREFIX
from windlass.contexts.identity.model import Rules, Token, User
from windlass.contexts.identity.passwords import Passwords
from windlass.contexts.identity.tokens import Claims, Tokens
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor, fold
from windlass.kernel.clock import SECOND, Clock, to_iso
from windlass.kernel.errors import Conflict, Invalid, Unavailable
from windlass.kernel.ids import new_id

_BEARER = "bearer "


class _Records(Protocol):
    def __call__(
        self, tx: Transaction, actor: Actor, action: str, target: str, before: object = None, after: object = None
    ) -> None: ...


class Arrivals:
    """The part of ``Identity`` that lets users in and out."""

    rules: Rules
    _engine: Engine
    _clock: Clock
    _passwords: Passwords
    _turns: logins.Turns
    _lasting: Cache[str, bool]
    record: _Records

    async def signer(self) -> Tokens:
        """Return what signs tokens and reads them."""
        raise NotImplementedError

    async def login(self, username: str, password: str) -> Token:
        """Return tokens for a user's password.

        A name that no user has is answered like a wrong password, and takes as long.

        Raises:
            NotAuthenticated: the name or the password is wrong, or the user is disabled.
            TooManyLogins: wrong passwords were given for this name a moment ago.
            Invalid: nobody logs in with AUTH_MODE=single_user.
            Unavailable: too many log in at once.
        """
        if self.rules.single_user:
            raise Invalid("nobody logs in with AUTH_MODE=single_user: send the API key")
        folded = fold(username)
        name_hash = logins.hashed(folded)
        async with self._turns.of(name_hash):
            blocked, found = await self._engine.read(
                lambda connection: (logins.blocked_until(connection, name_hash), users.with_hash(connection, username))
            )
            now = self._clock.now()
            if blocked > now:
                raise TooManyLogins((blocked - now) / SECOND)
            user, kept = (None, None) if found is None or self.is_nobody(found[0]) else found
            if found is None and self.rules.development and folded == seeds.NAME:
                kept = seeds.HASH
            fits = await self._passwords.fits(kept, password)
            if kept is None or not fits or not (user is None or user.is_active):
                await self._engine.transact(lambda tx: logins.fail(tx, name_hash, self._clock.now()))
                raise NotAuthenticated(WRONG_PASSWORD)
            fresh = await self._passwords.hash(password) if self._passwords.is_dated(kept) else None

            def remember(tx: Transaction) -> tuple[User, sessions.Begun]:
                logins.succeed(tx, name_hash)
                known = user or self._plant(tx)
                if fresh is not None:
                    users.rehash(tx, known, kept, fresh)
                return known, self._begin(tx, known)

            try:
                known, begun = await self._engine.transact(remember)
            except Conflict:
                raise Unavailable("another login of this name was quicker") from None
        return await self._token(known, begun)

    def _plant(self, tx: Transaction) -> User:
        planted = seeds.plant(tx, to_iso(self._clock.now()))
        seed = Actor(planted.user_id, planted.username, role=planted.role)
        self.record(tx, seed, "user.add", f"user:{planted.user_id}", None, planted.shown())
        return planted

    def is_nobody(self, user: User) -> bool:
        """Say whether a user is the one of development, and this is none."""
        return user.seeded and not self.rules.development

    def _begin(self, tx: Transaction, user: User) -> sessions.Begun:
        users.logged_in(tx, user, to_iso(self._clock.now()))
        return sessions.begin(tx, user, self._clock.now(), self.rules.session_seconds)

    async def _token(self, user: User, begun: sessions.Begun) -> Token:
        seconds = int(self.rules.token_seconds)
        claims = {**self._claims(user, user.role, seconds), "sid": begun.session_id}
        return Token((await self.signer()).sign(claims), seconds, begun.refresh_token)

    def _claims(self, user: User, role: str, seconds: int) -> dict[str, Any]:
        now = self._clock.now() // SECOND
        return {
            "sub": user.user_id,
            "username": user.username,
            "role": role,
            "tenant": user.tenant_id,
            "type": "access",
            "ver": user.version,
            "iat": now,
            "exp": now + seconds,
            "jti": new_id(),
        }

    async def refresh(self, refresh_token: str, request_id: str | None = None) -> Token:
        """Return new tokens for a refresh token, which is good no more then.

        One that was good once ends its whole login: somebody has a copy.

        Raises:
            NotAuthenticated: it is none, was used or ended, or its user may not come in any more.
        """
        if sessions.handle_of(refresh_token) is None or self.rules.single_user:
            raise NotAuthenticated(UNKNOWN)

        def turn(tx: Transaction) -> tuple[User, sessions.Begun] | str | None:
            now = self._clock.now()
            fresh = sessions.turn(tx, refresh_token, now)
            known = sessions.find(tx.connection, refresh_token, now)
            user = None if known is None else users.by_id(tx.connection, known.user_id)
            if known is None or user is None:
                return None
            if fresh is None:
                sessions.end(tx, known.session_id, now)
                actor = replace(self._actor(user), request_id=request_id)
                self.record(tx, actor, "session.reuse", f"session:{known.session_id}")
                return known.session_id
            if not user.is_active or user.version != known.version or self.is_nobody(user):
                sessions.end(tx, known.session_id, now)
                return None
            return user, sessions.Begun(known.session_id, fresh)

        turned = await self._engine.transact(turn)
        if isinstance(turned, tuple):
            return await self._token(*turned)
        if turned is not None:
            self._lasting.drop(turned)
            self._engine.worker.telemetry.event("identity.refresh_token_reused", session_id=turned)
        raise NotAuthenticated(UNKNOWN)

    async def logout(
        self, headers: Mapping[str, str], refresh_token: str | None = None, request_id: str | None = None
    ) -> None:
        """End the login of the bearer token in these headers (names in lower case), or of a refresh token.

        All bearer tokens of the login end with it, in other processes after ``Rules.cache_seconds``. Of a virtual key
        it is the end as well.

        Raises:
            NotAuthenticated: there is neither, or it is not known.
            Invalid: it is a service key.
        """
        bearer = bearer_of(headers.get("authorization"))
        if not bearer and refresh_token is None:
            raise NotAuthenticated(MISSING)
        if bearer is not None and bearer.startswith(PREFIX):
            raise Invalid("a service key does not log out: revoke it")
        claims: Claims | None = None
        if bearer:
            try:
                claims = (await self.signer()).read(bearer)
            except NotAuthenticated:
                if refresh_token is None:
                    raise

        def end(tx: Transaction) -> list[str]:
            now = self._clock.now()
            ending = {} if claims is None else {claims.lasts_with: claims.user_id}
            known = None if refresh_token is None else sessions.find(tx.connection, refresh_token, now)
            if known is not None:
                ending[known.session_id] = known.user_id
            for ended_id, user_id in ending.items():
                user = users.by_id(tx.connection, user_id)
                if sessions.end(tx, ended_id, now) and user is not None:
                    actor = replace(self._actor(user), request_id=request_id)
                    self.record(tx, actor, "session.end", f"session:{ended_id}")
            return list(ending)

        ended = await self._engine.transact(end)
        if not ended:
            raise NotAuthenticated(UNKNOWN)
        for ended_id in ended:
            self._lasting.drop(ended_id)

    @staticmethod
    def _actor(user: User) -> Actor:
        return Actor(user.user_id, user.username, user.tenant_id, user.role, frozenset(user.permissions))


def bearer_of(header: str | None) -> str | None:
    """Return the token of an Authorization header; other schemes are nothing to us."""
    if header is None or header[: len(_BEARER)].lower() != _BEARER:
        return None
    return header[len(_BEARER) :].strip()
