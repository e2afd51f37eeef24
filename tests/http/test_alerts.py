"""Every figure that the alert rules and the dashboard ask for is one that a running service gives."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.support.apps import Served, serving
from tests.support.definitions import definition, log
from tests.support.paths import DOCS, ROOT

RULES = ROOT / "deploy" / "prometheus" / "workflows.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "workflows.json"
ALERTS = {
    "WorkflowsHighRunFailureRate", "WorkflowsWebhookFailures", "WorkflowsWebhookBlocked", "WorkflowsQueueDepthHigh",
    "WorkflowsRunLatencyHigh", "WorkflowsStepLatencyHigh",
}  # fmt: skip
_LABELS = re.compile(r"(\w+)(?:=~|!=|!~|=)\"")


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def asked(path: Path) -> list[str]:
    """Every expression in a file."""
    if path == RULES:
        return [rule["expr"] for rule in rules()]
    board = json.loads(path.read_text())
    own = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return own + [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]


def names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:workflows|windlass|app)_\w+", expression))


@pytest.fixture
async def metrics(migrated_sqlite_url: str) -> str:
    """What a service says that has done something of every kind."""
    async with serving(migrated_sqlite_url) as served:
        await _do_everything(served)
        return (await served.client.get("/metrics")).text


async def _do_everything(served: Served) -> None:
    async def run(steps: list[Any], **fields: Any) -> None:
        body = {"definition": definition(steps, **fields)}
        answer: httpx2.Response = await served.client.post("/api/v1/workflows/run?mode=sync", json=body)
        assert answer.status_code == 200, answer.text

    await run([log("a")])
    await run([{"id": "bad", "type": "prompt", "config": {"template": "{{ nobody.knows }}"}, "retry": 0}])
    for status in ("failed", "blocked"):
        served.app.state.meter.count("workflows_webhook_deliveries", status=status, host="hooks.example.com")


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_name_asked_for_is_emitted(path: Path, metrics: str) -> None:
    emitted = set(re.findall(r"^([a-z_]+)(?:{| )", metrics, re.MULTILINE))
    wanted = {name for expression in asked(path) for name in names(expression)}

    assert len(wanted) > 5
    assert wanted <= emitted


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_label_asked_for_is_there(path: Path, metrics: str) -> None:
    for expression in asked(path):
        for name, labels in re.findall(r"\b((?:workflows|windlass)_\w+){([^}]*)}", expression):
            line = next(line for line in metrics.splitlines() if line.startswith(f"{name}{{"))
            assert set(_LABELS.findall(labels)) <= set(re.findall(r'(\w+)="', line)), expression


def test_every_alert_of_the_contract_is_there_and_explained() -> None:
    assert {rule["alert"] for rule in rules()} == ALERTS
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in rules())
    runbook = (DOCS / "runbooks" / "workflows.md").read_text()
    assert [alert for alert in sorted(ALERTS) if f"`{alert}`" not in runbook] == []
