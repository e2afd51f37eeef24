"""Published values: what a run says of itself, of which the newest counts."""

from __future__ import annotations

import asyncio

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
    said = f'{{"key":"{key}","value":{text}}}'
    found = running_step(f"publish {key}")
    if found is not None:
        run, info = found

        def from_step() -> None:
            if not run.gone:
                run.pending += begun(run, info.path)
                _put(run, NewEvent("step_published", info.path, said, run.worker.clock.now()), key, text)

        if asyncio._get_running_loop() is None:
            run.loop.call_soon_threadsafe(from_step)
        else:
            from_step()
        return
    scope = current_scope(f"publish {key}")
    path, recorded = scope.enter(f"publish:{key}", "value")
    if recorded is None:
        now = scope.run.worker.clock.now()
        _put(scope.run, NewEvent("value_published", path, said, now), key, text)
    scope.hear(None if recorded is None else recorded.seq)


def _put(run: Run, event: NewEvent, key: str, text: str) -> None:
    put(run, event, write_published, (run.run_id, key, text, to_iso(event.at)))
