"""Adding and changing users and service keys: each change is in the audit log, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, Protocol

from windlass.contexts.identity import keys, users
from windlass.contexts.identity.cache import Cache
from windlass.contexts.identity.keys import Kept
from windlass.contexts.identity.model import (
    USUAL_PERMISSIONS,
    ServiceKey,
    User,
    check_label,
    check_password,
    check_permissions,
    check_role,
    check_tenant,
    check_username,
)
from windlass.contexts.identity.passwords import Passwords
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.actors import Actor
from windlass.kernel.clock import SECOND, Clock, to_iso
from windlass.kernel.errors import Invalid

MOST_DAYS = 36_500
PAGE = 1000


class Added(NamedTuple):
    """What was added; ``new_tenant`` says that its tenant was not known before."""

    user: User
    new_tenant: bool


class AddedKey(NamedTuple):
    """A new key and how it is sent, which nobody can read again; ``new_tenant`` as with users."""

    key: ServiceKey
    text: str
    new_tenant: bool


class _Records(Protocol):
    def __call__(
        self, tx: Transaction, actor: Actor, action: str, target: str, before: object = None, after: object = None
    ) -> None: ...


class Members:
    """The part of ``Identity`` that changes who there is."""

    _engine: Engine
    _clock: Clock
    _passwords: Passwords
    _users: Cache[str, User]
    _keys: Cache[str, Kept]
    record: _Records

    async def add_user(
        self,
        by: Actor,
        username: str,
        password: str,
        tenant_id: str = "default",
        role: str = "user",
        permissions: Iterable[str] = USUAL_PERMISSIONS,
    ) -> Added:
        """Add a user.

        Raises:
            Invalid: the name, password, tenant, role or a permission is none.
            Conflict: the name is taken, in whatever case.
        """
        granted = check_permissions(permissions)
        check_username(username), check_tenant(tenant_id), check_role(role)
        password_hash = await self._passwords.hash(check_password(password))
        now = to_iso(self._clock.now())

        def add(tx: Transaction) -> Added:
            wanted = User("", tenant_id, username, role, granted, True, 1, now, now, None)
            new_tenant = users.add_tenant(tx, tenant_id, now)
            added = users.add(tx, wanted, password_hash)
            self.record(tx, by, "user.add", f"user:{added.user_id}", None, added.shown())
            return Added(added, new_tenant)

        return await self._engine.transact(add)

    async def change_user(
        self,
        by: Actor,
        username: str,
        *,
        is_active: bool | None = None,
        role: str | None = None,
        grant: Iterable[str] = (),
        revoke: Iterable[str] = (),
    ) -> User:
        """Disable or enable a user, or change its role and permissions; tokens of a disabled user are good no more.

        Raises:
            NotFound: there is no such user.
            Invalid: the role or a permission is none.
        """
        given, taken = check_permissions(grant), check_permissions(revoke)
        if role is not None:
            check_role(role)
        if both := set(given) & set(taken):
            raise Invalid(f"{', '.join(sorted(both))} cannot be granted and revoked at once", field="permissions")

        def change(tx: Transaction) -> User:
            known = users.locked(tx, username)
            active = known.is_active if is_active is None else is_active
            changed = replace(
                known,
                role=role or known.role,
                permissions=tuple(sorted({*known.permissions, *given} - {*taken})),
                is_active=active,
                version=known.version + (known.is_active and not active),
            )
            if changed == known:
                return known
            changed = replace(changed, updated_at=to_iso(self._clock.now()))
            users.change(tx, changed)
            action = "user.change" if active == known.is_active else "user.enable" if active else "user.disable"
            self.record(tx, by, action, f"user:{known.user_id}", known.shown(), changed.shown())
            return changed

        found = await self._engine.transact(change)
        self._users.drop(found.user_id)
        return found

    async def set_password(self, by: Actor, username: str, password: str) -> User:
        """Change a user's password; tokens of before are good no more.

        Raises:
            NotFound: there is no such user.
            Invalid: the password is too short or too long.
        """
        password_hash = await self._passwords.hash(check_password(password))

        def change(tx: Transaction) -> User:
            known = users.locked(tx, username)
            users.set_password(tx, known, password_hash, to_iso(self._clock.now()))
            self.record(tx, by, "user.password", f"user:{known.user_id}")
            return users.named(tx.connection, username)

        found = await self._engine.transact(change)
        self._users.drop(found.user_id)
        return found

    async def get_user(self, username: str) -> User:
        """Return a user.

        Raises:
            NotFound: there is none of this name.
        """
        return await self._engine.read(lambda connection: users.named(connection, username))

    async def list_users(self, tenant_id: str | None = None, after: int = 0, limit: int = PAGE) -> list[User]:
        """Return users in order of their ids, beginning after one."""
        return await self._engine.read(lambda connection: users.page(connection, tenant_id, after, limit))

    async def add_key(
        self,
        by: Actor,
        label: str,
        tenant_id: str = "default",
        permissions: Iterable[str] = USUAL_PERMISSIONS,
        days: float | None = None,
    ) -> AddedKey:
        """Add a service key; what is sent can be read here and never again.

        Raises:
            Invalid: the label, tenant, a permission or the number of days is none.
        """
        granted = check_permissions(permissions)
        check_label(label), check_tenant(tenant_id)
        if days is not None and not 0 < days <= MOST_DAYS:
            raise Invalid(f"a key is good for up to {MOST_DAYS} days", field="days")
        now = self._clock.now()
        expires_at = None if days is None else now + int(days * 86400 * SECOND)
        key_id, secret = keys.new()
        key = ServiceKey(key_id, tenant_id, label, granted, to_iso(now), by.username, expires_at, None)

        def add(tx: Transaction) -> AddedKey:
            new_tenant = users.add_tenant(tx, tenant_id, to_iso(now))
            keys.add(tx, key, secret)
            self.record(tx, by, "key.add", f"key:{key_id}", None, shown(key))
            return AddedKey(key, keys.written(key_id, secret), new_tenant)

        return await self._engine.transact(add)

    async def revoke_key(self, by: Actor, key_id: str) -> bool:
        """Revoke a service key for good; says whether it had not been before.

        Raises:
            NotFound: there is no such key.
        """

        def revoke(tx: Transaction) -> bool:
            revoked = keys.revoke(tx, key_id, to_iso(self._clock.now()))
            if revoked:
                self.record(tx, by, "key.revoke", f"key:{key_id}")
            return revoked

        done = await self._engine.transact(revoke)
        self._keys.drop(key_id)
        return done

    async def has_key(self, tenant_id: str, key_id: str) -> bool:
        """Say whether a key is of a tenant."""
        kept = await self._engine.read(lambda connection: keys.find(connection, key_id))
        return kept is not None and kept.key.tenant_id == tenant_id

    async def list_keys(self, tenant_id: str | None = None, after: str = "", limit: int = PAGE) -> list[ServiceKey]:
        """Return service keys in order of their ids, beginning after one."""
        return await self._engine.read(lambda connection: keys.page(connection, tenant_id, after, limit))


def shown(key: ServiceKey) -> dict[str, object]:
    """Return a key as it is printed and kept in the audit log."""
    return {
        "key_id": key.key_id,
        "name": key.label,
        "tenant_id": key.tenant_id,
        "permissions": list(key.permissions),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": None if key.expires_at is None else to_iso(key.expires_at),
        "revoked_at": key.revoked_at,
    }
