"""Definitions carried out by the engine: order, conditions, loops, fan-out, graphs, failures, what is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.engine.lab import Lab, parked, status_of
from windlass import Engine, Handle, Registry, RunFailed
from windlass.contexts.workflows.runs.interpreter import Interpreter
from windlass.contexts.workflows.runs.kit import Callee, Facts, Kit, Question, Verdict
from windlass.contexts.workflows.runs.plan import Rules
from windlass.contexts.workflows.runs.projection import shown_attempts, shown_steps
from windlass.contexts.workflows.runs.snapshots import canonical, digest_of
from windlass.contexts.workflows.runs.tasks import RUN, call, define
from windlass.contexts.workflows.steptypes.base import StepContext, StepFailure, StepType, Tools
from windlass.contexts.workflows.steptypes.registry import StepTypes
from windlass.engine.api import signal
from windlass.engine.errors import SignalTimeout
from windlass.engine.run import Run
from windlass.kernel.ids import new_id


@dataclass
class Stage:
    """What definitions run on here: documents, a step type that does what it is told, one engine after another."""

    lab: Lab
    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: dict[str, Mapping[str, str]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    saved: dict[int, str] = field(default_factory=dict)

    async def engine(self) -> Engine:
        """Start a process."""
        registry = Registry()
        workflow = define(
            registry, self.kit(lambda facts, callee: call(workflow, facts, callee)), self._load, Rules(0.01)
        )
        return await self.lab.engine(registry=registry)

    async def start(self, engine: Engine, *steps: Mapping[str, Any], **more: Any) -> Handle:
        """Start a run of a definition of these steps."""
        secrets = more.pop("secrets", {})
        inputs = more.pop("inputs", {})
        digest = self.keep({"name": "test", "steps": list(steps), **more})
        run_id = new_id()
        self.secrets[run_id] = secrets
        return await engine.start_run(
            RUN, run_id=run_id, digest=digest, inputs=inputs, secrets=sorted(secrets), callers=[]
        )

    def keep(self, document: Mapping[str, Any]) -> str:
        """Keep a document; returns its digest."""
        digest = digest_of(canonical(document))
        self.documents[digest] = document
        return digest

    async def _load(self, digest: str) -> Mapping[str, Any]:
        return self.documents[digest]

    def kit(self, child: Callable[[Facts, Callee], Awaitable[Any]]) -> Kit:
        """What the surroundings lend."""

        async def forget(run_id: str) -> None:
            self.secrets.pop(run_id, None)

        async def known(run_id: str) -> Mapping[str, str] | None:
            return self.secrets.get(run_id)

        async def ask(facts: Facts, question: Question) -> Verdict:
            del facts
            try:
                said = await signal("decision", timeout=question.config.get("timeout_seconds"))
            except SignalTimeout:
                return Verdict("timed_out", {}, timed_out=True)
            return Verdict(said["decision"], said.get("fields", {}))

        async def detached(facts: Facts, callee: Callee, key: str) -> str:
            del facts, callee
            return key

        return Kit(
            types=StepTypes([self._act()]),
            check_schema=lambda schema, value: None if set(schema.get("required", ())) <= set(value) else "incomplete",
            secrets=known,
            forget=forget,
            tools=Tools(),
            ask=ask,
            saved=self,
            start_detached=detached,
            call=child,
        )

    async def callee(self, facts: Facts, config: Mapping[str, Any]) -> Callee:
        """Find a saved definition."""
        del facts
        if config["workflow_id"] not in self.saved:
            raise StepFailure("not_found", f"no definition {config['workflow_id']}", retryable=False)
        return Callee(config["workflow_id"], self.saved[config["workflow_id"]], config.get("inputs", {}))

    def _act(self) -> StepType:
        async def act(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
            name = str(config["name"])
            self.done.append(name)
            if name in self.broken:
                raise StepFailure("broken", f"{name} does not work", retryable=config.get("retryable", True))
            return {"name": name, **config.get("out", {}), "attempt": context.attempt}

        schema = {"type": "object", "properties": {"name": {}, "out": {}, "retryable": {}}, "required": ["name"]}
        return StepType("act", "Do it", schema, {"name": "x"}, act, mapable=True)


@pytest.fixture
async def stage(lab: Lab) -> Stage:
    """The stage."""
    return Stage(lab)


@pytest.fixture
async def engine(stage: Stage) -> Engine:
    """The first process."""
    return await stage.engine()


def act(step_id: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A step that is noted down."""
    config = {"name": name or step_id, **({"out": more.pop("out")} if "out" in more else {})}
    return {"id": step_id, "type": "act", "config": config, **more}


