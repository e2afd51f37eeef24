"""Step types that the interpreter carries out itself: fan-out, waits, sub-workflows, nested attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from windlass.contexts.workflows.runs.carrier import Carrier
from windlass.contexts.workflows.runs.compound import compound
from windlass.contexts.workflows.runs.failures import attempt_failed, reason
from windlass.contexts.workflows.runs.kit import Callee, Question
from windlass.contexts.workflows.runs.outcome import Outcome
from windlass.contexts.workflows.runs.plan import Planned
from windlass.contexts.workflows.steptypes.base import StepFailure, save
from windlass.contexts.workflows.steptypes.control import MOST_MAPPED
from windlass.engine.api import note, sleep
from windlass.engine.branches import gather
from windlass.engine.branches import map as side_by_side
from windlass.engine.errors import RunCancelled, RunFailed, StepFailed
from windlass.engine.step import step as engine_step
from windlass.kernel.stepping import step_info

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
MOST_CALLERS = 10
MOST_CHECKPOINT = 256 * 1024
"""Bytes of JSON that a checkpoint may hold: they are in an event, too."""

Names = Mapping[str, Any]


class _Over(Exception):
    """Somebody was quicker: ends the other branch of a race."""

    def __init__(self, value: object) -> None:
        super().__init__("over")
        self.value = value


async def _map(run: Carrier, planned: Planned, names: Names) -> Outcome:
    async def work() -> dict[str, Any]:
        config = _config(planned, names)
        items = config["items"]
        if isinstance(items, Mapping):
            items = [{"key": key, "value": value} for key, value in items.items()]
        if not isinstance(items, list):
            raise StepFailure("validation_error", f"config.items: a list is needed, not {type(items).__name__}")
        if len(items) > MOST_MAPPED:
            raise StepFailure("validation_error", f"config.items: {len(items)} items, {MOST_MAPPED} at most")
        document = config["step"]
        inner = run.plan.inner(planned, document, document.get("id") or document["type"])
        indexed = list(enumerate(items))

        async def one(pair: tuple[int, Any]) -> Any:
            return await run.call(inner, {**names, "index": pair[0], "item": pair[1]})

        results = await side_by_side(one, indexed, limit=int(config.get("concurrency", 4)))
        return {"count": len(results), "results": results}

    return Outcome(await _whole(planned, work))


async def _parallel(run: Carrier, planned: Planned, names: Names) -> Outcome:
    async def work() -> dict[str, Any]:
        config = _config(planned, names)
        inner = [
            run.plan.inner(planned, document, document.get("id") or f"{document['type']}.{place}")
            for place, document in enumerate(config["steps"])
        ]
        fast = bool(config.get("fail_fast", False))
        results = await gather(
            *(run.call(one, names) for one in inner),
            return_exceptions=not fast,
            limit=int(config.get("max_concurrency", 5)),
        )
        errors = [
            {"index": place, "step": one.step.id, "error": _told(result)}
            for place, (one, result) in enumerate(zip(inner, results, strict=True))
            if isinstance(result, Exception)
        ]
        if errors and len(errors) == len(results):
            raise StepFailure("parallel_failed", f"every step failed, the first: {errors[0]['error']}")
        kept = [None if isinstance(result, Exception) else result for result in results]
        return {"count": len(kept), "results": kept, "errors": errors}

    return Outcome(await _whole(planned, work))


async def _delay(_: Carrier, planned: Planned, names: Names) -> Outcome:
    async def work() -> dict[str, Any]:
        milliseconds, most = _config(planned, names).get("milliseconds", 1000), planned.step.timeout_seconds
        seconds = milliseconds / 1000
        await sleep(seconds if most is None else min(seconds, most))
        if most is not None and most < seconds:
            raise StepFailure("timeout", f"it takes longer than {most:g} s")
        return {"delayed_ms": milliseconds}

    return Outcome(await _whole(planned, work))


async def _checkpoint(run: Carrier, planned: Planned, names: Names) -> Outcome:
    tools = run.kit.tools

    async def saving() -> dict[str, Any]:
        config = _config(planned, names)
        checkpoint_id = str(config.get("checkpoint_id") or step_info().idempotency_key)
        text = orjson.dumps(config.get("data"))
        if len(text) > MOST_CHECKPOINT:
            message = f"config.data is larger than {MOST_CHECKPOINT} bytes of JSON"
            raise StepFailure("validation_error", message, retryable=False)
        saved = await save(tools, f"{planned.step.id}.json", text, mime="application/json", kind="checkpoint")
        return {"checkpoint_id": checkpoint_id, "artifact_id": saved, "data": config.get("data")}

    keep = engine_step(name="save", retries=3)(_spoken(saving))

    async def work() -> dict[str, Any]:
        kept: dict[str, Any] = await keep()
        note("checkpoint", {"checkpoint_id": kept["checkpoint_id"], "data": kept["data"]})
        said = {name: kept[name] for name in ("checkpoint_id", "artifact_id")}
        return {**said, "run_id": run.facts.run_id, "saved": True}

    return Outcome(await _whole(planned, work))


async def _wait(run: Carrier, planned: Planned, names: Names) -> Outcome:
    async def work() -> dict[str, Any]:
        kind = "human" if planned.type.name == "wait_for_human" else "approval"
        config = _config(planned, names)
        step = planned.step
        handled = {"rejected": step.on_failure, "timed_out": step.on_timeout or step.on_failure}
        fail_on = tuple(decision for decision, target in handled.items() if target is None)
        verdict = await run.kit.ask(run.facts, Question(kind, step.id, config, fail_on))
        return {**verdict.outputs, "decision": verdict.decision, "__timed_out__": verdict.timed_out}

    found = await _whole(planned, work)
    outputs = {name: value for name, value in found.items() if name != "__timed_out__"}
    if found["__timed_out__"]:
        return Outcome({"__status__": "timeout"}, failure="human_timeout", timed_out=True)
    if found["decision"] == "rejected":
        return Outcome({**outputs, "__status__": "failed"}, failure="rejected_by_human")
    return Outcome(outputs)


async def _workflow_call(run: Carrier, planned: Planned, names: Names) -> Outcome:
    facts, kit = run.facts, run.kit

    async def finding() -> dict[str, Any]:
        config = _config(planned, names)
        callee = await kit.saved.callee(facts, config)
        if callee.workflow_id in facts.callers:
            chain = " -> ".join(map(str, (*facts.callers, callee.workflow_id)))
            raise StepFailure("cyclic_call", f"definitions call one another in a circle: {chain}", retryable=False)
        if len(facts.callers) >= MOST_CALLERS:
            raise StepFailure("call_depth_exceeded", f"{MOST_CALLERS} calls within one another at most")
        wait, seconds = config.get("wait", True), config.get("timeout_seconds", 300)
        found = {"workflow_id": callee.workflow_id, "digest": callee.digest, "inputs": callee.inputs}
        return {**found, "lane": callee.lane, "name": callee.name, "wait": wait, "timeout_seconds": seconds}

    find = engine_step(name="resolve")(_spoken(finding))

    @engine_step(name="start")
    async def detach(found: dict[str, Any]) -> str:
        return await kit.start_detached(facts, _callee(run, found), step_info().idempotency_key)

    async def work() -> dict[str, Any]:
        found = await find()
        if not found["wait"]:
            return {"async": True, "run_id": await detach(found), "status": "queued"}
        try:
            outputs = await _race(lambda: kit.call(facts, _callee(run, found)), found["timeout_seconds"])
        except (RunFailed, RunCancelled) as ended:
            raise StepFailure("workflow_call_failed", str(ended)) from ended
        return {"async": False, "status": "succeeded", "outputs": outputs, "result": outputs}

    return Outcome(await _whole(planned, work))


def _callee(run: Carrier, found: Mapping[str, Any]) -> Callee:
    above = run.kit.spans.traceparent() or run.facts.traceparent
    lane, name = found.get("lane", ""), found.get("name", "")
    return Callee(found["workflow_id"], found["digest"], found["inputs"], lane, name, above)


async def _race(work: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    """Await ``work`` for at most so many seconds, durably."""

    async def first() -> None:
        raise _Over(await work())

    async def deadline() -> None:
        await sleep(seconds, name="deadline")
        raise StepFailure("timeout", f"it took longer than {seconds:g} s")

    try:
        await gather(first(), deadline())
    except _Over as over:
        return over.value
    raise AssertionError("one of the two has raised")


async def _retry(run: Carrier, planned: Planned, names: Names) -> Outcome:
    async def work() -> dict[str, Any]:
        config = _config(planned, names)
        document = {"type": config["step_type"], "config": planned.step.config.get("step_config") or {}, "retry": 0}
        inner = run.plan.inner(planned, document, document["type"])
        most, pause = int(config.get("max_retries", 3)), 1.0
        worth: Sequence[str] = config.get("retry_on_errors") or ()
        for attempt in range(1, most + 2):
            try:
                result = await run.call(inner, names)
            except StepFailed as failed:
                text = reason(failed)
                if attempt > most or (worth and not any(part in text for part in worth)):
                    raise
                await sleep(min(pause, float(config.get("backoff_max", 30.0))), name="backoff")
                pause *= float(config.get("backoff_base", 2.0))
            else:
                return {"attempts": attempt, "result": result, "success": True}
        raise AssertionError("the last attempt has returned or raised")

    return Outcome(await _whole(planned, work))


async def _whole(planned: Planned, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Carry a step made of steps out, and again as often as its ``retry`` says.

    Raises:
        StepFailed: the last attempt failed, too.
    """
    attempts, pause = 1 + (planned.step.retry or 0) * (planned.type.name == "workflow_call"), FIRST_PAUSE

    async def tried() -> dict[str, Any]:
        nonlocal pause
        for attempt in range(1, attempts + 1):
            try:
                return await work()
            except StepFailure as failure:
                if attempt == attempts or not failure.retryable:
                    raise
                await sleep(pause, name="backoff")
                pause = min(pause * 2, LONGEST_PAUSE)
        raise AssertionError("the last attempt has returned or raised")

    value: dict[str, Any] = await compound(planned.step.id, _spoken(tried), kind=planned.type.name)
    return value


