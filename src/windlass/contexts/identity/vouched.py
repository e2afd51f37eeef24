"""Users for whom another service vouches: how they log in, and whom they become here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from windlass.contexts.identity import sessions, users
from windlass.contexts.identity.arrivals import Arrivals
from windlass.contexts.identity.cache import Cache
from windlass.contexts.identity.errors import NotAuthenticated
from windlass.contexts.identity.model import USUAL_PERMISSIONS, Token, User, check_username
from windlass.contexts.identity.passwords import NOBODY
from windlass.contexts.identity.provider import Provider, ProviderClient, Refused, claim
from windlass.contexts.identity.tables import external_users
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Forbidden
from windlass.kernel.clock import SECOND, to_iso
from windlass.kernel.errors import Conflict, Invalid, NotFound, Unavailable

COOKIE_SECONDS = 600
"""How long a login at the provider may take."""
MOST_TEXT = 4096
NO_PROVIDER = "No login provider is set up: OIDC_ISSUER is empty"
NOT_VERIFIED = "The login provider does not call this e-mail address verified"
NO_ACCOUNT = "There is no account for this login: ask an administrator"
_KIND = "oidc"
_LINK = """INSERT INTO external_users (issuer, subject, user_id, created_at)
 VALUES (:issuer, :subject, :user_id, :now) ON CONFLICT DO NOTHING"""


class Begun(NamedTuple):
    """A login that has begun: where the browser goes, and what it has to bring back besides what the provider says."""

    address: str
    kept: str


class Vouched(Arrivals):
    """The part of ``Identity`` that lets users in who have logged in elsewhere."""

    _users: Cache[str, User]
    _provider: ProviderClient | None

    async def begin_external_login(self, redirect_uri: str) -> Begun:
        """Return where to log in, and what the browser keeps until it comes back to ``redirect_uri``.

        Raises:
            NotFound: no provider is set up.
            Unavailable: it does not answer.
        """
        client = self._client()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        address = await client.address(redirect_uri, state, nonce, verifier)
        kept = {"state": state, "nonce": nonce, "verifier": verifier, "redirect_uri": redirect_uri, "type": _KIND}
        expires = self._clock.now() // SECOND + COOKIE_SECONDS
        return Begun(address, (await self.signer()).sign({**kept, "exp": expires}))

    async def finish_external_login(
        self, kept: str | None, answer: Mapping[str, str], request_id: str | None = None
    ) -> Token:
        """Return tokens for who comes back from the provider.

        Args:
            kept: what the browser was given.
            answer: the parameters of the provider's answer.
            request_id: of the request, for the audit log.

        Raises:
            NotFound: no provider is set up.
            NotAuthenticated: the answer is none to this browser, refuses it, or is not to be believed.
            Forbidden: it is nobody here, and does not become somebody.
            Unavailable: the provider does not answer.
        """
        client = self._client()
        try:
            claims = await self._claims_of(client, kept, answer)
        except Refused as error:
            self._engine.worker.telemetry.event("identity.external_login_refused", reason=error.reason)
            raise
        provider = client.provider
        name = claim(claims, provider.username_claim)
        if provider.username_claim == "email" and claims.get("email_verified") is not True:
            raise Forbidden(NOT_VERIFIED)
        try:
            username = check_username(name if isinstance(name, str) else "")
        except Invalid:
            raise Forbidden(f"The login provider says no user name: {provider.username_claim}") from None

        def admit(tx: Transaction) -> tuple[User, sessions.Begun]:
            known = self._known(tx, provider.issuer, claims["sub"])
            if known is None:
                known, action, after = self._join(tx, provider, claims, username)
                actor = replace(self._actor(known), request_id=request_id)
                self.record(tx, actor, action, f"user:{known.user_id}", None, after)
            if not known.is_active or known.seeded:
                raise Forbidden(NO_ACCOUNT)
            role = provider.role_of(claims)
            if role is not None and role != known.role:
                now = to_iso(self._clock.now())
                changed = replace(known, role=role, updated_at=now)
                users.change(tx, changed)
                actor = replace(self._actor(known), request_id=request_id)
                self.record(tx, actor, "user.change", f"user:{known.user_id}", known.shown(), changed.shown())
                known = changed
            return known, self._begin(tx, known)

        try:
            user, begun = await self._engine.transact(admit)
        except Conflict:
            raise Unavailable("another login of this user was quicker") from None
        self._users.drop(user.user_id)
        return await self._token(user, begun)

    async def _claims_of(
        self, client: ProviderClient, kept: str | None, answer: Mapping[str, str]
    ) -> Mapping[str, Any]:
        try:
            known = (await self.signer()).open(kept or "", _KIND)
        except NotAuthenticated:
            raise Refused("the browser brings nothing back, or too late") from None
        if not secrets.compare_digest(answer.get("state", "").encode(), str(known["state"]).encode()):
            raise Refused("another state")
        if answer.get("iss", client.provider.issuer) != client.provider.issuer:
            raise Refused("another issuer answers")
        code = answer.get("code", "")
        if "error" in answer or not 1 <= len(code) <= MOST_TEXT:
            raise Refused(f"the provider says {answer.get('error', 'nothing')[:100]}")
        return await client.claims(code, str(known["redirect_uri"]), str(known["nonce"]), str(known["verifier"]))

    def _client(self) -> ProviderClient:
        if self._provider is None:
            raise NotFound(NO_PROVIDER)
        return self._provider

    @staticmethod
    def _known(tx: Transaction, issuer: str, subject: str) -> User | None:
        c = external_users.c
        query = sa.select(c.user_id).where(c.issuer == issuer, c.subject == subject)
        user_id = tx.connection.execute(query).scalar()
        return None if user_id is None else users.by_id(tx.connection, str(user_id))

    @staticmethod
    def _is_taken(tx: Transaction, provider: Provider, subject: str, user: User) -> bool:
        c = external_users.c
        query = sa.select(c.subject).where(c.user_id == int(user.user_id), c.issuer == provider.issuer)
        return tx.connection.execute(query.where(c.subject != subject).limit(1)).first() is not None

    def _join(
        self, tx: Transaction, provider: Provider, claims: Mapping[str, Any], username: str
    ) -> tuple[User, str, dict[str, Any]]:
        """Make somebody new the user of that name, or a new one; returns what the audit log is told too.

        Who is somebody else's already stays that: providers give addresses to others when people leave.
        """
        now = to_iso(self._clock.now())
        known, action = users.find(tx.connection, username), "user.link"
        if known is None:
            barred = not provider.adds_users
        else:
            known = users.locked(tx, username)
            barred = known.seeded or not known.is_active or self._is_taken(tx, provider, claims["sub"], known)
        if barred:
            raise Forbidden(NO_ACCOUNT)
        if known is None:
            action, role = "user.add", provider.role_of(claims) or "user"
            users.add_tenant(tx, provider.tenant_id, now)
            wanted = User("", provider.tenant_id, username, role, USUAL_PERMISSIONS, True, 1, now, now, None)
            known = users.add(tx, wanted, NOBODY)
        pair = {"issuer": provider.issuer, "subject": claims["sub"]}
        tx.execute(_LINK, {**pair, "user_id": int(known.user_id), "now": now})
        return known, action, {**known.shown(), **pair}
