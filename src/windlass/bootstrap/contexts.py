"""The contexts of an application beside records, put together. Loaded when the first of them is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from windlass.bootstrap.options import (
    egress_policy,
    identity_rules,
    limit_options,
    minter,
    open_artifacts,
    open_schedules,
    open_sealer,
    open_workflows,
    webhook_options,
)
from windlass.contexts.artifacts.api import Artifacts
from windlass.contexts.identity.api import Identity
from windlass.contexts.limits.api import Limits
from windlass.contexts.outbound.api import Outbound
from windlass.contexts.people.api import People
from windlass.contexts.schedules.api import Schedules
from windlass.contexts.webhooks.api import Webhooks
from windlass.contexts.workflows.api import Workflows
from windlass.engine.engine import Engine
from windlass.settings import Settings


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


def assemble(settings: Settings, engine: Engine) -> Contexts:
    """Put them together; their workflows are known to the engine afterwards.

    Raises:
        ConfigError: a setting asks for what is not installed, or two do not fit together.
    """
    sealer = open_sealer(settings)
    identity = Identity(engine, identity_rules(settings))
    outbound = Outbound(egress_policy(settings))
    webhooks = Webhooks(engine, outbound, webhook_options(settings))
    webhooks.audit_with(identity.record)
    limits = Limits(engine, limit_options(settings), identity.record)
    workflows = open_workflows(settings, engine, outbound, limits, minter(settings, identity))
    workflows.concurrency.audit_with(identity.record)
    webhooks.describe_ends(workflows.describe_end)
    return Contexts(
        identity=identity,
        people=People(engine),
        outbound=outbound,
        webhooks=webhooks,
        artifacts=open_artifacts(settings, engine, sealer),
        schedules=open_schedules(settings, engine, workflows.scheduled),
        workflows=workflows,
        limits=limits,
    )
