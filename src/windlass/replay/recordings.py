"""Recorded runs as files: what a check, or a test, needs to try new code on them, without a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from windlass.engine.types import Event
from windlass.kernel.clock import from_iso
from windlass.kernel.errors import Invalid

OWN = frozenset({
    "operating.maintain", "providers.approval_ended", "providers.approve", "records.process", "records.process_many",
    "records.process_page", "schedules.backfill", "schedules.backfill_part", "schedules.drain", "schedules.sweep",
    "schedules.tick", "webhooks.complete", "webhooks.deliver", "webhooks.redeliver", "webhooks.replay_many",
    "workflows.run",
})  # fmt: skip
"""Workflows of Windlass itself: their code is no user's, and their runs hold what is not for everybody's eyes."""
FORMAT = 1
_FIELDS = ("format", "run_id", "workflow", "version", "status", "inputs", "events")
_ENDED = ("outputs", "error")
_EVENT = ("seq", "type", "step_id", "at", "payload")


@dataclass(frozen=True, slots=True)
class Recording:
    """A run at one moment: its input as JSON text, and its journal, which is empty before it has begun.

    ``version`` is empty for a run that is bound to none yet. ``outputs`` (JSON text) is None unless it has succeeded,
    ``error`` unless it has failed.
    """

    run_id: str
    workflow: str
    version: str
    status: str
    inputs: str
    events: tuple[Event, ...]
    outputs: str | None = None
    error: dict[str, Any] | None = None

    @classmethod
    def of(cls, run: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Recording:
        """Return the recording of a run and its events, both as the API answers them."""
        journal = tuple(
            Event(
                run["run_id"], event["event_seq"], event["event_type"], event["step_id"],
                orjson.dumps(event["payload"]).decode(), from_iso(event["created_at"]),
            )
            for event in events
        )  # fmt: skip
        inputs = orjson.dumps(run["inputs"]).decode()
        ended = run["status"] == "succeeded"
        outputs = orjson.dumps(run["outputs"]).decode() if ended else None
        name, version = run["name"], run["interface_version"]
        return cls(run["run_id"], name, version, run["status"], inputs, journal, outputs, run["error"])

    def line(self) -> bytes:
        """Return it as a line of a file."""
        return orjson.dumps(self._said(), option=orjson.OPT_APPEND_NEWLINE)

    def text(self) -> str:
        """Return it as a file of its own, indented, so that people can see what changes."""
        plain = orjson.loads(self.line())
        return orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()

    def _said(self) -> dict[str, Any]:
        events = [
            {"seq": seq, "type": kind, "step_id": path, "at": at, "payload": orjson.Fragment(payload)}
            for _, seq, kind, path, payload, at in self.events
        ]
        said = {
            "format": FORMAT, "run_id": self.run_id, "workflow": self.workflow, "version": self.version,
            "status": self.status, "inputs": orjson.Fragment(self.inputs), "events": events,
        }  # fmt: skip
        if self.outputs is not None:
            said["outputs"] = orjson.Fragment(self.outputs)
        if self.error is not None:
            said["error"] = self.error
        return said

    @classmethod
    def read(cls, line: bytes) -> Recording:
        """Return what ``line`` or ``text`` has made of one.

        Raises:
            Invalid: it is none; says why.
        """
        try:
            said = orjson.loads(line)
            _check(said, _FIELDS, _ENDED)
            if said["format"] != FORMAT:
                raise Invalid(f"format {said['format']!r} is not known; it was written by another version of Windlass")
            run_id = _text(said, "run_id")
            events = [_event(run_id, event) for event in said["events"]]
            inputs = orjson.dumps(said["inputs"]).decode()
            outputs = orjson.dumps(said["outputs"]).decode() if "outputs" in said else None
            return cls(
                run_id, _text(said, "workflow"), _text(said, "version"), _text(said, "status"), inputs, tuple(events),
                outputs, said.get("error"),
            )  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Invalid(f"no recorded run: {error}") from error


def read_all(place: Path) -> Iterator[Recording]:
    """Yield the recordings of a file, or of the files ``*.ndjson`` of a folder; a file ``*.json`` holds one alone.

    Raises:
        Invalid: a line is no recording; names file and line.
        OSError: a file cannot be read.
    """
    for path in sorted(place.glob("*.ndjson")) if place.is_dir() else [place]:
        if path.suffix == ".json":
            yield Recording.read(path.read_bytes())
            continue
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield Recording.read(line)
                except Invalid as error:
                    raise Invalid(f"{path}, line {number}: {error.message}") from error


def _event(run_id: str, said: Any) -> Event:
    _check(said, _EVENT)
    path = None if said["step_id"] is None else _text(said, "step_id")
    if not isinstance(said["seq"], int) or not isinstance(said["at"], int) or not isinstance(said["payload"], dict):
        raise TypeError("seq and at of an event are numbers, its payload is an object")
    return Event(run_id, said["seq"], _text(said, "type"), path, orjson.dumps(said["payload"]).decode(), said["at"])


def _check(said: Any, fields: Sequence[str], more: Sequence[str] = ()) -> None:
    if not isinstance(said, dict):
        raise TypeError("an object is expected")
    wrong = sorted((said.keys() - {*more}) ^ {*fields})
    if wrong:
        raise ValueError(f"fields that are missing or unknown: {', '.join(wrong)}")


def _text(said: Mapping[str, Any], field: str) -> str:
    value = said[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is a text")
    return value
