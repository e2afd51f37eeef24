"""Definitions of the simulation: documents thrown with dice, the step types they use, and what they must return.

Steps hand on what has been seen so far: a list of pairs of a label and the token that came back for it, as the shapes
in Python return. After a block that returns something else (a branch, a fan-out, an answer of people, a sub-workflow) a
step of type ``work`` brings both together.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from tests.simulation.ledger import LEDGER
from tests.simulation.shapes import REGISTRY, effect
from windlass.contexts.outbound.api import Answer, Call, Outbound, OutboundTimeout
from windlass.contexts.workflows.runs.kit import Callee, Facts, Kit, Question, Verdict
from windlass.contexts.workflows.runs.plan import Rules
from windlass.contexts.workflows.runs.snapshots import canonical, digest_of
from windlass.contexts.workflows.runs.tasks import RUN, call, define
from windlass.contexts.workflows.steptypes.base import StepContext, StepFailure, StepType, Tools
from windlass.contexts.workflows.steptypes.calls import CALLS
from windlass.contexts.workflows.steptypes.outside import Outside
from windlass.contexts.workflows.steptypes.registry import StepTypes
from windlass.engine.api import signal
from windlass.engine.errors import SignalTimeout
from windlass.engine.types import Status
from windlass.engine.workflow import workflow
from windlass.kernel.clock import SystemClock
from windlass.kernel.stepping import step_info

FOLLOWER = "document.ended"
"""What is started in the transaction in which a run of a document ends, as its completion webhook is."""
HOST = "https://hooks.example/"
LABEL = "{{ inputs.label }}"
LONG = 86_400
_RAW = {"type": "object", "properties": {}, "additionalProperties": True}
_DOCUMENTS: dict[str, Mapping[str, Any]] = {}
_CHILDREN: dict[int, str] = {}


def keep(document: Mapping[str, Any]) -> str:
    """Keep a document for every process; returns its digest."""
    digest = digest_of(canonical(document))
    _DOCUMENTS[digest] = document
    return digest


# step types
async def _work(config: Mapping[str, Any], _context: StepContext) -> dict[str, Any]:
    """Do something that takes a while, and bring together what was seen."""
    ledger = LEDGER.get()
    label = str(config["label"])
    token = ledger.execute(label)
    await ledger.spend()
    if label in ledger.broken:
        raise StepFailure("broken", f"broken {label}")
    if config.get("doomed"):
        raise StepFailure("doomed", label, retryable=False)
    if ledger.attempts[step_info().run_id, step_info().path] <= config.get("failures", 0):
        raise StepFailure("flaky", f"not yet {label}")
    return {"token": token, "seen": [*_pairs(config.get("before")), *_pairs(config.get("also")), [label, token]]}


def _pairs(value: Any) -> list[list[str]]:
    """Return the pairs that outputs hold, however deep."""
    if isinstance(value, Mapping):
        return _pairs(value.get("seen"))
    if not isinstance(value, list):
        return []
    if len(value) == 2 and all(isinstance(one, str) for one in value):
        return [value]
    return [pair for one in value for pair in _pairs(one)]


class Receiver:
    """The other end of webhooks: slow, silent, out of order, and it remembers what it was told."""

    async def request(self, call: Call) -> Answer:
        """Answer a request.

        Raises:
            OutboundTimeout: it was heard, or not, and nobody says so.
        """
        ledger = LEDGER.get()
        await ledger.spend()
        lost = ledger.chance(0.1)
        if not lost or ledger.chance(0.5):
            ledger.told[orjson.loads(call.body or b"{}")["label"]] += 1
        if lost:
            raise OutboundTimeout("no answer")
        status = 503 if ledger.chance(0.15) else 200
        return Answer(status, {"content-type": "application/json"}, b'{"ok":true}', call.url)


# the surroundings
class _Shelf:
    async def callee(self, _facts: Facts, config: Mapping[str, Any]) -> Callee:
        return Callee(config["workflow_id"], _CHILDREN[config["workflow_id"]], config["inputs"])


async def _ask(_facts: Facts, question: Question) -> Verdict:
    human = question.kind == "wait_for_human"
    try:
        token = await signal(
            "decision",
            timeout=question.config.get("timeout_seconds"),
            status=Status.WAITING_HUMAN if human else Status.WAITING_APPROVAL,
            told={"assigned_to": [question.config["assigned_to_user_id"]]},
        )
    except SignalTimeout:
        return Verdict("timed_out", {"seen": [["late", question.step_id]]}, timed_out=True)
    return Verdict("approved", {"seen": [["decision", token]]})


async def _no_secrets(_run_id: str) -> Mapping[str, str]:
    return {}


async def _forget(_run_id: str) -> None:
    return None


async def _detached(_facts: Facts, _callee: Callee, key: str) -> str:
    return key


async def _load(digest: str) -> Mapping[str, Any]:
    return _DOCUMENTS[digest]


async def _call(facts: Facts, callee: Callee) -> Any:
    return await call(RUNNER, facts, callee)


RUNNER = define(
    REGISTRY,
    Kit(
        types=StepTypes([StepType("work", "Do it", _RAW, {}, _work, mapable=True), *CALLS]),
        check_schema=lambda _schema, _value: None,
        secrets=_no_secrets,
        forget=_forget,
        tools=Tools(outbound=Outside(cast(Outbound, Receiver()), SystemClock())),
        ask=_ask,
        saved=_Shelf(),
        start_detached=_detached,
        call=_call,
    ),
    _load,
    Rules(backoff_cap=1.0),
)


@workflow(name=FOLLOWER, registry=REGISTRY)
async def ended(run_id: str, status: str) -> list[list[str]]:
    """Tell of the end of a run."""
    label = f"{run_id}/{status}"
    return [[label, await effect(label)]]


# documents
@dataclass
class Writer:
    """Writes one document, block after block; ``labels`` is what it must return, None where time decides."""

    dice: random.Random
    steps: list[dict[str, Any]] = field(default_factory=list)
    labels: list[str] | None = field(default_factory=list)
    decisions: int = 0
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def write(self, blocks: int) -> Writer:
        """Write so many blocks after the first step."""
        self.work("first", before=None)
        kinds = (self.attempts, self.branch, self.fan, self.people, self.child, self.loop, self.webhook, self.failure)
        for number in range(blocks):
            self.dice.choice(kinds)(f"b{number}")
        return self

    def saw(self, *labels: str) -> None:
        """Note what is seen in any case."""
        if self.labels is not None:
            self.labels += labels

    def work(self, step_id: str, before: str | None = "last", **more: Any) -> None:
        """A step that adds itself to what was seen ``before``, and whatever is ``also`` there."""
        config = {"label": f"{LABEL}.{step_id}", **more.pop("config", {})}
        if before is not None:
            config["before"] = f"{{{{ {before}.seen }}}}"
        self.steps.append({"id": step_id, "type": "work", "config": config, **more})
        self.saw(step_id)

    def attempts(self, step_id: str) -> None:
        """A step that fails some times first, or for good until somebody repairs it."""
        if self.dice.random() < 0.5:
            self.work(step_id, config={"failures": self.dice.randint(1, 3)}, retry=5)
        else:
            self.broken.append(step_id)
            self.work(step_id, retry=self.dice.randint(0, 1))

    def branch(self, step_id: str) -> None:
        """One of two steps, and one that comes after both."""
        yes, other, after = f"{step_id}yes", f"{step_id}no", f"{step_id}after"
        taken = self.dice.random() < 0.5
        config = {"condition": "{{ true }}" if taken else "{{ false }}", "true_next": yes, "false_next": other}
        self.steps.append({"id": step_id, "type": "branch", "config": config})
        kept = self.labels
        self.labels = None
        self.work(yes, before="prev", on_success=after)
        self.work(other, before="prev")
        self.labels = kept
        self.saw(yes if taken else other)
        self.work(after)

    def fan(self, step_id: str) -> None:
        """The same for every item, or several steps side by side."""
        width = self.dice.randint(1, 4)
        if self.dice.random() < 0.5:
            inner = {"type": "work", "config": {"label": f"{LABEL}.{step_id}.{{{{ item }}}}"}, "retry": 1}
            config: dict[str, Any] = {"items": list(range(width)), "step": inner, "concurrency": 2}
            self.steps.append({"id": step_id, "type": "map", "config": config})
        else:
            inners = [{"type": "work", "config": {"label": f"{LABEL}.{step_id}.{n}"}} for n in range(width)]
            self.steps.append({"id": step_id, "type": "parallel", "config": {"steps": inners, "max_concurrency": 2}})
        self.saw(*(f"{step_id}.{n}" for n in range(width)))
        self.work(f"{step_id}after", before="prev", config={"also": "{{ last.results }}"})

    def people(self, step_id: str) -> None:
        """An answer of somebody, who may be too late."""
        config: dict[str, Any] = {"assigned_to_user_id": "ann"}
        after = f"{step_id}after"
        more = {}
        if self.dice.random() < 0.5:
            config["timeout_seconds"] = self.dice.choice([0.3, 2.0, 6.0])
            more = {"on_timeout": after}
            self.labels = None
        self.decisions += 1
        kind = self.dice.choice(["wait_for_human", "wait_for_approval"])
        self.steps.append({"id": step_id, "type": kind, "config": config, **more})
        self.saw("decision")
        self.work(after, before="prev", config={"also": "{{ last.seen | default([]) }}"})

    def child(self, step_id: str) -> None:
        """A sub-workflow, which has steps and a fan of its own."""
        config = {"workflow_id": 1, "inputs": {"label": f"{LABEL}.{step_id}"}, "timeout_seconds": LONG}
        self.steps.append({"id": step_id, "type": "workflow_call", "config": config})
        self.saw(*(f"{step_id}.{label}" for label in ("first", "all.0", "all.1", "last")))
        self.work(f"{step_id}after", before="prev", config={"also": "{{ last.outputs.seen }}"})

    def loop(self, step_id: str) -> None:
        """A step that is repeated."""
        times = self.dice.randint(1, 3)
        loop = {"until": f"{{{{ iteration >= {times} }}}}", "max_iterations": 5}
        self.work(step_id, repeat=loop)
        self.saw(*[step_id] * (times - 1))

    def webhook(self, step_id: str) -> None:
        """Something is told to another host until it is heard."""
        config = {"url": HOST, "body": {"label": f"{LABEL}.{step_id}"}}
        self.told.append(step_id)
        self.steps.append({"id": step_id, "type": "webhook", "config": config, "retry": 20})
        self.work(f"{step_id}after", before="prev")

    def failure(self, step_id: str) -> None:
        """A sub-workflow that fails and is undone, and a step to go on with."""
        after = f"{step_id}after"
        config = {"workflow_id": 2, "inputs": {"label": f"{LABEL}.{step_id}"}, "timeout_seconds": LONG}
        self.steps.append({"id": step_id, "type": "workflow_call", "config": config, "on_failure": after})
        self.work(after, before="prev")


def throw(dice: random.Random) -> dict[str, Any]:
    """Return the inputs of a client: a digest, what a run of it must return, and what has to be done for it."""
    if dice.random() < 0.2:
        return {"digest": _GRAPH, "labels": ["root", "west", "east", "join"], "decisions": 0, "broken": [], "told": []}
    made = Writer(dice).write(dice.randint(1, 5))
    return {
        "digest": keep({"name": "thrown", "steps": made.steps}),
        "labels": made.labels,
        "decisions": made.decisions,
        "broken": made.broken,
        "told": made.told,
    }


def _step(step_id: str, *also: str, **more: Any) -> dict[str, Any]:
    config = {"label": f"{LABEL}.{step_id}", "also": [f"{{{{ {name} }}}}" for name in also], **more.pop("config", {})}
    return {"id": step_id, "type": "work", "config": config, **more}


_GRAPH = keep(
    {
        "name": "graph",
        "steps": [
            _step("join", "west.seen", "east.seen", depends_on=["west", "east"]),
            _step("west", "root.seen", depends_on=["root"], retry=2, config={"failures": 1}),
            _step("east", depends_on=["root"]),
            _step("root"),
        ],
    }
)
_EACH = {"type": "work", "config": {"label": f"{LABEL}.all.{{{{ item }}}}"}}
_CHILDREN[1] = keep(
    {
        "name": "child",
        "steps": [
            _step("first"),
            {"id": "all", "type": "map", "config": {"items": [0, 1], "step": _EACH}},
            _step("last", "first.seen", "all.results"),
        ],
    }
)
_UNDO = {"type": "work", "config": {"label": f"{LABEL}.undo"}, "retry": 3}
_CHILDREN[2] = keep(
    {
        "name": "undone",
        "steps": [_step("done", compensate=_UNDO), _step("no", config={"doomed": True})],
    }
)

__all__ = ["FOLLOWER", "RUN", "throw"]