async def test_steps_follow_one_another_and_see_what_was_before(stage: Stage, engine: Engine) -> None:
    handle = await stage.start(
        engine,
        act("a", out={"list": [1, 2]}),
        act("b", "{{ a.name }}-{{ last.name }}-{{ steps.a.outputs.name }}-{{ inputs.x }}"),
        act("c", "end", out={"same": "{{ a.list }}"}),
        inputs={"x": "&"},
    )

    assert await handle.result() == {"name": "end", "same": [1, 2], "attempt": 1}
    assert stage.done == ["a", "a-a-a-&", "end"]


async def test_targets_and_branches_steer(stage: Stage, engine: Engine) -> None:
    branch = {"condition": "{{ inputs.n > 3 }}", "true_next": "big", "false_next": "small"}
    steps = (
        {"id": "which", "type": "branch", "config": branch},
        act("small", on_success="_end"),
        act("big"),
        act("after"),
    )

    assert (await (await stage.start(engine, *steps, inputs={"n": 5})).result())["name"] == "after"
    assert (await (await stage.start(engine, *steps, inputs={"n": 1})).result())["name"] == "small"
    assert stage.done == ["big", "after", "small"]


async def test_a_condition_skips_and_a_loop_repeats(stage: Stage, engine: Engine) -> None:
    handle = await stage.start(
        engine,
        act("never", when="{{ inputs.no }}"),
        act("again", "n{{ iteration }}", repeat={"until": "{{ iteration >= 3 }}", "max_iterations": 9}),
        inputs={"no": False},
    )

    assert (await handle.result())["name"] == "n3"
    assert stage.done == ["n1", "n2", "n3"]
    shown = shown_steps(await engine.get_run(handle.run_id), await engine.events(handle.run_id))
    assert [(one["step_id"], one["status"]) for one in shown] == [("never", "skipped"), *[("again", "succeeded")] * 3]


@pytest.mark.parametrize(
    "step,field",
    [
        (act("a", when="{{ nil > 3 }}"), "a.when"),
        (act("a", repeat={"while": "{{ nil }}", "max_iterations": 2}), "a.repeat.while"),
        (act("a", repeat={"until": "{{ nil }}", "max_iterations": 2}), "a.repeat.until"),
        ({"id": "a", "type": "branch", "config": {"condition": "{{ nil }}"}}, "config.condition"),
    ],
)
async def test_a_condition_that_names_nothing_says_where(
    stage: Stage, engine: Engine, step: dict[str, Any], field: str
) -> None:
    handle = await stage.start(engine, step)

    with pytest.raises(RunFailed, match=rf"template_error: {field}: unknown variable 'nil'"):
        await handle.result()

    last = shown_steps(await engine.get_run(handle.run_id), await engine.events(handle.run_id))[-1]
    assert (last["step_id"], last["type"], last["status"]) == ("a", step["type"], "failed")
    assert last["error"].startswith(f"template_error: {field}: unknown variable 'nil'")
    assert last["latest_failure"]["category"] == "definition"


