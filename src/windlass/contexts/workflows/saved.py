"""Saved definitions as runs need them: fetched for a caller, called by another definition, started by a schedule."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from windlass.contexts.schedules.api import Aim, UnknownTarget
from windlass.contexts.schedules.api import Order as Slot
from windlass.contexts.workflows import schemas
from windlass.contexts.workflows.definitions import store
from windlass.contexts.workflows.definitions.service import Definitions
from windlass.contexts.workflows.definitions.store import Stored
from windlass.contexts.workflows.runs.kit import Callee, Facts
from windlass.contexts.workflows.runs.lanes import lane_for
from windlass.contexts.workflows.runs.minting import JWT, may_have_key
from windlass.contexts.workflows.runs.orders import Order, SavedDefinition
from windlass.contexts.workflows.runs.service import Runs
from windlass.contexts.workflows.runs.snapshots import Snapshots, canonical, digest_of, store_in
from windlass.contexts.workflows.schemas import object_schema
from windlass.contexts.workflows.steptypes.base import StepFailure
from windlass.engine.engine import Engine
from windlass.engine.errors import RunConflict
from windlass.engine.ports import Transaction
from windlass.kernel.actors import RUNS_READ, Actor
from windlass.kernel.errors import NotFound, ValidationFailed

FOUND_KEPT = 512
"""How many saved definitions a process has at hand to start runs of."""


def inputs_for(document: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's inputs with the defaults of its definition.

    Raises:
        ValidationFailed: they do not fit; names every field.
    """
    return schemas.checked(object_schema(document.get("inputs")), inputs, ("body", "inputs"))


_WHICH = ("workflow_id", "workflow_name")


class Shelf:
    """See ``runs.service.Definitions`` and ``runs.kit.Saved``."""

    def __init__(self, definitions: Definitions, snapshots: Snapshots) -> None:
        self._definitions = definitions
        self._snapshots = snapshots
        self._found: OrderedDict[int, Stored] = OrderedDict()

    async def fetch(self, actor: Actor, workflow_id: int) -> SavedDefinition:
        """Return a definition that exists for this caller.

        Raises:
            NotFound: none does.
        """
        found = self._found.get(workflow_id)
        if found is None or not actor.owns(found.row.tenant_id, found.row.owner_id):
            found = await self._definitions.find(actor, workflow_id)
            self._found[workflow_id] = found  # neither its document nor its owner ever changes
            if len(self._found) > FOUND_KEPT:
                self._found.popitem(last=False)
        return SavedDefinition(found.row.id, found.row.version, found.document, found.row.owner_id)

    def check(self, document: Any, mode: str) -> Mapping[str, Any]:
        """Return a definition sent for one run; ``non-block`` forgives at reading what a preflight forgives."""
        del mode  # every rule it could forgive would fail the run
        return self._definitions.check(document)

    def check_inputs(self, document: Mapping[str, Any], inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return inputs with the definition's defaults; see ``inputs_for``."""
        return inputs_for(document, inputs)

    async def callee(self, facts: Facts, config: Mapping[str, Any]) -> Callee:
        """Return what a ``workflow_call`` is to run.

        Raises:
            StepFailure: there is no such definition for this run's owner, or the inputs do not fit.
        """
        user = facts.user_id or ""
        actor = Actor(user, user, facts.tenant_id, permissions=frozenset({RUNS_READ}))
        name, field = config.get("workflow_name"), "workflow_id"
        try:
            if name is None:
                found = await self._definitions.get(actor, config["workflow_id"])
            else:
                field = "workflow_name" if config.get("version") is None else "version"
                found = await self._definitions.resolve(facts.tenant_id, user, name, config.get("version"))
            inputs = inputs_for(found.document, config.get("inputs") or {})
            lane = lane_for(facts.tenant_id, found.row.id, found.document, inputs)
        except NotFound:
            asked = " version ".join(str(config[one]) for one in (*_WHICH, "version") if one in config)
            message = f"config.{field}: there is no workflow {asked}"
            raise StepFailure("not_found", message, retryable=False) from None
        except ValidationFailed as error:
            raise StepFailure("validation_error", f"config.inputs: {error}", retryable=False) from None
        return Callee(found.row.id, await self._snapshots.keep(found.document), inputs, lane, found.row.name)


class ScheduledRuns:
    """See ``schedules.Target``: starts saved definitions in a schedule's own transaction.

    Args:
        engine: carries them out.
        runs: starts them.
        mints: whether their steps find a key of their owner's as the secret ``jwt``.
    """

    def __init__(self, engine: Engine, runs: Runs, *, mints: bool = False) -> None:
        self._engine = engine
        self._runs = runs
        self._mints = mints

    def check(self, connection: sa.Connection, aim: Aim) -> None:
        """Make sure that an aim can be run.

        Raises:
            UnknownTarget: there is no such definition for its owner, or the inputs do not fit.
        """
        self._found(connection, aim)

    def online(self, connection: sa.Connection, aim: Aim) -> bool:  # noqa: ARG002  every worker knows definitions
        """Say that a live process could carry it out."""
        return True

    def start_in(self, tx: Transaction, order: Slot) -> str:
        """Start a run inside a transaction, unless it is there already; returns its id.

        Raises:
            UnknownTarget: see ``check``.
            WindlassError: a limit is reached.
        """
        aim = order.aim
        found, inputs = self._found(tx.connection, aim)
        text = canonical(found.document)
        digest = digest_of(text)
        store_in(tx, digest, text, self._engine.clock.now())
        named = {JWT: ""} if self._mints and may_have_key(aim.user_id) else {}
        wanted = Order(aim.inputs, secrets=named, validation_mode=aim.validation_mode, mode=aim.run_mode)
        actor = Actor(aim.user_id, aim.user_id, aim.tenant_id)
        start = self._runs.start_of(actor, found.document, digest, inputs, wanted, (found.id, found.version))
        about = {**(start.attributes or {}), "schedule_id": order.schedule_id}
        start = replace(start.under(order.run_id), attributes=about)
        try:
            return self._runs.starting.begin_in(tx, self._engine.request(start)).run_id
        except RunConflict:
            return order.run_id

    @staticmethod
    def _found(connection: sa.Connection, aim: Aim) -> tuple[SavedDefinition, Mapping[str, Any]]:
        workflow_id = aim.workflow_id or 0
        stored = store.by_id(connection, workflow_id)
        owner = Actor(aim.user_id, aim.user_id, aim.tenant_id)
        if stored is None or not owner.owns(stored.row.tenant_id, stored.row.owner_id):
            raise UnknownTarget(f"no saved workflow {workflow_id}", field="workflow_id")
        try:
            inputs = inputs_for(stored.document, aim.inputs)
            lane_for(owner.tenant_id, stored.row.id, stored.document, inputs)
        except ValidationFailed as error:
            raise UnknownTarget(f"the inputs do not fit: {error}", field="inputs") from None
        return SavedDefinition(stored.row.id, stored.row.version, stored.document), inputs