async def fail(planned: Planned, failure: StepFailure) -> None:
    """Keep in the run's history that a step failed before its work began, or between two rounds of its loop.

    Raises:
        StepFailed: always; a retry of the run comes back to this.
    """

    async def work() -> dict[str, Any]:
        raise failure

    await compound(planned.step.id, _spoken(work), kind=planned.type.name)


def _spoken(work: Callable[[], Awaitable[dict[str, Any]]]) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def speaking() -> dict[str, Any]:
        try:
            return await work()
        except StepFailure as failure:
            raise attempt_failed(failure) from failure

    return speaking


def _config(planned: Planned, names: Names) -> Mapping[str, Any]:
    """Return a control's config with its templates resolved, checked once more.

    Raises:
        StepFailure: a template names what is not there or a secret, or the result does not fit the type.
    """
    if any(name.partition(".")[0] == "secrets" for name in planned.config.names):
        message = f"config: {planned.type.name} is given no secrets: what it is given is kept in the run's history"
        raise StepFailure("validation_error", message, retryable=False)
    return planned.config.resolve(names)


def _told(error: Exception) -> str:
    return reason(error) if isinstance(error, StepFailed) else f"{type(error).__name__}: {error}"


CONTROLS: dict[str, Callable[[Carrier, Planned, Any], Awaitable[Outcome]]] = {
    "map": _map,
    "parallel": _parallel,
    "delay": _delay,
    "checkpoint": _checkpoint,
    "wait_for_human": _wait,
    "wait_for_approval": _wait,
    "workflow_call": _workflow_call,
    "retry": _retry,
}
