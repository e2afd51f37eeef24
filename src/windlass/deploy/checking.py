"""Which open runs new code would strand: every recorded journal is replayed against it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from windlass.engine.registry import Definition, Registry
from windlass.kernel.errors import Invalid, NotSerializable
from windlass.kernel.versions import UNBOUND
from windlass.replay.api import Outcome, replay
from windlass.replay.recordings import Recording

_PATH = re.compile(r"'([^']*#[0-9]+)'")


class Why(StrEnum):
    """Why a run would strand."""

    WORKFLOW_GONE = "workflow_gone"
    VERSION_UNKNOWN = "version_unknown"
    INPUT_REFUSED = "input_refused"
    DIVERGED = "diverged"
    FAILS = "fails"
    NOT_WHOLE = "history_not_whole"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why code does not fit a journal; ``where`` is the path of the recorded call at which they part."""

    why: Why
    detail: str
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Stranded:
    """A run that would strand, and what can be done."""

    run_id: str
    workflow: str
    version: str
    where: str | None
    why: Why
    detail: str
    advice: str


def examine(recording: Recording, registry: Registry) -> Stranded | None:
    """Try the code of a registry on a recorded run; None when the run would go on with it."""
    name, version = recording.workflow, recording.version
    if name not in registry:
        detail = f"no workflow {name} is registered"
        return _told(recording, Trouble(Why.WORKFLOW_GONE, detail), "register it again, or cancel the run")
    known = {one.version: one for one in registry.definitions if one.name == name}
    current = registry.get(name)
    if version != UNBOUND and version not in known:
        trouble = Trouble(Why.VERSION_UNKNOWN, f"version {version} is not registered; there is {', '.join(known)}")
        return _told(recording, trouble, _other_version(recording, current))
    trouble_there = trial(current if version == UNBOUND else known[version], recording)
    return None if trouble_there is None else _told(recording, trouble_there, _advice(recording, trouble_there))


def trial(definition: Definition, recording: Recording) -> Trouble | None:
    """Replay a run against one version of its workflow; None when it goes through."""
    try:
        definition.signature.unpack(recording.inputs, f"input of {definition.name}")
    except NotSerializable as error:
        return Trouble(Why.INPUT_REFUSED, error.message)
    if not recording.events:
        return None
    try:
        found = replay(definition, recording.inputs, recording.events)
    except Invalid as error:
        return Trouble(Why.NOT_WHOLE, error.message)
    if not found.strands:
        return None
    where = _PATH.search(found.reason)
    why = Why.DIVERGED if found.outcome is Outcome.DIVERGED else Why.FAILS
    return Trouble(why, found.reason, where and where[1])


def _told(recording: Recording, trouble: Trouble, advice: str) -> Stranded:
    return Stranded(
        recording.run_id, recording.workflow, recording.version, trouble.where, trouble.why, trouble.detail, advice
    )


def _other_version(recording: Recording, current: Definition) -> str:
    trouble = trial(current, recording)
    if trouble is None:
        return f"windlass deploy migrate {recording.run_id} --to-version {current.version}"
    fork = _fork(recording, trouble, f" --to-version {current.version}")
    return f"register version {recording.version} beside {current.version} again{fork}"


def _advice(recording: Recording, trouble: Trouble) -> str:
    if trouble.why is Why.NOT_WHOLE:
        return "export its whole journal"
    patch = "put the change behind windlass.patched(), or give it a version of its own beside the old code"
    return patch + _fork(recording, trouble, "")


def _fork(recording: Recording, trouble: Trouble, more: str) -> str:
    known = {event.step_id for event in recording.events}
    if trouble.where not in known:
        return ""
    return f"; or windlass deploy fork {recording.run_id} --from-step {trouble.where}{more}"
