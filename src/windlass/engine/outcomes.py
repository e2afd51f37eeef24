"""How steps begin and end: what the journal says of it, and who else hears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windlass.engine.errors import StepFailed
from windlass.kernel.telemetry import Silent

if TYPE_CHECKING:
    from windlass.engine.run import Run

MILLISECOND = 1000
"""In microseconds."""


def opening(name: str, kind: str) -> str:
    """Return the payload of ``step_started``."""
    return f'{{"step_id":"{name}","type":"{kind}"}}'


def completed(name: str, kind: str, mark: str, attempt: int, output: str, undo: str = "") -> str:
    """Return the payload of ``step_completed``; ``output`` is JSON text already, and so is ``undo``: a field of it."""
    return f'{{"step_id":"{name}","type":"{kind}","input":"{mark}","attempt":{attempt},"output":{output}{undo}}}'


def failure(path: str, message: str, error_type: str, attempts: int) -> StepFailed:
    """Return the error a failed step raises, the same live and replayed."""
    return StepFailed(
        f"step {path} failed: {error_type}: {message}", step=path, error_type=error_type, attempts=attempts
    )


def tell_end(run: Run, path: str, kind: str, started: int, ended: int, *, failed: bool = False) -> None:
    """Tell that a step has ended, and between which times its last attempt was at work, in microseconds."""
    if type(run.worker.telemetry) is Silent:
        return
    status = "failed" if failed else "succeeded"
    took = (ended - started) / MILLISECOND if ended > started else 0.0
    name, tenant = run.workflow.name, run.claimed.tenant_id
    run.worker.telemetry.step_ended(name, run.run_id, path, tenant, kind, status, took)