async def test_a_condition_that_failed_and_was_handled_is_found_again_after_a_restart_and_by_a_retry(
    stage: Stage, engine: Engine
) -> None:
    stage.broken.add("template_error")
    wait = {"id": "ask", "type": "wait_for_human", "config": {"assigned_to_user_id": "ann"}}
    lost = act("lost", when="{{ nil }}", on_failure="ask")
    handle = await stage.start(engine, lost, act("no"), wait, act("after", "{{ lost.error[:14] }}"))
    await parked(handle)
    await stage.lab.crash(engine)
    second = await stage.engine()
    await second.signal(handle.run_id, "decision", {"decision": "approved"})
    handle = second.handle(handle.run_id)
    with pytest.raises(RunFailed, match="broken"):
        await handle.result()
    stage.broken.clear()

    await handle.retry()

    assert (await handle.result())["name"] == "template_error"
    shown = shown_steps(await second.get_run(handle.run_id), await second.events(handle.run_id))
    assert [(one["step_id"], one["status"]) for one in shown] == [
        ("lost", "failed"), ("ask", "succeeded"), ("after", "succeeded")
    ]  # fmt: skip


async def test_a_condition_that_fails_in_a_graph_is_told_and_handled_there(stage: Stage, engine: Engine) -> None:
    lost = act("lost", depends_on=["a"], repeat={"until": "{{ nil }}", "max_iterations": 2}, on_failure="mend")
    mend = act("mend", "{{ lost.error[:14] }}")
    handle = await stage.start(engine, act("a"), act("b", depends_on=["a"]), lost, mend)

    assert (await handle.result())["mend"]["name"] == "template_error"
    shown = shown_steps(await engine.get_run(handle.run_id), await engine.events(handle.run_id))
    assert sorted((one["step_id"], one["status"]) for one in shown) == [
        ("a", "succeeded"), ("b", "succeeded"), ("lost", "failed"), ("lost", "succeeded"), ("mend", "succeeded"),
    ]  # fmt: skip


async def test_a_loop_that_never_ends_fails(stage: Stage, engine: Engine) -> None:
    handle = await stage.start(engine, act("a", repeat={"while": "true", "max_iterations": 2}))
    with pytest.raises(RunFailed, match="loop_limit_reached"):
        await handle.result()
    shown = shown_steps(await engine.get_run(handle.run_id), await engine.events(handle.run_id))
    assert [one["status"] for one in shown] == ["succeeded", "succeeded", "failed"]
    assert shown[-1]["error"].startswith("loop_limit_reached: a was repeated 2 times")

    handle = await stage.start(engine, act("a", on_success="a"))
    with pytest.raises(RunFailed, match="branch_loop_exceeded"):
        await handle.result()


async def test_a_failure_goes_where_it_is_told_to(stage: Stage, engine: Engine) -> None:
    stage.broken.add("a")
    handle = await stage.start(engine, act("a", on_failure="mend"), act("no"), act("mend", "{{ last.error }}"))

    assert (await handle.result())["name"] == "broken: a does not work"
    assert stage.done == ["a", "broken: a does not work"]


async def test_a_failed_run_is_retried_at_its_failed_step_with_all_it_knew(stage: Stage, engine: Engine) -> None:
    stage.broken.add("b-a")
    handle = await stage.start(
        engine, act("a"), act("b", "b-{{ a.name }}", retry=2), act("c", "{{ a.name }}{{ b.name }}")
    )
    with pytest.raises(RunFailed, match="broken: b-a does not work"):
        await handle.result()
    assert stage.done == ["a", "b-a", "b-a", "b-a"]
    attempts = shown_attempts(await engine.get_run(handle.run_id), await engine.events(handle.run_id), "b")
    assert [(one["attempt_number"], one["reason_code_core"], one["retryable"]) for one in attempts] == [
        (1, "broken", True), (2, "broken", True), (3, "broken", True)
    ]  # fmt: skip
    stage.broken.clear()

    await handle.retry()

    assert (await handle.result())["name"] == "ab-a"
    assert stage.done == ["a", "b-a", "b-a", "b-a", "b-a", "ab-a"]


async def test_what_no_attempt_can_mend_is_not_tried_again(stage: Stage, engine: Engine) -> None:
    handle = await stage.start(engine, act("a", "{{ nothing.there }}", retry=5))
    with pytest.raises(RunFailed, match=r"template_error: .*nothing"):
        await handle.result()
    assert "step_retry_suppressed" in [event.type for event in await engine.events(handle.run_id)]


