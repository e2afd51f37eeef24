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


def tell_start(run: Run, path: str, kind: str) -> None:
    """Tell that a step begins that the journal does not know yet."""
    if type(run.worker.telemetry) is not Silent:
        run.worker.telemetry.step_started(run.workflow.name, run.run_id, path, kind)


def tell_end(run: Run, path: str, kind: str, started: int, *, failed: bool = False) -> None:
    """Tell that a step has ended; ``started`` is when its last attempt began, in microseconds."""
    if type(run.worker.telemetry) is Silent:
        return
    status = "failed" if failed else "succeeded"
    took = max(0, run.worker.clock.now() - started) / MILLISECOND
    name, tenant = run.workflow.name, run.claimed.tenant_id
    run.worker.telemetry.step_ended(name, run.run_id, path, tenant, kind, status, took)
