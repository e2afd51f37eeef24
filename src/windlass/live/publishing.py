"""Published values: what a run says of itself, of which the newest counts."""

from __future__ import annotations

import asyncio

from windlass.engine.errors import Suspend
from windlass.engine.registry import check_name
from windlass.engine.run import Run
from windlass.engine.scope import current_scope
from windlass.engine.types import NewEvent
from windlass.kernel.clock import to_iso
from windlass.live.rows import write_published
from windlass.live.state import begun, put, running_step
from windlass.values.codec import encode


def publish(key: str, value: object) -> None:
    """Put the value of a key, which anybody reads from the run's handle, also after its end. A replay puts nothing.

    It reaches the disk with the run's next commit. A step that is tried again puts its values again.

    Raises:
        NotSerializable: the value cannot be kept as JSON.
        BadName: no value can have this key.
    """
    check_name(key)
    text = encode(value, f"published value {key}")
    found = running_step(f"publish {key}")
    if found is not None:
        run, info = found
        if asyncio._get_running_loop() is None:
            run.loop.call_soon_threadsafe(_put, run, "step_published", info.path, key, text)
        else:
            _put(run, "step_published", info.path, key, text)
        return
    scope = current_scope(f"publish {key}")
    path, recorded = scope.enter(f"publish:{key}", "value")
    if recorded is not None:
        scope.hear(recorded.seq)
        return
    _put(scope.run, "value_published", path, key, text)
    scope.hear()


def _put(run: Run, kind: str, path: str, key: str, text: str) -> None:
    if run.gone:
        if kind == "step_published":
            return
        raise Suspend
    now = run.worker.clock.now()
    if kind == "step_published":
        run.pending += begun(run, path)
    event = NewEvent(kind, path, f'{{"key":"{key}","value":{text}}}', now)
    put(run, event, write_published, (run.run_id, key, text, to_iso(now)))
