"""What must be true when all is over: every acknowledged run ended rightly, every effect happened once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from tests.simulation.checks import Violation, name
from tests.simulation.documents import FOLLOWER, RUN
from tests.simulation.expected import SPOKEN, expected
from windlass.engine.types import TERMINAL, Event, RunHead, Status

if TYPE_CHECKING:
    from tests.simulation.workload import Client
    from tests.simulation.world import World

ONCE = {"step_completed", "timer_fired", "signal_received", "signal_timed_out", "child_completed", "value_recorded"}
UNDONE = {"book": "unbook", "pay": "unpay"}
"""Steps, and those that undo them."""
HONEST = {"StepFailed", "RunFailed", "RunCancelled", "DefinitionFailed"}
"""Errors by which runs of the workload may end."""


def verify(world: World, clients: list[Client]) -> None:
    """Judge a world that has come to rest.

    Raises:
        Violation: a promise was broken.
    """
    Verdict(world, clients).give()


class Verdict:
    """The last look."""

    def __init__(self, world: World, clients: list[Client]) -> None:
        self._world = world
        self._clients = clients
        self._heads = world.store.heads()
        self._journals = {run_id: world.store.journal(run_id) for run_id in self._heads}
        self._outputs: dict[str, tuple[str, str]] = {}
        self._spoken: dict[str, list[str]] = {}

    def give(self) -> None:
        """Look at everything."""
        for head in self._heads.values():
            self._whole(head, self._journals[head.run_id])
            self._undone(head, self._journals[head.run_id])
        if self._world.store.slots():
            raise Violation(f"places are still taken: {self._world.store.slots()}")
        self._effects()
        self._started()
        self._followed()
        for client in self._clients:
            self._client(client)
        for execution in self._world.ledger.executions:
            if execution.key != f"{execution.run_id}:{execution.path}":
                raise Violation(f"{execution} has another idempotency key")

    def _whole(self, head: RunHead, journal: list[Event]) -> None:
        """Check that a journal is complete and says nothing twice."""
        if head.status not in TERMINAL or head.holder is not None:
            raise Violation(f"{name(head)} has not ended")
        if [event.seq for event in journal] != list(range(1, head.last_seq + 1)):
            raise Violation(f"{name(head)} has events {[event.seq for event in journal]}")
        types = Counter(event.type for event in journal)
        last = {"succeeded": "run_completed", "failed": "run_failed", "cancelled": "run_cancelled"}[head.status]
        if journal[-1].type != last or types["run_started"] > 1 or types["run_completed"] > 1:
            raise Violation(f"{name(head)} has a journal of {[event.type for event in journal]}")
        outcomes: set[str] = set()
        for event in journal:
            path = event.step_id or ""
            if event.type in ONCE:
                if path in outcomes:
                    raise Violation(f"{name(head)} has two outcomes of {path}")
                outcomes.add(path)
            if event.type == "step_completed":
                self._output(head.run_id, path, orjson.loads(event.payload)["output"])
            elif event.type == "signal_received":
                self._spoken.setdefault(head.run_id, []).append(orjson.loads(event.payload)["payload"])
            elif event.type == "run_retried":
                outcomes -= {path for path in outcomes if path not in self._kept(journal, event.seq)}
        if head.status == Status.FAILED:
            error = orjson.loads(self._world.store.ended(head.run_id)[1] or "{}")
            if error.get("type") not in HONEST:
                raise Violation(f"{name(head)} failed by {error}")

    def _undone(self, head: RunHead, journal: list[Event]) -> None:
        """Check that a run that failed has undone what had succeeded, last first, and no other has."""
        done, undone = [], []
        for event in journal:
            step = (event.step_id or "").rpartition("/")[2].partition("#")[0]
            if event.type != "step_completed":
                continue
            token = str(orjson.loads(event.payload)["output"])
            if step in UNDONE:
                done.append(f"{UNDONE[step]} {token}")
            elif step in UNDONE.values():
                undone.append(f"{step} {token.partition('!')[2].rpartition('@')[0]}")
        wanted = done[::-1] if head.status == Status.FAILED else []
        if undone != wanted and not (head.status == Status.CANCELLED and undone == done[::-1][: len(undone)]):
            raise Violation(f"{name(head)} has undone {undone} instead of {wanted}")

    def _output(self, run_id: str, path: str, output: Any) -> None:
        """Remember which step has which token; those of documents have it among their outputs, if any."""
        token = output.get("token") if isinstance(output, dict) else output
        if token is not None:
            self._outputs[token] = (run_id, path)

    @staticmethod
    def _kept(journal: list[Event], seq: int) -> set[str]:
        """Return the paths that a retry at ``seq`` leaves as they are: the succeeded ones."""
        return {e.step_id or "" for e in journal[:seq] if e.type in ONCE - {"child_completed", "signal_timed_out"}}

    def _effects(self) -> None:
        """Check that what transactional steps wrote is what journals say, each once."""
        rows = Counter(self._world.store.effects())
        steps = {row: count for row, count in rows.items() if row[0]}
        for (run_id, path, token), count in steps.items():
            if count > 1:
                raise Violation(f"the effect {token} of {run_id} {path} is there {count} times")
            if self._outputs.get(token) != (run_id, path):
                raise Violation(f"the effect {token} of {run_id} {path} is there, its event is not")
        paths = Counter((run_id, path) for run_id, path, _ in steps)
        for (run_id, path), count in paths.items():
            if count > 1:
                raise Violation(f"{run_id} {path} had {count} effects")
        for token, (run_id, path) in self._outputs.items():
            if "effect#" in path and (run_id, path, token) not in steps:
                raise Violation(f"the effect {token} of {run_id} {path} is lost")
        self._rows(Counter(token for run_id, _, token in rows.elements() if not run_id))

    def _rows(self, written: Counter[str]) -> None:
        """Check that what was written through ``transact`` is there once, where it was acknowledged."""
        for client in self._clients:
            for token in client.effects:
                if not written[token]:
                    raise Violation(f"row {token} was acknowledged and is lost")
        for token, count in written.items():
            if count > 1:
                raise Violation(f"row {token} was written {count} times")

    def _started(self) -> None:
        """Check that runs started with a key, or by a transactional step, are there once."""
        labels = Counter(label for label in (self._label(run_id) for run_id in self._heads) if label)
        for client in self._clients:
            if len(client.run_ids) != 1 and client.key is not None:
                raise Violation(f"{client.label} was acknowledged as {client.run_ids}")
            if client.key is not None and labels[client.label] > 1:
                raise Violation(f"{client.label} was started {labels[client.label]} times")
        spawned = {token.partition("@")[0] for token, (_, path) in self._outputs.items() if "spawn#" in path}
        for label in spawned:
            if labels[f"{label}/echo"] != 1:
                raise Violation(f"{label} started {labels[f'{label}/echo']} runs")
        for label, count in labels.items():
            if label.endswith("/echo") and (count > 1 or label.removesuffix("/echo") not in spawned):
                raise Violation(f"{label} is there {count} times, the step that starts it was {sorted(spawned)}")

    def _followed(self) -> None:
        """Check that what follows the end of a document is there once for each end, and for nothing else."""
        roots = {run_id for client in self._clients if client.shape == RUN for run_id in client.run_ids}
        ends = {
            f"{run_id}.end{event.seq}"
            for run_id, journal in self._journals.items()
            for event in journal
            if event.type in {"run_completed", "run_failed", "run_cancelled"} and run_id in roots
        }
        followers = {run_id for run_id, head in self._heads.items() if head.name == FOLLOWER}
        if missing := ends - followers:
            raise Violation(f"nothing followed {missing}")
        for run_id in followers:
            told, _, seq = run_id.rpartition(".end")
            if told not in self._heads or self._heads[told].last_seq < int(seq):
                raise Violation(f"{run_id} follows nothing")

    def _label(self, run_id: str) -> str:
        inputs: dict[str, Any] = orjson.loads(self._world.store.inputs(run_id))
        return str(inputs.get("inputs", inputs).get("label", ""))

    def _client(self, client: Client) -> None:
        """Check what a client was told and what came of it."""
        for run_id in client.run_ids:
            if run_id not in self._heads:
                raise Violation(f"{client.label} was acknowledged as {run_id}, which is not there")
            head = self._heads[run_id]
            if client.surely and head.status != Status.CANCELLED:
                raise Violation(f"{name(head)} was acknowledged to be cancelled")
            if not client.cancelled and head.status != Status.SUCCEEDED:
                raise Violation(f"{name(head)} of {client.label}: {self._world.store.ended(run_id)}")
            self._signals(client, head)
            if head.status == Status.SUCCEEDED:
                self._result(client, run_id)

    def _signals(self, client: Client, head: RunHead) -> None:
        heard = Counter(self._spoken.get(head.run_id, []))
        for token, count in heard.items():
            if count > 1:
                raise Violation(f"{name(head)} received {token} {count} times")
        unread = {
            orjson.loads(row.payload) for row in self._world.store.unread().get(head.run_id, []) if row.kind == "signal"
        }
        for token in client.signals:
            if token not in heard and token not in unread:
                raise Violation(f"{name(head)} lost signal {token}")
            if token in heard and token in unread:
                raise Violation(f"{name(head)} received signal {token}, which is still in its inbox")

    def _result(self, client: Client, run_id: str) -> None:
        """Check that the code saw what the journals hold, each thing in its place."""
        seen = orjson.loads(self._world.store.ended(run_id)[0] or "null")
        if client.shape == RUN:
            seen = seen["seen"]
            for step_id in client.inputs["told"]:
                if not self._world.ledger.told[f"{client.label_used}.{step_id}"]:
                    raise Violation(f"{client.label} went on before anybody heard of {step_id}")
        wanted = expected(client.shape, client.label_used, client.inputs)
        if wanted is not None and [pair[0] for pair in seen] != wanted:
            raise Violation(f"{client.label} returned {seen} instead of {wanted}")
        for label, token in seen:
            if label in SPOKEN:
                if token not in self._spoken.get(run_id, []):
                    raise Violation(f"{client.label} saw {token}, which its journal does not hold")
            elif "@" in token:
                if token.partition("@")[0] != label:
                    raise Violation(f"{client.label} has {token} in the place of {label}")
                if token not in self._outputs:
                    raise Violation(f"{client.label} saw {token}, which no journal holds")
