"""Runs of definitions: starting them, and what their owners may see and do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from windlass.contexts.workflows.model import read
from windlass.contexts.workflows.runs.forks import Fork, again, seed_of
from windlass.contexts.workflows.runs.kit import NAME, Callee, Facts, Kit
from windlass.contexts.workflows.runs.lanes import lane_for
from windlass.contexts.workflows.runs.newborn import newborn
from windlass.contexts.workflows.runs.orders import Definitions, NotInTime, Order, RunRules, SavedDefinition, Starting
from windlass.contexts.workflows.runs.projection import step_runs
from windlass.contexts.workflows.runs.snapshots import Snapshots, canonical
from windlass.contexts.workflows.runs.tasks import QUEUE, RUN, call, define
from windlass.contexts.workflows.runs.vault import Vault
from windlass.contexts.workflows.trail import Trail
from windlass.engine.engine import Engine
from windlass.engine.errors import RunCancelled, RunFailed, UnknownRun
from windlass.engine.ports import Transaction
from windlass.engine.starting import Start
from windlass.engine.types import ControlResult, Event, RunView, Started, StartRequest, TellStart
from windlass.kernel.actors import Actor, Forbidden
from windlass.kernel.errors import NotFound
from windlass.kernel.spans import TRACEPARENT
from windlass.storage.run_lists import RunQuery, list_page, matching

NO_RUN = "Run not found"
MOST_EVENTS = 10_000
BULK = 1000


class Runs:
    """Runs of definitions.

    Args:
        engine: carries them out.
        definitions: the saved ones.
        snapshots: keeps what runs were started with.
        vault: keeps their secrets.
        rules: what the settings say.
        on_end: the workflow that follows each run; None for none.
        trail: hears of what callers do.
        starting: starts them; None is the engine itself.
    """

    def __init__(
        self,
        engine: Engine,
        definitions: Definitions,
        snapshots: Snapshots,
        vault: Vault,
        rules: RunRules,
        on_end: str | None,
        trail: Trail,
        *,
        starting: Starting | None = None,
    ) -> None:
        self.rules = rules
        self.starting: Starting = starting or engine
        self.snapshots = snapshots
        self._engine = engine
        self._definitions = definitions
        self._vault = vault
        self._on_end = on_end
        self.trail = trail

    def define(self, kit: Kit) -> None:
        """Make the engine able to carry runs out."""
        self._workflow = define(self._engine.registry, kit, self.snapshots.load, self.rules.attempts)

    # starting
    async def start_saved(self, actor: Actor, workflow_id: int, order: Order) -> RunView:
        """Start a run of a saved definition; see ``Order``.

        Raises:
            NotFound: there is no such definition for this caller.
            ValidationFailed: the inputs do not fit.
            RunConflict: the idempotency key was used with another request.
            WindlassError: a limit is reached (429).
        """
        saved = await self._definitions.fetch(actor, workflow_id)
        return await self._start(actor, saved, order)

    async def start_adhoc(self, actor: Actor, document: Any, order: Order) -> RunView:
        """Start a run of a definition that is not saved.

        Raises:
            Forbidden: the settings do not allow it.
            ValidationFailed, TooLarge: the definition or the inputs break a rule.
            RunConflict: the idempotency key was used with another request.
        """
        if not self.rules.adhoc:
            raise Forbidden("Ad-hoc workflow runs are disabled by server configuration")
        checked = self._definitions.check(document, order.validation_mode)
        return await self._start(actor, SavedDefinition(0, checked.get("version", 1), checked, actor.user_id), order)

    async def _start(self, actor: Actor, saved: SavedDefinition, order: Order) -> RunView:
        """Start a run; the id of a definition that is not saved is 0."""
        document, which = saved.document, (saved.id or None, saved.version)
        inputs = self._definitions.check_inputs(document, order.inputs)
        digest = await self.snapshots.keep(document)
        request = self._engine.request(self.start_of(actor, document, digest, inputs, order, which))
        action = "workflow.run_saved" if saved.id else "workflow.run_adhoc"
        told = {"workflow_id": which[0], "version": saved.version, "mode": order.mode}
        request.tell = self._told(actor, action, saved.owner, told)
        started = await self._begin(request, order.secrets)
        if order.mode != "async":
            await self._wait(started.run_id, fresh=started.created)
        elif started.created:
            return newborn(request.run, started)
        return await self._engine.get_run(started.run_id)

    async def _begin(self, request: StartRequest, secrets: Mapping[str, str]) -> Started:
        """Start a run, its secrets kept before and forgotten where nothing was started."""
        if not secrets:
            return await self.starting.begin(request)
        await self._vault.keep(request.run.run_id, secrets)
        created = False
        try:
            started = await self.starting.begin(request)
            created = started.created
        finally:
            if not created:
                await self._vault.forget(request.run.run_id)
        return started

    def _told(self, actor: Actor, action: str, owner: str | None, told: Mapping[str, Any]) -> TellStart:
        """Return what tells the audit log of a run that is started, once."""

        def tell(tx: Transaction, started: Started) -> None:
            if started.created:
                self.trail.did(tx, actor, action, started.run_id, owner, None, {"status": "queued", **told})

        return tell

    def start_of(
        self,
        actor: Actor,
        document: Mapping[str, Any],
        digest: str,
        inputs: Mapping[str, Any],
        order: Order,
        saved: tuple[int | None, int],
    ) -> Start:
        """Return the start of a run; ``saved`` is the id of its definition, if it has one, and its version.

        Raises:
            ValidationFailed: the inputs make no concurrency key.
        """
        workflow_id, version = saved
        names = sorted(order.secrets)
        key = None if order.idempotency_key is None else f"{actor.user_id}:{order.idempotency_key}"
        said = {"workflow": workflow_id or digest, "inputs": order.inputs, "mode": order.validation_mode}
        return Start(
            RUN,
            kwargs={"digest": digest, "inputs": dict(inputs), "secrets": names, "callers": _callers(workflow_id)},
            idempotency_key=key,
            key_seconds=self.rules.key_seconds,
            queue=QUEUE,
            priority=order.priority,
            tenant_id=actor.tenant_id,
            owner=actor.user_id,
            attributes=_attributes(order, document, version, names),
            on_end=self._on_end if document.get("on_completion_webhook") else None,
            workflow_id=workflow_id,
            fingerprint=canonical(said),
            lane=lane_for(actor.tenant_id, workflow_id, document, inputs),
        )

    async def call(self, facts: Facts, callee: Callee) -> Any:
        """Run a saved definition as a child of the current run and return its outputs."""
        return await call(self._workflow, facts, callee)

    async def _wait(self, run_id: str, *, fresh: bool) -> None:
        try:
            await self._engine.result(run_id, self.rules.wait_seconds, fresh=fresh)
        except (RunFailed, RunCancelled):
            return
        except TimeoutError:
            raise NotInTime("Workflow run did not complete before the timeout window", run_id=run_id) from None

    async def start_detached(self, facts: Facts, callee: Callee, key: str) -> str:
        """Start a run that another does not wait for, once for each key; returns its id."""
        request = self._engine.request(
            Start(
                RUN,
                kwargs={
                    "digest": callee.digest,
                    "inputs": dict(callee.inputs),
                    "secrets": [],
                    "callers": [*facts.callers, callee.workflow_id],
                },
                idempotency_key=key,
                key_seconds=self.rules.key_seconds,
                queue=QUEUE,
                tenant_id=facts.tenant_id,
                owner=facts.user_id,
                attributes={"mode": "async", "caller": facts.run_id, **callee.attributes},
                on_end=self._on_end,
                workflow_id=callee.workflow_id,
                lane=callee.lane,
            )
        )
        return (await self.starting.begin(request)).run_id

    async def fork(self, actor: Actor, run_id: str, fork: Fork) -> tuple[RunView, bool]:
        """Start a run of the same definition that takes over what another had done before a step.

        Args:
            actor: who asks; the new run is theirs.
            run_id: the other run, open or ended; it is left alone.
            fork: what is asked for.

        Returns:
            the new run, and whether it was not there before.

        Raises:
            NotFound: there is no such run for this caller.
            ValidationFailed: there is no such step, or the inputs do not fit.
            RunConflict: the idempotency key was used with another request.
        """
        run, events = await self.history(actor, run_id)
        if fork.batch is not None and run.attributes.get("forked_in") == fork.batch:
            return run, False
        document = await self.snapshots.load(run.inputs["digest"])
        seed = seed_of(read(document), events, fork.from_step)
        inputs = run.inputs["inputs"] if fork.inputs is None else fork.inputs
        order = Order(inputs, fork.key, secrets=fork.secrets)
        checked = self._definitions.check_inputs(document, order.inputs)
        saved = (run.workflow_id, run.attributes.get("version", 1))
        digest = await self.snapshots.keep(document)
        start = self.start_of(actor, document, digest, checked, order, saved)
        start = replace(start.with_input(seed=seed.packed()), fingerprint=canonical(fork.said(run_id)))
        if fork.batch is not None:
            start = replace(start, attributes={**(start.attributes or {}), "forked_in": fork.batch})
        request = self._engine.request(start)
        request.tell = self._told(actor, "run.fork", run.owner, {"forked_from": run_id, "from_step": fork.from_step})
        started = await self._begin(request, fork.secrets)
        return await self._engine.get_run(started.run_id), started.created

    async def steps_again(self, actor: Actor, run_id: str, from_step: str | None) -> list[str]:
        """Return the steps that a fork, or without a step a retry, may do anew."""
        run, events = await self.history(actor, run_id)
        definition = read(await self.snapshots.load(run.inputs["digest"]))
        if from_step is None:
            failed = [one.step_id for one in step_runs(events, run.status) if one.status == "failed"]
            known = {step.id for step in definition.steps}
            from_step = next((step_id for step_id in reversed(failed) if step_id in known), None)
        return again(definition, from_step or definition.steps[0].id) if definition.steps else []

    # reading
    async def get(self, actor: Actor, run_id: str) -> RunView:
        """Return a run that exists for this caller.

        Raises:
            NotFound: none does.
        """
        try:
            run = await self._engine.get_run(run_id)
        except UnknownRun:
            raise NotFound(NO_RUN) from None
        if run.name != RUN:
            raise NotFound(NO_RUN)
        if not actor.owns(run.tenant_id, run.owner):
            await self.trail.denied(actor, run)
            raise NotFound(NO_RUN)
        return run

    async def page(self, query: RunQuery) -> list[RunView]:
        """Return a page of runs; whose they are, the query says."""
        return await self._engine.read(lambda connection: list_page(connection, query))

    async def events(self, actor: Actor, run_id: str, since: int, limit: int) -> list[Event]:
        """Return events of a run after a number, in order."""
        await self.get(actor, run_id)
        return await self._engine.events(run_id, since=since, limit=limit)

    async def history(self, actor: Actor, run_id: str) -> tuple[RunView, list[Event]]:
        """Return a run with the events that its steps are read from."""
        run = await self.get(actor, run_id)
        return run, [event async for event in self._all(run_id)]

    async def _all(self, run_id: str) -> AsyncIterator[Event]:
        since = 0
        while since < MOST_EVENTS:
            found = await self._engine.events(run_id, since=since, limit=1000)
            for event in found:
                yield event
            if len(found) < 1000:
                return
            since = found[-1].seq

    # controlling
    async def control(self, actor: Actor, run_id: str, action: str, reason: str | None = None) -> ControlResult:
        """Pause, resume, cancel or retry a run.

        Raises:
            NotFound: there is no such run for this caller.
            RunConflict: its state does not allow it.
        """
        return await self.command(actor, await self.get(actor, run_id), action, reason)

    async def command(self, actor: Actor, run: RunView, action: str, reason: str | None = None) -> ControlResult:
        """Pause, resume, cancel or retry a run of any workflow, which this caller is known to be allowed to.

        Raises:
            RunConflict: its state does not allow it.
        """

        def tell(tx: Transaction, before: str, done: ControlResult) -> None:
            after = {"status": done.status, "result": done.result, "reason": reason}
            self.trail.did(tx, actor, f"run.{action}", run.run_id, run.owner, {"status": before}, after)

        return await self._engine.control(run.run_id, action, by=actor.user_id, reason=reason, tell=tell)

    async def supply(self, actor: Actor, run_id: str, secrets: Mapping[str, str]) -> ControlResult:
        """Give a run the secrets that died with its holder, and let it go on.

        Raises:
            NotFound: there is no such run for this caller.
        """
        run = await self.get(actor, run_id)
        await self._vault.keep(run_id, secrets)
        await self.trail.note(actor, "run.supply", f"run:{run_id}", {"secrets": sorted(secrets)})
        if run.status == "paused" and run.status_reason == "secret_missing":
            return await self.command(actor, run, "resume")
        return ControlResult("already_applied", run.status)

    async def select(self, query: RunQuery) -> list[tuple[str, str]]:
        """Return the ids and statuses of the runs that a bulk action is for, oldest first."""
        return await self._engine.read(lambda connection: matching(connection, query._replace(limit=BULK)))


def _callers(workflow_id: int | None) -> list[int]:
    return [] if workflow_id is None else [workflow_id]


def _attributes(order: Order, document: Mapping[str, Any], version: int, secrets: list[str]) -> dict[str, Any]:
    found = {
        NAME: document.get("name"),
        "mode": order.mode,
        "version": version,
        "validation_mode": order.validation_mode,
        "session_id": order.session_id,
        "secrets": secrets or None,
        TRACEPARENT: order.traceparent,
    }
    return {name: value for name, value in found.items() if value is not None}
