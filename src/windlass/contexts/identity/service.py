"""Who is calling, and who may: users, service keys, tokens and the audit log. The door for others is ``api``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from windlass.contexts.identity import audit, keys, logins, quotas, seeds, sessions, users
from windlass.contexts.identity.arrivals import bearer_of
from windlass.contexts.identity.audit import AuditQuery, Verdict
from windlass.contexts.identity.cache import Cache
from windlass.contexts.identity.errors import MISSING, UNKNOWN, NotAuthenticated
from windlass.contexts.identity.keys import Kept
from windlass.contexts.identity.members import Members
from windlass.contexts.identity.model import (
    KEEPER,
    Caller,
    Grant,
    Minted,
    Rules,
    User,
    VirtualKey,
)
from windlass.contexts.identity.passwords import Passwords
from windlass.contexts.identity.provider import Provider, ProviderClient
from windlass.contexts.identity.strangers import strangers
from windlass.contexts.identity.tables import (
    ended_tokens,
    identity_secrets,
    login_failures,
    login_sessions,
    token_uses,
)
from windlass.contexts.identity.tokens import Tokens
from windlass.contexts.identity.vouched import Vouched
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.actors import DEVELOPER, Actor
from windlass.kernel.clock import SECOND, Clock, to_iso
from windlass.kernel.errors import Invalid
from windlass.kernel.rounds import Rounds

TIDY_SECONDS = 60.0
TIDY_ROWS = 1000
NO_USER = "virtual keys are for users who log in: this caller is none"
_SECRET = "INSERT INTO identity_secrets (name, value) VALUES ('jwt', :value) ON CONFLICT DO NOTHING"  # noqa: S105  SQL


class Identity(Vouched, Members):
    """Who may do what in one database.

    Nothing is hashed slowly and nothing written while a request's caller is recognised, except that uses of a token
    with a quota are counted. Users and keys that were looked up are believed for ``Rules.cache_seconds``: a revoked
    key, a disabled user or an ended login is out at once in the process that did it, and in every other within that
    time.

    Args:
        engine: its database and clock.
        rules: how callers are recognised.
        clock: another clock than the engine's.
        provider: who else vouches for users.
    """

    def __init__(
        self, engine: Engine, rules: Rules, clock: Clock | None = None, provider: Provider | None = None
    ) -> None:
        self.rules = rules
        self._engine = engine
        self._clock = clock or engine.clock
        self._passwords = Passwords(rules.hashes_at_once)
        self._turns = logins.Turns()
        self._users: Cache[str, User] = Cache(rules.cache_seconds, self._clock.monotonic)
        self._keys: Cache[str, Kept] = Cache(rules.cache_seconds, self._clock.monotonic)
        self._lasting: Cache[str, bool] = Cache(rules.cache_seconds, self._clock.monotonic)
        self._provider = None if provider is None else ProviderClient(provider, self._clock)
        self._tokens: Tokens | None = None
        self._keeping = Rounds("windlass-identity", self.tidy, lambda: TIDY_SECONDS, self._not_kept)

    # recognising
    async def recognise(self, headers: Mapping[str, str]) -> Caller:
        """Return who sent a request with these headers (names in lower case), and what its token narrows it down to.

        A bearer token counts before an API key. Where callers are let in as the developer, a key that is no service
        key is ignored: nobody asked for one.

        Raises:
            NotAuthenticated: there is no credential, or a wrong one.
            Unavailable: the database is away.
        """
        bearer = bearer_of(headers.get("authorization"))
        if bearer:
            return await self.recognise_token(bearer)
        key = headers.get("x-api-key")
        if key:
            if self.rules.api_key is not None and secrets.compare_digest(_bytes(key), self.rules.api_key):
                return Caller(KEEPER)
            if key.startswith(keys.PREFIX):
                return await self._service_key(key)
            if not self.rules.open:
                raise NotAuthenticated(UNKNOWN)
        if self.rules.open:
            return Caller(DEVELOPER)
        raise NotAuthenticated(MISSING)

    async def recognise_token(self, text: str) -> Caller:
        """Return whose a bearer token is: of a login, a virtual key or a service key.

        Raises:
            NotAuthenticated: it is none, no longer good, or its user is disabled.
        """
        if text.startswith(keys.PREFIX):
            return await self._service_key(text)
        if self.rules.single_user:
            raise NotAuthenticated(UNKNOWN)
        claims = (await self.signer()).read(text)
        user = await self._user(claims.user_id)
        if user is None or not user.is_active or user.version != claims.version or self.is_nobody(user):
            raise NotAuthenticated(UNKNOWN)
        if not await self._lasts(claims.lasts_with):
            raise NotAuthenticated(UNKNOWN)
        permissions = frozenset(user.permissions)
        if claims.grant is None:
            return Caller(Actor(user.user_id, user.username, user.tenant_id, user.role, permissions))
        role = user.role if claims.role == user.role else "user"
        return Caller(
            Actor(user.user_id, user.username, user.tenant_id, role, permissions, "virtual_key"), claims.grant
        )

    async def _user(self, user_id: str) -> User | None:
        async def load() -> User | None:
            return await self._engine.read(lambda connection: users.by_id(connection, user_id))

        return await self._users.get(user_id, load)

    async def _lasts(self, ended_id: str) -> bool | None:
        async def load() -> bool | None:
            return await self._engine.read(lambda connection: not sessions.is_ended(connection, ended_id)) or None

        return await self._lasting.get(ended_id, load)

    async def _service_key(self, text: str) -> Caller:
        parts = keys.parts(text)
        if parts is None:
            raise NotAuthenticated(UNKNOWN)
        key_id, secret = parts

        async def load() -> Kept | None:
            return await self._engine.read(lambda connection: keys.find(connection, key_id))

        kept = await self._keys.get(key_id, load)
        if kept is None or not kept.fits(secret) or not kept.key.works(self._clock.now()):
            raise NotAuthenticated(UNKNOWN)
        return Caller(kept.key.actor)

    async def spend(self, grant: Grant, *, runs: int = 0, calls: int = 1) -> None:
        """Count uses of a token that has a quota, on disk.

        Raises:
            Forbidden: it has been used as often as it may be.
        """
        if grant.max_runs is not None or grant.max_calls is not None:
            await self._engine.transact(lambda tx: quotas.spend(tx, grant, runs=runs, calls=calls))

    async def tell_of_development(self) -> None:
        """Say that the user of development may log in, or that the database has it and it may not."""
        telemetry = self._engine.worker.telemetry
        if self.rules.single_user:
            return
        if self.rules.development:
            telemetry.event("identity.development_login", username=seeds.NAME, password=seeds.PASSWORD)
        elif await self._engine.read(seeds.planted):
            telemetry.event("identity.development_user_refused", username=seeds.NAME)

    # virtual keys
    async def mint(self, by: Actor, wanted: VirtualKey) -> Minted:
        """Return a virtual key for the caller, which is written into the audit log.

        Raises:
            Invalid: the caller is no user who has logged in; a virtual key mints none that reach further than itself.
        """
        if by.kind != "user":
            raise Invalid(NO_USER)
        return await self._mint(by.user_id, wanted, by, None)

    async def mint_for(self, user_id: str, wanted: VirtualKey, *, role: str = "user") -> Minted:
        """Return a virtual key for a user, as a schedule does for its owner; no more than ``role`` goes with it.

        Raises:
            Invalid: there is no such user, or it is disabled.
        """
        return await self._mint(user_id, wanted, None, role)

    async def _mint(self, user_id: str, wanted: VirtualKey, by: Actor | None, role: str | None) -> Minted:
        user = None if self.rules.single_user else await self._user(user_id)
        if user is None or not user.is_active:
            raise Invalid(NO_USER)
        role = by.role if by is not None else role or "user"
        claims = self._claims(user, role if role == user.role else "user", wanted.ttl_minutes * 60)
        narrowed = {
            "scope": wanted.scope,
            "schedule_id": wanted.schedule_id,
            "allowed_endpoints": _listed(wanted.allowed_endpoints),
            "allowed_methods": _listed(wanted.allowed_methods),
            "allowed_paths": _listed(wanted.allowed_paths),
            "max_runs": wanted.max_runs,
            "max_calls": wanted.max_calls,
        }
        claims |= {name: value for name, value in narrowed.items() if value is not None}
        token = (await self.signer()).sign(claims)
        expires_at = to_iso(claims["exp"] * SECOND)
        if by is not None:
            told = {key: value for key, value in claims.items() if key not in {"ver", "type"}}
            await self._engine.transact(
                lambda tx: self.record(tx, by, "virtual_key.mint", f"token:{claims['jti']}", None, told)
            )
        return Minted(token, expires_at, wanted.scope, wanted.schedule_id)

    async def signer(self) -> Tokens:
        """Return what signs tokens and reads them."""
        if self._tokens is None:
            key, previous = self.rules.jwt_key, self.rules.jwt_previous_key
            if key is None:
                key = (await self._engine.transact(_development_secret)).encode()
            self._tokens = Tokens([key] if previous is None else [key, previous], self._clock.now)
        return self._tokens

    def strangers(self, connection: sa.Connection, tenant_id: str, names: Sequence[str]) -> list[str]:
        """Return which of the names by which people are to be asked stand for nobody of a tenant; see ``strangers``."""
        return strangers(connection, tenant_id, names, vouched=self._provider is not None)

    # the audit log
    def record(
        self, tx: Transaction, actor: Actor, action: str, target: str, before: object = None, after: object = None
    ) -> None:
        """Write into the audit log, inside the transaction of what it tells: both happen, or neither.

        Args:
            tx: the open transaction.
            actor: who does it; its ``request_id`` is kept too.
            action: what, ``noun.verb``: ``workflow.create``, ``run.cancel``.
            target: what it is done to, ``noun:id``: ``run:0190…``; entries are found by it.
            before: what it was, as JSON; no secrets.
            after: what it is then.
        """
        audit.append(tx, actor, action, target, before, after, self._clock.now())

    async def note(self, actor: Actor, action: str, target: str, before: object = None, after: object = None) -> None:
        """Write into the audit log what changes nothing else, such as a read that was refused."""
        await self._engine.transact(lambda tx: self.record(tx, actor, action, target, before, after))

    async def entries(self, query: AuditQuery) -> list[dict[str, Any]]:
        """Return entries of the audit log, newest first."""
        return await self._engine.read(lambda connection: audit.entries(connection, query))

    async def verify(self, after: int = 0, limit: int = 10_000) -> Verdict:
        """Check a stretch of the audit log's chain, beginning after a number."""
        return await self._engine.read(lambda connection: audit.verify(connection, after, limit))

    async def hash_at(self, seq: int) -> str | None:
        """Return the hash of a number of the chain, or None when there is none."""
        return await self._engine.read(lambda connection: audit.hash_at(connection, seq))

    # housekeeping
    async def start(self) -> None:
        """Begin to delete what has expired."""
        self._keeping.start()

    async def stop(self) -> None:
        """Stop doing so."""
        await self._keeping.stop()
        self._passwords.close()

    def _not_kept(self, error: Exception) -> None:
        self._engine.worker.telemetry.event("identity.not_tidied", error=str(error))

    async def tidy(self) -> None:
        """Delete counts, logins and ends of tokens that have expired, and wrong passwords of long ago."""
        for table in (token_uses, login_failures, login_sessions, ended_tokens):
            while await self._engine.transact(partial(self._forget, table)) == TIDY_ROWS:
                pass

    def _forget(self, table: sa.Table, tx: Transaction) -> int:
        [key] = table.primary_key
        old = sa.select(key).where(table.c.expires_at <= self._clock.now()).order_by(key).limit(TIDY_ROWS)
        return int(tx.connection.execute(sa.delete(table).where(key.in_(old))).rowcount)


def _development_secret(tx: Transaction) -> str:
    """Return the key that processes without JWT_SECRET_KEY share; the first of them makes it."""
    tx.execute(_SECRET, {"value": secrets.token_urlsafe(48)})
    kept = tx.connection.execute(sa.select(identity_secrets.c.value).where(identity_secrets.c.name == "jwt"))
    return str(kept.scalar_one())


def _bytes(header: str) -> bytes:
    return header.encode("latin-1", "replace")


def _listed(values: Any) -> list[str] | None:
    return None if values is None else list(values)
