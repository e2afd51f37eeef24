"""Prometheus accepts what the service tells about itself."""

import json
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.support.paths import ROOT
from tests.support.service import Service


def _check(promtool: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)


def test_the_metrics_pass_promtool(promtool: str, service: Service) -> None:
    body = {"source": "test", "category": "metrics", "payload": {"priority": 3}}
    assert httpx2.post(f"{service.url}/records", json=body).status_code == httpx2.codes.CREATED

    metrics = httpx2.get(f"{service.url}/metrics").text
    done = _check(promtool, metrics)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "# TYPE" in metrics


def test_the_figures_of_workflows_pass_promtool_but_for_the_unit_in_their_names(
    promtool: str, service: Service
) -> None:
    body = {"definition": {"name": "x", "steps": [{"id": "a", "type": "log", "config": {"message": "hello"}}]}}
    run = httpx2.post(f"{service.url}/api/v1/workflows/run?mode=sync", json=body)
    assert run.json()["status"] == "succeeded"

    done = _check(promtool, httpx2.get(f"{service.url}/metrics").text)

    said = (done.stdout + done.stderr).strip().splitlines()
    assert {line.split()[0] for line in said} <= {"workflows_run_duration_ms", "workflows_step_duration_ms"}, said


@pytest.mark.parametrize("of", ["workflows", "providers"])
def test_the_alert_rules_pass_promtool_and_their_own_tests(promtool: str, of: str) -> None:
    folder = ROOT / "deploy" / "prometheus"
    for command in (["check", "rules", f"{of}.rules.yml"], ["test", "rules", f"{of}.test.yml"]):
        done = subprocess.run([promtool, *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("of", ["workflows", "providers"])
def test_the_panels_ask_what_prometheus_understands(promtool: str, of: str, tmp_path: Path) -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / f"{of}.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(asked)]
    file = tmp_path / "panels.yml"

    def check(some: list[dict[str, str]]) -> subprocess.CompletedProcess[str]:
        file.write_text(json.dumps({"groups": [{"name": of, "rules": some}]}))
        command = [promtool, "check", "rules", "--lint=none", str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = check(rules)
    assert done.returncode == 0, done.stdout + done.stderr
    seed = "rate(provider_service_requests_total[5m]) by (endpoint)"
    assert "unexpected <by>" in check([{"record": "panel:x", "expr": seed}]).stderr


def test_promtool_would_find_a_bad_name(promtool: str) -> None:
    done = _check(promtool, "# HELP jobs Jobs.\n# TYPE jobs counter\njobs 1\n")

    assert done.returncode != 0
    assert "_total" in done.stdout + done.stderr
