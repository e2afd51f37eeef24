"""Prometheus accepts what the service tells about itself."""

import subprocess

import httpx2

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


def test_promtool_would_find_a_bad_name(promtool: str) -> None:
    done = _check(promtool, "# HELP jobs Jobs.\n# TYPE jobs counter\njobs 1\n")

    assert done.returncode != 0
    assert "_total" in done.stdout + done.stderr