async def test_each_item_of_a_map_is_a_step_of_its_own(stage: Stage, engine: Engine) -> None:
    stage.broken.add("x2")
    inner = {"type": "act", "config": {"name": "x{{ item }}"}}
    config = {"items": "{{ inputs.items }}", "step": inner, "concurrency": 2}
    handle = await stage.start(engine, {"id": "all", "type": "map", "config": config}, inputs={"items": [1, 2, 3]})
    with pytest.raises(RunFailed, match="broken: x2 does not work"):
        await handle.result()
    stage.broken.clear()

    await handle.retry()

    result = await handle.result()
    assert [one["name"] for one in result["results"]] == ["x1", "x2", "x3"]
    assert stage.done.count("x1") == 1
    assert stage.done.count("x2") == 2


async def test_parallel_steps_keep_their_errors_apart(stage: Stage, engine: Engine) -> None:
    stage.broken.add("b")
    steps = [{"type": "act", "config": {"name": name}} for name in ("a", "b", "c")]
    handle = await stage.start(engine, {"id": "p", "type": "parallel", "config": {"steps": steps}})

    result = await handle.result()

    assert [one and one["name"] for one in result["results"]] == ["a", None, "c"]
    assert result["errors"] == [{"index": 1, "step": "act.1", "error": "broken: b does not work"}]

    handle = await stage.start(engine, {"id": "p", "type": "parallel", "config": {"steps": steps, "fail_fast": True}})
    with pytest.raises(RunFailed, match="broken: b"):
        await handle.result()


@pytest.mark.parametrize(
    "kind,config",
    [
        ("map", {"items": [20, 10], "step": {"type": "delay", "config": {"milliseconds": "{{ item }}"}}}),
        ("parallel", {"steps": [{"type": "delay", "config": {"milliseconds": 10}}]}),
        ("retry", {"step_type": "delay", "step_config": {"milliseconds": 10}}),
    ],
)
async def test_a_delay_stands_within_another_step(
    stage: Stage, engine: Engine, kind: str, config: dict[str, Any]
) -> None:
    handle = await stage.start(engine, {"id": "s", "type": kind, "config": config}, act("end"))

    assert (await handle.result())["name"] == "end"


async def test_a_delay_takes_no_longer_than_its_attempt_may(stage: Stage, engine: Engine) -> None:
    nap = {"id": "nap", "type": "delay", "config": {"milliseconds": 90_000_000}, "timeout_seconds": 0.05}
    inner = {"type": "delay", "config": {"milliseconds": "{{ item }}"}}
    naps = {"id": "naps", "type": "map", "config": {"items": [90_000_000], "step": inner}, "timeout_seconds": 0.05}
    for step in (nap, naps):
        handle = await stage.start(engine, step | {"on_failure": "end"}, act("no"), act("end", "{{ last.error }}"))
        assert (await handle.result())["name"] == "timeout: it takes longer than 0.05 s"

    handle = await stage.start(engine, nap | {"config": {"milliseconds": 10}, "timeout_seconds": 30})
    assert await handle.result() == {"delayed_ms": 10}


async def test_delays_within_a_map_survive_a_restart(stage: Stage, engine: Engine) -> None:
    inner = {"type": "delay", "config": {"milliseconds": "{{ item }}"}}
    handle = await stage.start(engine, {"id": "all", "type": "map", "config": {"items": [300, 400], "step": inner}})
    await parked(handle)
    await stage.lab.crash(engine)
    second = await stage.engine()

    result = await second.handle(handle.run_id).result()

    assert [one["delayed_ms"] for one in result["results"]] == [300, 400]


async def test_a_graph_joins(stage: Stage, engine: Engine) -> None:
    handle = await stage.start(
        engine,
        act("end", "{{ left.name }}+{{ right.name }}", depends_on=["left", "right"]),
        act("left", "l-{{ root.name }}", depends_on=["root"]),
        act("right", "r-{{ last.name }}", depends_on=["root"]),
        act("root"),
    )

    assert (await handle.result())["name"] == "l-root+r-root"
    assert stage.done[0] == "root"
    assert stage.done[-1] == "l-root+r-root"


