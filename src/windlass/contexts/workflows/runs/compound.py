"""Steps made of steps: one entry in the journal around calls that have their own. Promise 4."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from windlass.engine.errors import Suspend
from windlass.engine.failures import beside, own_error
from windlass.engine.heads import to_json
from windlass.engine.outcomes import completed, failure, opening, tell_end
from windlass.engine.registry import check_name
from windlass.engine.run import Run
from windlass.engine.scope import CURRENT, Scope, current_scope
from windlass.engine.types import NewEvent
from windlass.kernel.telling import told, trace
from windlass.values.codec import encode


async def compound(name: str, work: Callable[[], Awaitable[Any]], *, kind: str = "step") -> Any:
    """Run calls of the workflow as one step: what they come to is kept as its outcome.

    The calls are found in the journal below this step's path. Once the step has ended they are not looked at again.

    Args:
        name: the step's name.
        work: the calls; its result must be JSON.
        kind: what the journal says of the step's type.

    Raises:
        StepFailed: ``work`` raised.
        BadName: the name cannot be a part of a path.
    """
    scope: Scope[Run] = current_scope(f"step {name}")
    run = scope.run
    path, recorded = scope.enter(check_name(name), "step")
    if recorded is not None and recorded.settled is not None:
        data = recorded.data or {}
        scope.hear(recorded.seq)
        if recorded.settled == "step_completed":
            return data.get("output")
        raise failure(path, data["error"], data["error_type"], data["attempt"])
    started = run.worker.clock.now() if recorded is None else _begun(run, recorded.begun)
    if recorded is None:
        run.pending.append(NewEvent("step_started", path, opening(name, kind), started))
        run.worker.telemetry.step_started(run.workflow.name, run.run_id, path, kind)
    inner = Scope(run, f"{path}/")
    inner.task = asyncio.current_task()
    token = CURRENT.set(inner)
    try:
        value = await work()
        if run.divergence is not None:
            raise run.divergence
        inner.leave()
        text = encode(value, f"output of step {name}")
    except (Suspend, asyncio.CancelledError) as error:
        raise error if isinstance(error, Suspend) else own_error(error) from error
    except Exception as error:
        _failed(scope, inner, path, name, kind, error)
        tell_end(run, path, kind, started, run.worker.clock.now(), failed=True)
        raise _raised(path, error) from error
    finally:
        CURRENT.reset(token)
        inner.task = None
    ended = run.worker.clock.now()
    run.record([NewEvent("step_completed", path, completed(name, kind, "", 1, text), ended)])
    scope.hear()
    tell_end(run, path, kind, started, ended)
    return orjson.loads(text)


def _begun(run: Run, seq: int) -> int:
    """Return when an event of the journal happened."""
    return next((event.at for event in run.claimed.events if event.seq == seq), run.worker.clock.now())


def _failed(scope: Scope[Run], inner: Scope[Run], path: str, name: str, kind: str, error: Exception) -> None:
    run = scope.run
    if run.divergence is not None:
        raise run.divergence
    inner.leave()
    details = {
        "step_id": name, "type": kind, "attempt": 1, "error": told(error), "error_type": type(error).__name__,
        "traceback": trace(error),
    }  # fmt: skip
    run.record([NewEvent("step_failed", path, to_json(details), run.worker.clock.now())])
    scope.hear()


def _raised(path: str, error: Exception) -> Exception:
    """Return the step's failure; a retry begins with the call inside that failed, too."""
    raised = failure(path, told(error), type(error).__name__, 1)
    beside(raised, [error])
    return raised
