"""The contexts of an application beside records, put together. Loaded when the first of them is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from windlass.bootstrap.options import (
    egress_policy,
    identity_provider,
    identity_rules,
    limit_options,
    minter,
    open_artifacts,
    open_providers,
    open_schedules,
    open_sealer,
    open_upkeep,
    open_workflows,
    reminders,
    webhook_options,
)
from windlass.bootstrap.spans import open_spans
from windlass.contexts.artifacts.api import Artifacts
from windlass.contexts.identity.api import Identity
from windlass.contexts.limits.api import Limits
from windlass.contexts.outbound.api import Outbound
from windlass.contexts.people.api import People
from windlass.contexts.providers.api import Providers
from windlass.contexts.schedules.api import Schedules
from windlass.contexts.webhooks.api import Webhooks
from windlass.contexts.workflows.api import Workflows
from windlass.engine.engine import Engine
from windlass.kernel.spans import Spans
from windlass.settings import Settings
from windlass.storage.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Contexts:
    """What stands beside records."""

    identity: Identity
    people: People
    outbound: Outbound
    webhooks: Webhooks
    artifacts: Artifacts
    schedules: Schedules
    workflows: Workflows
    limits: Limits
    spans: Spans
    upkeep: Upkeep
    providers: Providers


def assemble(settings: Settings, engine: Engine) -> Contexts:
    """Put them together; their workflows are known to the engine afterwards.

    Raises:
        ConfigError: a setting asks for what is not installed, or two do not fit together.
    """
    sealer = open_sealer(settings)
    identity = Identity(engine, identity_rules(settings), provider=identity_provider(settings))
    outbound = Outbound(egress_policy(settings))
    spans = open_spans()
    webhooks = Webhooks(engine, outbound, webhook_options(settings), spans)
    webhooks.audit_with(identity.record)
    limits = Limits(engine, limit_options(settings), identity.record)
    artifacts = open_artifacts(settings, engine, sealer)
    workflows = open_workflows(
        settings, engine, outbound, artifacts, spans,
        audit=identity.record, limits=limits, mint=minter(settings, identity),
    )  # fmt: skip
    workflows.concurrency.audit_with(identity.record)
    webhooks.describe_ends(workflows.describe_end)
    return Contexts(
        identity=identity,
        people=People(engine, reminders(settings, webhooks), identity.record, identity.strangers),
        outbound=outbound,
        webhooks=webhooks,
        artifacts=artifacts,
        schedules=open_schedules(settings, engine, workflows.scheduled),
        workflows=workflows,
        limits=limits,
        spans=spans,
        upkeep=open_upkeep(settings, engine),
        providers=open_providers(settings, engine, identity, webhooks),
    )
