"""Every figure that the alert rules and the dashboard ask for is one that a running service gives."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.support.apps import serving
from tests.support.definitions import definition, log
from tests.support.demo_billing import billing
from tests.support.paths import DOCS, ROOT
from tests.support.waiting import wait_until_async
from windlass.contexts.providers.api import Approved
from windlass.kernel.actors import Actor

RULES = sorted((ROOT / "deploy" / "prometheus").glob("*.rules.yml"))
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
ALERTS = {
    "workflows": {
        "WorkflowsHighRunFailureRate", "WorkflowsWebhookFailures", "WorkflowsWebhookBlocked", "WorkflowsQueueDepthHigh",
        "WorkflowsRunLatencyHigh", "WorkflowsStepLatencyHigh",
    },
    "providers": {
        "ProviderServiceDown", "ProviderServiceHighErrorRate", "ProviderServiceDatabaseDown", "ProviderBillingFailing",
    },
}  # fmt: skip
ADMIN = Actor("1", "ann", role="admin")
OF_PROMETHEUS = {"job", "instance"}
"""Labels that it adds itself."""
_LABELS = re.compile(r"(\w+)(?:=~|!=|!~|=)\"")


def rules(path: Path) -> list[dict[str, Any]]:
    [group] = yaml.safe_load(path.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def asked(path: Path) -> list[str]:
    """Every expression in a file."""
    if path in RULES:
        return [rule["expr"] for rule in rules(path)]
    board = json.loads(path.read_text())
    own = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return own + [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]


def names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:workflows|windlass|app|provider_service)_\w+", expression))


async def _figures_of_work(database_url: str) -> str:
    """What a service says that has run workflows, approved a candidate and told of it."""
    with billing() as peer:
        # A webhook to this machine is blocked, which is counted as a delivery.
        settings: dict[str, Any] = {
            "billing_service_url": peer.url,
            "providers_webhook_url": "http://127.0.0.1/approved",
        }
        async with serving(database_url, **settings) as served:

            async def run(step: dict[str, Any]) -> None:
                body = {"definition": definition([step])}
                answer: httpx2.Response = await served.client.post("/api/v1/workflows/run?mode=sync", json=body)
                assert answer.status_code == 200, answer.text

            async def figures() -> str | None:
                told = (await served.client.get("/metrics")).text
                return told if "workflows_webhook_deliveries_total{" in told else None

            await run(log("a"))
            await run({"id": "bad", "type": "prompt", "config": {"template": "{{ nobody.knows }}"}, "retry": 0})
            assert (await served.client.get("/health")).status_code == 200
            company = {
                "company_name": "Figs", "contact_email": "figs@example.com", "products": ["apples"],
                "truck_count": 1, "capacity_tons_per_day": 1,
            }  # fmt: skip
            made = await served.client.post("/candidates", json=company)
            approvals = served.inside.providers.approvals
            done = await approvals.approve(ADMIN, made.json()["candidate_id"], version=None, wait=True)
            assert isinstance(done, Approved)
            found = await wait_until_async(figures)
            assert found is not None
            return found


async def test_every_name_and_label_asked_for_is_emitted(migrated_sqlite_url: str) -> None:
    metrics = await _figures_of_work(migrated_sqlite_url)
    emitted = set(re.findall(r"^([a-z_]+)(?:{| )", metrics, re.MULTILINE))
    for path in [*RULES, *DASHBOARDS]:
        wanted = {name for expression in asked(path) for name in names(expression)}
        assert len(wanted) > 3
        assert wanted <= emitted, path.name
        for expression in asked(path):
            for name, labels in re.findall(r"\b((?:workflows|windlass|provider_service)_\w+){([^}]*)}", expression):
                line = next(line for line in metrics.splitlines() if re.match(rf"{name}[{{ ]", line))
                assert set(_LABELS.findall(labels)) - OF_PROMETHEUS <= set(re.findall(r'(\w+)="', line)), expression


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_every_alert_of_the_contract_is_there_and_explained(path: Path) -> None:
    of = path.name.partition(".")[0]
    assert {rule["alert"] for rule in rules(path)} == ALERTS[of]
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in rules(path))
    runbooks = "".join(page.read_text() for page in [DOCS / "runbook.md", *(DOCS / "runbooks").glob("*.md")])
    assert [alert for alert in sorted(ALERTS[of]) if f"`{alert}`" not in runbooks] == []


async def test_requests_of_the_provider_service_are_counted_by_template_and_it_says_when_it_stops(
    migrated_sqlite_url: str,
) -> None:
    def figures(text: str) -> dict[str, float]:
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("provider_service_"))
        return {name: float(value) for name, value in lines}

    small: dict[str, Any] = {
        "rate_limits_enabled": True,
        "rate_limits_writes": 2,
        "max_body_bytes": 1024,
        "rate_limits_login": 1,
    }
    async with serving(migrated_sqlite_url, **small) as served:
        meter = served.app.state.meter
        for path, times in (("/health", 2), ("/records", 1), ("/auth/nothing", 1)):
            for _ in range(times):
                await served.client.get(path)
        for path in ("/auth/login", "/auth/login", *["/api/providers/candidates"] * 3, "/candidates/x/approve"):
            await served.client.post(
                path, data={"username": "nobody", "password": "x" * (12 if "auth" in path else 2000)}
            )
        await served.client.delete("/candidates/x")
        told = figures((await served.client.get("/metrics")).text)
        assert told["provider_service_up"] == told["provider_service_database_up"] == 1
        counted = {name: value for name, value in told.items() if name.startswith("provider_service_requests_total{")}
        assert counted == {
            f'provider_service_requests_total{{endpoint="{path}",method="{method}",status_code="{status}"}}': times
            for path, method, status, times in (
                ("/health", "GET", 200, 2),
                ("/auth/login", "POST", 401, 1),
                ("/auth/login", "POST", 429, 1),
                ("/api/providers/candidates", "POST", 413, 2),
                ("/api/providers/candidates", "POST", 429, 1),
                ("/candidates/{candidate_id}/approve", "POST", 413, 1),
                ("/candidates/{candidate_id}", "DELETE", 405, 1),
            )
        }
        assert told['provider_service_request_duration_seconds_count{endpoint="/health",method="GET"}'] == 2
    stopping = figures(meter.text({}, None, database=False).decode())
    assert stopping["provider_service_up"] == stopping["provider_service_database_up"] == 0