async def test_a_graph_skips_what_was_not_chosen_and_joins_the_rest(stage: Stage, engine: Engine) -> None:
    branch = {"condition": "{{ inputs.yes }}", "true_next": "yes", "false_next": "no"}
    steps = (
        {"id": "which", "type": "branch", "config": branch},
        act("yes"),
        act("no"),
        act("join", depends_on=["yes", "no"]),
    )

    await (await stage.start(engine, *steps, inputs={"yes": True})).result()

    assert stage.done == ["yes", "join"]


async def test_a_graph_sees_only_what_it_waited_for(stage: Stage, engine: Engine) -> None:
    handle = await stage.start(engine, act("a"), act("b", depends_on=["a"]), act("c", "{{ b.name }}", depends_on=["a"]))

    with pytest.raises(RunFailed, match=r"template_error: .*\bb\b"):
        await handle.result()


async def test_what_had_succeeded_is_undone_last_first(stage: Stage, engine: Engine) -> None:
    stage.broken.add("c")

    def undo(name: str) -> dict[str, Any]:
        return {"type": "act", "config": {"name": f"undo-{name}-{{{{ last.name }}}}"}}

    handle = await stage.start(
        engine, act("a", compensate=undo("a")), act("b", compensate=undo("b")), act("c", compensate=undo("c"))
    )
    with pytest.raises(RunFailed, match="broken: c does not work"):
        await handle.result()
    assert stage.done == ["a", "b", "c", "undo-b-b", "undo-a-a"]
    from windlass import RunConflict

    with pytest.raises(RunConflict, match="undone"):
        await handle.retry()


async def test_a_failure_with_nothing_to_undo_can_be_retried(stage: Stage, engine: Engine) -> None:
    stage.broken.add("a")
    undo = {"type": "act", "config": {"name": "undo"}}
    handle = await stage.start(engine, act("a", compensate=undo), act("b"))
    with pytest.raises(RunFailed, match="broken: a does not work"):
        await handle.result()

    stage.broken.clear()
    await handle.retry()

    assert (await handle.result())["name"] == "b"
    assert stage.done == ["a", "a", "b"]


async def test_a_crash_after_a_failure_forgets_nothing_that_is_to_be_undone(
    stage: Stage, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undo(name: str) -> dict[str, Any]:
        return {"type": "act", "config": {"name": f"undo-{name}-{{{{ last.name }}}}"}}

    failed = asyncio.Event()

    async def crashing(_run: Interpreter, _of: Run) -> list[list[Any]]:
        failed.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody lets it go on")

    handle = await stage.start(
        engine,
        {"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": "ann"}, "depends_on": []},
        act("third", compensate=undo("third"), depends_on=["second"]),
        act("second", compensate=undo("second"), depends_on=["first"]),
        act("first", compensate=undo("first")),
    )
    await parked(handle)
    with monkeypatch.context() as patch:
        patch.setattr(Interpreter, "_to_undo", crashing)
        await handle.signal("decision", {"decision": "rejected"})
        await failed.wait()
        await stage.lab.crash(engine)
    again = await stage.engine()

    with pytest.raises(RunFailed, match="rejected"):
        await again.handle(handle.run_id).result()

    assert stage.done[3:] == ["undo-third-third", "undo-second-second", "undo-first-first"]


async def test_a_wait_survives_a_restart_with_all_that_was_known(stage: Stage, engine: Engine) -> None:
    wait = {"id": "ask", "type": "wait_for_human", "config": {"assigned_to_user_id": "ann"}}
    handle = await stage.start(engine, act("a"), wait, act("b", "{{ a.name }}-{{ ask.text }}-{{ last.decision }}"))
    await parked(handle)
    await stage.lab.crash(engine)
    second = await stage.engine()

    await second.signal(handle.run_id, "decision", {"decision": "approved", "fields": {"text": "T"}})

    assert (await second.handle(handle.run_id).result())["name"] == "a-T-approved"
    assert stage.done == ["a", "a-T-approved"]


