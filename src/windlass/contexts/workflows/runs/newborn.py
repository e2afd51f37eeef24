"""A run in the moment it is there: what its caller is answered without another look at the database."""

from __future__ import annotations

import orjson

from windlass.engine.types import NewRun, RunView, Started, Status
from windlass.kernel.clock import to_iso


def newborn(run: NewRun, started: Started) -> RunView:
    """Return a run as it was inserted; one that was born claimed is running."""
    held = started.holder is not None
    return RunView(
        run_id=run.run_id,
        name=run.name,
        status=Status.RUNNING if held else Status.QUEUED,
        status_reason=None,
        wait_reason=None,
        queue=run.queue,
        priority=run.priority,
        tenant_id=run.tenant_id,
        owner=run.owner,
        key=run.key,
        interface_version=run.interface_version,
        parent_run_id=run.parent_run_id,
        workflow_id=run.workflow_id,
        holder=started.holder,
        deaths=0,
        last_seq=1 if held else 0,
        history_from_seq=1,
        attributes=orjson.loads(run.attributes),
        inputs=orjson.loads(run.inputs),
        outputs=None,
        error=None,
        created_at=to_iso(run.created_at),
        started_at=to_iso(run.created_at) if held else None,
        ended_at=None,
        wake_at=None,
    )
