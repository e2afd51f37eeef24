"""Recorded journals: taken from an engine, kept as files, and held against the code of today."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import orjson

from windlass.engine.engine import Engine
from windlass.engine.registry import Definition
from windlass.engine.types import Event
from windlass.kernel.clock import to_iso
from windlass.replay.api import Outcome, Replay
from windlass.replay.api import replay as replayed
from windlass.replay.recordings import Recording
from windlass.testing.report import shown

__all__ = ["JournalDiverged", "Recording", "record", "replay"]

PAGE = 1000


class JournalDiverged(AssertionError):
    """Today's code does not follow a recorded journal; ``found`` is how far it came."""

    def __init__(self, recording: Recording, found: Replay) -> None:
        self.recording, self.found = recording, found
        last = "\n".join(f"    {shown(event)}" for event in recording.events[-12:])
        super().__init__(
            f"workflow {recording.workflow} does not follow the journal of run {recording.run_id}: {found.reason}\n"
            f"  journal, its last events:\n{last}\n"
            "  what to do:\n"
            "    keep the old calls and their order for runs that are open, or give the workflow another version"
        )


async def record(engine: Engine, run_id: str, path: str | Path | None = None) -> Recording:
    """Take a run with its whole journal from a live engine, and write it to a file when ``path`` is given.

    Raises:
        UnknownRun: there is no such run.
    """
    events: list[Event] = []
    while found := await engine.events(run_id, since=len(events), limit=PAGE):
        events.extend(found)
    view = await engine.get_run(run_id)
    made = Recording.of(asdict(view), [_row(event) for event in events])
    if path is not None:
        _keep(Path(path), made)
    return made


def _keep(path: Path, made: Recording) -> None:
    path.write_text(made.text(), encoding="utf-8")


def _row(event: Event) -> dict[str, object]:
    return {
        "event_seq": event.seq, "event_type": event.type, "step_id": event.step_id,
        "payload": orjson.loads(event.payload), "created_at": to_iso(event.at),
    }  # fmt: skip


def replay(workflow: Definition, recording: Recording | str | Path) -> Replay:
    """Run a workflow's code over a recorded journal; no step is called, no database or network is touched.

    Args:
        workflow: the code of today.
        recording: a recorded run, or the file that holds it.

    Raises:
        JournalDiverged: the code asks for something else than the journal holds, or ends otherwise.
        Invalid: the file holds no journal, or not a whole one.
    """
    kept = recording if isinstance(recording, Recording) else Recording.read(Path(recording).read_bytes())
    found = replayed(workflow, kept.inputs, kept.events, outputs=kept.outputs)
    if found.outcome is Outcome.DIVERGED or found.strands:
        raise JournalDiverged(kept, found)
    return found
