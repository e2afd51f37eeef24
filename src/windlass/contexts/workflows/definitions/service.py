"""What can be done with definitions. The door for others is ``windlass.contexts.workflows.api``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa

from windlass.contexts.workflows.definitions import store
from windlass.contexts.workflows.definitions.calls import call_faults
from windlass.contexts.workflows.definitions.catalogue import Catalogue, described
from windlass.contexts.workflows.definitions.diff import difference
from windlass.contexts.workflows.definitions.faults import findings, refuse
from windlass.contexts.workflows.definitions.format import whole_schema
from windlass.contexts.workflows.definitions.preflight import Mode, preflight
from windlass.contexts.workflows.definitions.store import Family, ListQuery, Row, Stored
from windlass.contexts.workflows.definitions.validation import require_valid
from windlass.contexts.workflows.trail import Audit
from windlass.engine.engine import Engine
from windlass.engine.ports import Transaction
from windlass.kernel.actors import RUNS_READ, Actor
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import Conflict, Kind, NotFound, WindlassError

EVERY_PAGE = 500
TRIES = 3
"""How often a change is tried that another process's change of the same workflow got ahead of."""
T = TypeVar("T")
Expect = Callable[[Stored], None]
"""Looks at a version as it is; raises ``Stale`` when it is not what the caller has read."""


def whole_schema_of(catalogue: Catalogue) -> dict[str, Any]:
    """Return the JSON Schema of the whole format, with what each type's config holds."""
    types = (catalogue.known(name) for name in catalogue.names())
    return whole_schema({found.name: (found.description, dict(found.schema)) for found in types if found})


class VersionExists(WindlassError):
    """The name and version of a definition are taken."""

    code = "WORKFLOW_VERSION_EXISTS"
    kind = Kind.VALIDATION