async def test_rejections_and_time_outs_have_their_targets(stage: Stage, engine: Engine) -> None:
    config = {"assigned_to_user_id": "ann", "timeout_seconds": 0.05}
    wait = {"id": "ask", "type": "wait_for_approval", "config": config}
    late = await stage.start(engine, {**wait, "on_timeout": "late"}, act("no", on_success="_end"), act("late"))
    assert (await late.result())["name"] == "late"

    failing = await stage.start(engine, wait)
    with pytest.raises(RunFailed, match="human_timeout"):
        await failing.result()

    wait = {"id": "ask", "type": "wait_for_approval", "config": {"assigned_to_user_id": "ann"}, "on_failure": "no"}
    rejected = await stage.start(engine, wait, act("yes"), act("no", "{{ last.decision }}"))
    await engine.signal(rejected.run_id, "decision", {"decision": "rejected"})
    assert (await rejected.result())["name"] == "rejected"


async def test_a_sub_workflow_is_a_run_of_its_own(stage: Stage, engine: Engine) -> None:
    stage.saved[7] = stage.keep({"name": "inner", "steps": [act("x", "got-{{ inputs.v }}")]})
    stage.saved[8] = stage.keep(
        {"name": "circle", "steps": [{"id": "me", "type": "workflow_call", "config": {"workflow_id": 8}}]}
    )
    config = {"workflow_id": 7, "inputs": {"v": "{{ a.name }}"}}
    handle = await stage.start(engine, act("a"), {"id": "sub", "type": "workflow_call", "config": config})

    result = await handle.result()

    assert result["outputs"]["name"] == "got-a"
    circle = await stage.start(engine, {"id": "sub", "type": "workflow_call", "config": {"workflow_id": 8}})
    with pytest.raises(RunFailed, match=r"(?<!step_failure: )cyclic_call: definitions call"):
        await circle.result()
    unclear = await stage.start(engine, {"id": "sub", "type": "workflow_call", "config": {"workflow_id": "{{ nil }}"}})
    with pytest.raises(RunFailed, match=r"(?<!step_failure: )template_error: config\.workflow_id"):
        await unclear.result()


async def test_secrets_are_used_and_never_kept(stage: Stage, engine: Engine) -> None:
    handle = await stage.start(
        engine,
        act("a", "key={{ secrets.token }}", out={"deep": ["{{ secrets.token }}"]}),
        secrets={"token": "s3cret-value"},
    )

    assert await handle.result() == {"name": "key=***", "deep": ["***"], "attempt": 1}
    assert stage.done == ["key=s3cret-value"]
    assert "s3cret" not in "".join(event.payload for event in await engine.events(handle.run_id))
    assert handle.run_id not in stage.secrets


async def test_steps_made_of_steps_are_given_no_secrets(stage: Stage, engine: Engine) -> None:
    keep = {"id": "keep", "type": "checkpoint", "config": {"data": "{{ secrets.key }}"}}
    handle = await stage.start(engine, keep, secrets={"key": "s3cret"})

    with pytest.raises(RunFailed, match="checkpoint is given no secrets"):
        await handle.result()


async def test_a_run_whose_secret_died_with_its_holder_waits_for_it(stage: Stage, engine: Engine) -> None:
    wait = {"id": "ask", "type": "wait_for_human", "config": {"assigned_to_user_id": "ann"}}
    handle = await stage.start(engine, wait, act("a", "{{ secrets.token }}"), secrets={"token": "s3cret-value"})
    await parked(handle)
    await stage.lab.crash(engine)
    stage.secrets.clear()
    second = await stage.engine()
    handle = second.handle(handle.run_id)
    await second.signal(handle.run_id, "decision", {"decision": "approved"})
    view = await status_of(handle, "paused")
    assert view.status_reason == "secret_missing"

    stage.secrets[handle.run_id] = {"token": "s3cret-again"}
    await handle.resume()

    assert (await handle.result())["name"] == "***"
    assert stage.done == ["s3cret-again"]


async def test_many_at_once_keep_to_themselves(stage: Stage, engine: Engine) -> None:
    handles = [await stage.start(engine, act("a", "{{ inputs.n }}"), inputs={"n": f"n{n}"}) for n in range(50)]

    results = await asyncio.gather(*(handle.result() for handle in handles))

    assert [result["name"] for result in results] == [f"n{n}" for n in range(50)]
