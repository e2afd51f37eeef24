"""Spans of runs, steps and webhooks, and the trace that goes through them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.apps import serving
from tests.support.receiver import receiving
from tests.support.waiting import wait_until_async
from windlass.bootstrap import contexts, spans
from windlass.bootstrap.spans import OtelSpans, wanted
from windlass.kernel.errors import ConfigError
from windlass.kernel.spans import NO_SPANS, checked_traceparent

BASE = "/api/v1/workflows"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ABOVE = f"00-{TRACE}-00f067aa0ba902b7-01"
OPEN: dict[str, Any] = {"workflows_egress_allowed_ports": ("*",), "workflows_egress_block_private": False}


async def definition(client: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    """One of everything that is traced."""
    called = {"name": "traced below", "steps": [
        {"id": "below", "type": "webhook", "config": {"url": f"{url}/below"}}]}  # fmt: skip
    saved = (await client.post(BASE, json=called)).json()
    return {
        "name": "traced",
        "on_completion_webhook": f"{url}/end",
        "steps": [
            {"id": "fork", "type": "branch", "config": {"condition": "1", "true_next": "each"}},
            {"id": "each", "type": "map", "config": {
                "items": ["a", "b"], "step": {"type": "prompt", "config": {"template": "{{ item }}"}}}},
            {"id": "called", "type": "workflow_call", "config": {"workflow_id": saved["id"]}},
            {"id": "call", "type": "webhook", "retry": 1, "timeout_seconds": 20,
             "config": {"url": f"{url}/call?key=hidden"}},
        ],
    }  # fmt: skip


async def test_runs_steps_and_webhooks_are_one_trace(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(contexts, "open_spans", lambda: OtelSpans(provider.get_tracer("test")))

    def finished(name: str) -> list[ReadableSpan]:
        return [span for span in exporter.get_finished_spans() if span.name == name]

    with receiving() as receiver:
        async with serving(database_url, **OPEN) as served:
            sent = {"definition": await definition(served.client, receiver.url)}
            answer = await served.client.post(f"{BASE}/run?mode=sync", json=sent, headers={"traceparent": ABOVE})
            run_id = answer.json()["run_id"]
            assert answer.json()["status"] == "succeeded"
            await wait_until_async(lambda: len(finished("workflows.webhook")) == 3)
        heard = {got.path: got.headers["traceparent"] for got in receiver.received}

    found = exporter.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in found if span.context} == {TRACE}
    names = {span.context.span_id: span.name for span in found if span.context}
    resumed = "workflows.run.resumed"
    stays = [span for span in found if not (span.attributes or {}).get(resumed)]  # the caller may leave to wait
    above = [(span.name, names.get(span.parent.span_id)) for span in stays if span.parent]
    assert sorted(above, key=str) == sorted(
        [("workflows.run", None), ("workflows.webhook", None), *[("workflows.webhook", "workflows.step")] * 2,
         ("workflows.run", "workflows.run"), ("workflows.step", "workflows.run"),
         ("workflows.branch", "workflows.step"), ("workflows.step", "workflows.run"),
         ("workflows.step", "workflows.run"), *[("workflows.map.item", "workflows.run")] * 2,
         *[("workflows.step", "workflows.map.item")] * 2], key=str,
    )  # fmt: skip
    runs = [span for span in stays if span.name == "workflows.run"]
    child, run = sorted(runs, key=lambda span: (span.attributes or {})["run_id"] == run_id)
    assert (child.attributes or {})["mode"] == "child"
    assert dict(run.attributes or {}) == {"run_id": run_id, "mode": "sync", resumed: False}
    [call] = [span for span in finished("workflows.step") if (span.attributes or {})["step_id"] == "call"]
    assert dict(call.attributes or {}) == {
        "run_id": run_id, "step_id": "call", "type": "webhook", "attempt": 1, "workflows.step.timeout_seconds": 20,
    }  # fmt: skip
    assert [event.name for event in call.events] == ["step_started"]
    urls = [str((span.attributes or {})["workflows.webhook.url"]) for span in finished("workflows.webhook")]
    assert sorted(urls) == [f"{receiver.url}/below", f"{receiver.url}/call", f"{receiver.url}/end"], (
        "and nothing of the query"
    )
    traced = {f"00-{TRACE}-{span.context.span_id:016x}-01" for span in finished("workflows.webhook") if span.context}
    assert {heard["/below"], heard["/call?key=hidden"], heard["/end"]} == traced


async def test_a_trace_goes_through_where_nobody_traces(database_url: str) -> None:
    with receiving() as receiver:
        async with serving(database_url, **OPEN) as served:
            sent = {"definition": await definition(served.client, receiver.url)}
            for header in (ABOVE, "nonsense"):
                await served.client.post(f"{BASE}/run?mode=sync", json=sent, headers={"traceparent": header})
            await wait_until_async(lambda: len(receiver.received) == 6)

    heard = sorted(str(got.headers.get("traceparent")) for got in receiver.received)
    assert heard == [*[ABOVE] * 3, *["None"] * 3]


def test_spans_are_made_where_the_environment_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not wanted({"PATH": "x"})
    assert not wanted({"OTEL_SERVICE_NAME": "x", "OTEL_SDK_DISABLED": "true"})
    assert not wanted({"OTEL_TRACES_EXPORTER": "none"})
    assert wanted({"OTEL_SERVICE_NAME": "x"})
    assert spans.open_spans() is NO_SPANS
    monkeypatch.setenv("OTEL_SERVICE_NAME", "windlass")
    assert spans.open_spans().enabled
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"windlass\[otel\]"):
        spans.open_spans()
    for text in (None, "", "00-0", ABOVE.upper(), f"00-{'0' * 32}-00f067aa0ba902b7-01"):
        assert checked_traceparent(text) is None
