"""A run with its whole journal as a file: what ``windlass runs journal`` prints, and what a replay reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from windlass.engine.types import Event
from windlass.kernel.clock import from_iso, to_iso
from windlass.kernel.errors import Invalid

_RUN = ("run_id", "name", "interface_version", "status", "inputs", "outputs", "error")


@dataclass(frozen=True)
class History:
    """A run as it was recorded. ``inputs`` and ``outputs`` are JSON text; ``outputs`` is None unless it succeeded."""

    run_id: str
    workflow: str
    interface_version: str
    status: str
    inputs: str
    outputs: str | None
    error: dict[str, Any] | None
    events: Sequence[Event]

    @classmethod
    def of(cls, run: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Self:
        """Make one of a run and its events as the API and the command line show them.

        Raises:
            Invalid: something is missing.
        """
        try:
            found = {name: run[name] for name in _RUN}
            rows = [
                Event(
                    found["run_id"], event["event_seq"], event["event_type"], event["step_id"],
                    orjson.dumps(event["payload"]).decode(), from_iso(event["created_at"]),
                )
                for event in events
            ]  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(f"this is no journal of a run: {error!r}") from error
        outputs = orjson.dumps(found["outputs"]).decode() if found["status"] == "succeeded" else None
        inputs = orjson.dumps(found["inputs"]).decode()
        return cls(
            found["run_id"], found["name"], found["interface_version"], found["status"], inputs, outputs,
            found["error"], rows,
        )  # fmt: skip

    def shown(self) -> dict[str, Any]:
        """Return it as JSON data: the run's fields, and its ``events``."""
        return {
            "run_id": self.run_id,
            "name": self.workflow,
            "interface_version": self.interface_version,
            "status": self.status,
            "inputs": orjson.loads(self.inputs),
            "outputs": None if self.outputs is None else orjson.loads(self.outputs),
            "error": self.error,
            "events": [
                {
                    "event_seq": event.seq,
                    "event_type": event.type,
                    "step_id": event.step_id,
                    "payload": orjson.loads(event.payload),
                    "created_at": to_iso(event.at),
                }
                for event in self.events
            ],
        }

    def write(self, path: str | Path) -> None:
        """Write it to a file, indented, so that changes of it can be read."""
        Path(path).write_bytes(orjson.dumps(self.shown(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read one from a file.

        Raises:
            Invalid: it holds something else.
        """
        try:
            found = orjson.loads(Path(path).read_bytes())
        except orjson.JSONDecodeError as error:
            raise Invalid(f"{path} is no JSON: {error}") from error
        if not isinstance(found, dict) or not isinstance(found.get("events"), list):
            raise Invalid(f"{path} is no journal of a run: `windlass runs journal RUN` prints one")
        return cls.of(found, found["events"])