class Definitions:
    """The definitions of one database.

    Args:
        engine: writes and reads.
        catalogue: the step types.
        audit: who hears of changes.
    """

    def __init__(self, engine: Engine, catalogue: Catalogue, audit: Audit | None = None) -> None:
        self.catalogue = catalogue
        self.audit = audit
        self._engine = engine

    # without a database
    def check(self, document: object) -> dict[str, Any]:
        """Return a definition that keeps every rule but those that other definitions decide.

        Raises:
            TooLarge: it, or a step's config, is too large.
            ValidationFailed: it breaks rules; names each.
        """
        return require_valid(document, self.catalogue)

    def preflight(self, actor: Actor, document: object, mode: Mode = "block") -> dict[str, Any]:
        """Look at a draft; see ``preflight.preflight``.

        Raises:
            Forbidden: the caller may not read.
        """
        actor.require(RUNS_READ)
        return preflight(document, self.catalogue, mode)

    def step_types(self) -> list[dict[str, Any]]:
        """Return every step type as it is told to users."""
        types = (self.catalogue.known(name) for name in self.catalogue.names())
        return [described(found) for found in types if found is not None]

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the whole format, with what each type's config holds."""
        return whole_schema_of(self.catalogue)

    # saving
    async def create(self, actor: Actor, document: object) -> Row:
        """Save a definition; it is the current version of its workflow unless a higher one is.

        Raises:
            TooLarge: it, or a step's config, is too large.
            ValidationFailed: it breaks rules; names each.
            VersionExists: the tenant has its name and version.
        """
        checked = self.check(document)
        family = Family(actor.tenant_id, actor.user_id, checked["name"])
        taken = "Workflow with same name and version already exists"

        def save(tx: Transaction) -> Row:
            made = self._save(tx, actor, checked, family, taken)
            self._tell(tx, actor, "create", made, None, made.shown())
            return made

        return await self._change(save)

    async def add_version(self, actor: Actor, workflow_id: int, document: object, expect: Expect | None = None) -> Row:
        """Save another version for the owner of a workflow; under another name it begins another workflow.

        Args:
            actor: who asks.
            workflow_id: a version of the workflow.
            document: the new one.
            expect: looks at the version of ``workflow_id`` before anything is done, and refuses by raising.

        Raises:
            NotFound: the caller has no such workflow.
            TooLarge: it, or a step's config, is too large.
            ValidationFailed: it breaks rules; names each.
            VersionExists: the tenant has its name and version.
        """
        base = await self._row(actor, workflow_id)
        checked = self.check(document)

        def save(tx: Transaction) -> Row:
            self._expected(tx, workflow_id, expect)
            family = base.family._replace(name=checked["name"])
            made = self._save(tx, actor, checked, family, "Workflow version already exists")
            self._tell(tx, actor, "create_version", made, base.shown(), made.shown())
            return made

        return await self._change(save)

    def _save(self, tx: Transaction, actor: Actor, checked: dict[str, Any], family: Family, taken: str) -> Row:
        now = to_iso(self._engine.clock.now())
        self._check_calls(tx, actor, checked, family)
        values = {
            "tenant_id": family.tenant_id,
            "owner_id": family.owner_id,
            "name": family.name,
            "version": int(checked.get("version", 1)),
            "description": checked.get("description"),
            "tags": orjson.dumps(checked.get("tags") or []).decode(),
            "definition_json": orjson.dumps(checked).decode(),
            "created_at": now,
            "updated_at": now,
        }
        made = store.add(tx.connection, values)
        if made is None:
            raise VersionExists(taken, name=family.name, version=values["version"])
        store.lock(tx.connection, family)
        known = store.current(tx.connection, family)
        row = self._reread(tx, made)
        if known is None or known.row.version < row.version:
            store.promote(tx.connection, row, now)
            return replace(row, is_current=True)
        return row

    def _check_calls(self, tx: Transaction, actor: Actor, document: Mapping[str, Any], family: Family) -> None:
        faults = call_faults(tx.connection, document, family, actor.owns)
        refuse(findings(document, faults))

    # reading
    async def page(self, query: ListQuery) -> list[Row]:
        """Return a page of a list."""
        return await self._engine.read(lambda connection: store.page(connection, query))

    async def every(self, query: ListQuery) -> AsyncIterator[list[Row]]:
        """Yield a whole list in pages, however long it is."""
        query = replace(query, limit=EVERY_PAGE)
        while True:
            found = await self.page(query)
            if found:
                yield found
            if len(found) < query.limit:
                return
            query = replace(query, after=(found[-1].name, found[-1].version))

    async def get(self, actor: Actor, workflow_id: int) -> Stored:
        """Return a version with its document, a deleted one too.

        Raises:
            NotFound: the caller has no such workflow.
            Forbidden: the caller may not read.
        """
        actor.require(RUNS_READ)
        return await self.find(actor, workflow_id)

    async def find(self, actor: Actor, workflow_id: int) -> Stored:
        """Return a version to run it, whatever the caller may read.

        Raises:
            NotFound: the caller has no such workflow.
        """
        found = await self._look(workflow_id, store.by_id)
        await self._own(actor, None if found is None else found.row)
        assert found is not None  # noqa: S101  its row was
        return found

    async def resolve(self, tenant_id: str, owner_id: str, name: str, version: int | None = None) -> Stored:
        """Return the version that an owner's name stands for: the current one, or the one that is named.

        Raises:
            NotFound: there is none.
        """
        family = Family(tenant_id, owner_id, name)

        def look(connection: Any) -> Stored | None:
            if version is None:
                return store.current(connection, family)
            return store.by_version(connection, family, version)

        found = await self._engine.read(look)
        if found is None:
            raise NotFound("Workflow not found", name=name)
        return found

    async def versions(self, actor: Actor, workflow_id: int, after: int | None = None) -> list[Row]:
        """Return the versions of a workflow, deleted ones too, newest first, ``MOST_VERSIONS`` at most.

        Raises:
            NotFound: the caller has no such workflow.
            Forbidden: the caller may not read.
        """
        actor.require(RUNS_READ)
        base = await self._row(actor, workflow_id)
        return await self._engine.read(lambda connection: store.versions(connection, base.family, after))

    async def version(self, actor: Actor, workflow_id: int, version: int) -> Stored:
        """Return one version of a workflow.

        Raises:
            NotFound: the caller has no such workflow, or it has no such version.
            Forbidden: the caller may not read.
        """
        actor.require(RUNS_READ)
        base = await self._row(actor, workflow_id)
        found = await self._engine.read(lambda connection: store.by_version(connection, base.family, version))
        if found is None:
            raise NotFound("Workflow version not found", version=version)
        return found

    async def diff(self, actor: Actor, workflow_id: int, old: int, new: int) -> dict[str, Any]:
        """Return how two versions of a workflow differ; see ``diff.difference``.

        Raises:
            NotFound: the caller has no such workflow, or it has no such version.
            Forbidden: the caller may not read.
        """
        before = await self.version(actor, workflow_id, old)
        after = await self.version(actor, workflow_id, new)
        names = tuple(f"{found.row.name} {found.row.version}" for found in (before, after))
        changes = difference(before.document, after.document, names)  # type: ignore[arg-type]  # two of them
        return {"from": before.row.version, "to": after.row.version, **changes}

    # changing
    async def activate(self, actor: Actor, workflow_id: int, expect: Expect | None = None) -> Row:
        """Make a version the one that its workflow's name stands for.

        Raises:
            NotFound: the caller has no such workflow.
            Conflict: the version is deleted.
            ValidationFailed: its sub-workflows would lead back to it.
        """
        await self._row(actor, workflow_id)

        def change(tx: Transaction) -> Row:
            row = self._locked(tx, workflow_id)
            self._expected(tx, workflow_id, expect)
            if not row.is_active:
                raise Conflict("Workflow version is deleted", id=row.id, version=row.version)
            if row.is_current:
                return row
            found = store.by_id(tx.connection, row.id)
            assert found is not None  # noqa: S101  it was just read
            self._check_calls(tx, actor, found.document, row.family)
            before = store.current(tx.connection, row.family)
            store.promote(tx.connection, row, to_iso(self._engine.clock.now()))
            after = self._reread(tx, row.id)
            self._tell(tx, actor, "activate", row, before.row.shown() if before else None, after.shown())
            return after

        return await self._change(change)

    async def rollback(self, actor: Actor, workflow_id: int, expect: Expect | None = None) -> Row:
        """Make the version current again that was so before the current one; repeated, it goes further back.

        Raises:
            NotFound: the caller has no such workflow.
            Conflict: there is nothing to go back to.
        """
        await self._row(actor, workflow_id)

        def change(tx: Transaction) -> Row:
            row = self._locked(tx, workflow_id)
            self._expected(tx, workflow_id, expect)
            before = store.current(tx.connection, row.family)
            now = to_iso(self._engine.clock.now())
            after = None if before is None else store.withdraw(tx.connection, before.row, now)
            if before is None or after is None:
                raise Conflict("Workflow has no earlier version to go back to", id=row.id)
            made = self._reread(tx, after.id)
            self._tell(tx, actor, "rollback", made, before.row.shown(), made.shown())
            return made

        return await self._change(change)

    async def delete(self, actor: Actor, workflow_id: int, expect: Expect | None = None) -> None:
        """Delete a version: it leaves lists and its name, and stays to be read and run by its id.

        When it was the current one, the one before it becomes so again. A second time nothing happens.

        Raises:
            NotFound: the caller has no such workflow.
        """
        await self._row(actor, workflow_id)

        def change(tx: Transaction) -> None:
            row = self._locked(tx, workflow_id)
            self._expected(tx, workflow_id, expect)
            if not row.is_active:
                return
            now = to_iso(self._engine.clock.now())
            if row.is_current:
                store.withdraw(tx.connection, row, now)
            store.deactivate(tx.connection, row.id, now)
            self._tell(tx, actor, "delete", row, row.shown(), self._reread(tx, row.id).shown())

        await self._change(change)

    # inside
    async def _row(self, actor: Actor, workflow_id: int) -> Row:
        return await self._own(actor, await self._look(workflow_id, store.head))

    async def _look(self, workflow_id: int, load: Callable[[sa.Connection, int], T | None]) -> T | None:
        return await self._engine.read(lambda c: load(c, workflow_id)) if 0 < workflow_id < 1 << 63 else None

    async def _own(self, actor: Actor, found: Row | None) -> Row:
        if found is None:
            raise NotFound("Workflow not found")
        if not actor.owns(found.tenant_id, found.owner_id):
            await self._denied(actor, found)
            raise NotFound("Workflow not found")
        return found

    async def _denied(self, actor: Actor, row: Row) -> None:
        audit = self.audit
        if audit is not None:
            told = {"reason": "not_owner" if actor.tenant_id == row.tenant_id else "tenant_mismatch"}
            which = f"workflow:{row.id}"
            await self._engine.transact(lambda tx: audit(tx, actor, "workflow.denied", which, None, told))

    def _locked(self, tx: Transaction, workflow_id: int) -> Row:
        """Return a version as it is once no one else changes its workflow."""
        store.lock(tx.connection, self._reread(tx, workflow_id).family)
        return self._reread(tx, workflow_id)

    def _expected(self, tx: Transaction, workflow_id: int, expect: Expect | None) -> None:
        """Have a version looked at by who wants it to be as it was when it was read."""
        if expect is not None:
            store.lock(tx.connection, self._reread(tx, workflow_id).family)
            found = store.by_id(tx.connection, workflow_id)
            assert found is not None  # noqa: S101  rows never go away
            expect(found)

    @staticmethod
    def _reread(tx: Transaction, workflow_id: int) -> Row:
        row = store.head(tx.connection, workflow_id)
        assert row is not None  # noqa: S101  rows never go away
        return row

    def _tell(
        self,
        tx: Transaction,
        actor: Actor,
        action: str,
        row: Row,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        if self.audit is None:
            return
        target = f"workflow:{row.id}"
        self.audit(tx, actor, f"workflow.{action}", target, before, after)
        if row.owner_id != actor.user_id:
            self.audit(tx, actor, "workflow.admin_override", target, None, {"action": action, "owner_id": row.owner_id})

    async def _change(self, change: Callable[[Transaction], T]) -> T:
        """Write; what another process has got ahead of is tried again on what that has left."""
        for left in reversed(range(TRIES)):
            try:
                return await self._engine.transact(change)
            except sa.exc.IntegrityError:
                if not left:
                    raise
        raise AssertionError("unreachable")
