"""Who sees which runs where the engine's own are shown: there are runs of every workflow and of every tenant.

Runs of records, and of workflows in Python that were started for nobody in particular, are for everybody who reaches
the service. Those of definitions, and of what follows them, are for who may see them as runs of definitions; those of
another tenant are not there.
"""

from __future__ import annotations

from windlass.contexts.webhooks.api import WORKFLOWS
from windlass.contexts.workflows.runs.tasks import RUN
from windlass.engine.types import RunView, Sight
from windlass.kernel.actors import RUNS_CONTROL, RUNS_READ, Actor

EVERYBODYS = "default"
"""The tenant of what was started for nobody in particular."""
CLOSED = (RUN, *WORKFLOWS)


def sight(actor: Actor | None) -> Sight:
    """Return which runs a caller may see; None is somebody who has not said who it is."""
    if actor is None:
        return Sight((EVERYBODYS,), CLOSED, None, None)
    tenants = tuple(dict.fromkeys((EVERYBODYS, actor.tenant_id)))
    if not actor.may(RUNS_READ):
        return Sight(tenants, CLOSED, None, None)
    return Sight(tenants, CLOSED, actor.tenant_id, None if actor.administers_workflows else actor.user_id)


def may_see(actor: Actor | None, run: RunView) -> bool:
    """Say whether a run is there for a caller."""
    known = sight(actor)
    if run.tenant_id not in known.tenants:
        return False
    if run.name not in known.closed:
        return True
    return run.tenant_id == known.tenant and known.owner in {None, run.owner}


def may_control(actor: Actor, run: RunView) -> bool:
    """Say whether a caller who sees a run may also pause, resume, cancel and retry it."""
    return run.name not in CLOSED or actor.may(RUNS_CONTROL)
