"""The Helm chart and the units of systemd: linted, rendered, and in agreement with the program that they start."""

from __future__ import annotations

import configparser
import re
import shlex
from typing import Any

import helm_python
import pytest
import typer
import yaml

from tests.support.paths import ROOT
from windlass.cli.main import app
from windlass.settings import Settings
from windlass.storage.explain import ADVICE

CHART = ROOT / "deploy" / "helm" / "windlass"
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
EVERYTHING = {
    "worker": {
        "apps": ["shop.flows"], "queues": ["urgent", "default"],
        "autoscaling": {"enabled": True, "prometheus": "http://prometheus:9090"},
    },
    "ingress": {"enabled": True, "className": "nginx", "host": "windlass.example", "tlsSecret": "tls"},
    "monitoring": {"enabled": True},
    "imagePullSecrets": [{"name": "pull"}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "batch", "operator": "Exists"}],
    "podAnnotations": {"team": "flows"},
    "image": {"repository": "registry.example/windlass", "tag": "9"},
}  # fmt: skip


def rendered(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The objects of a release, by kind and name."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="shop", namespace="flows")
    documents = [one for name, text in files.items() if name.endswith(".yaml") for one in yaml.safe_load_all(text)]
    return {f"{one['kind']} {one['metadata']['name']}": one for one in documents if one}


def parsed(arguments: list[str]) -> dict[str, Any]:
    """What our command line makes of a command, which is not carried out."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    context = command.make_context("windlass", list(arguments))
    found: dict[str, Any] = context.params
    return found


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_chart_is_linted_and_rendered(values: dict[str, Any]) -> None:
    report = helm_python.lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [found for found in report["messages"] if found["severity"] > 1] == []

    objects = rendered(values)
    pods = {name: one["spec"]["template"] for name, one in objects.items() if "template" in one.get("spec", {})}
    assert {"Deployment shop-server", "Deployment shop-worker", "Job shop-migrate"} == pods.keys()
    for name, pod in pods.items():
        [container] = pod["spec"]["containers"]
        assert parsed(container["args"]) is not None
        assert {one["name"] for one in container["env"]} - {"TMPDIR"} <= {
            field.upper() for field in Settings.model_fields
        }
        assert container["envFrom"] == [{"secretRef": {"name": "windlass"}}]
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        if not name.startswith("Job"):
            probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]
            assert probes == ["/healthz", "/healthz", "/readyz"]
            selector = objects[name]["spec"]["selector"]["matchLabels"]
            assert selector.items() <= pod["metadata"]["labels"].items()
    service = objects["Service shop"]["spec"]["selector"]
    assert service.items() <= pods["Deployment shop-server"]["metadata"]["labels"].items()
    assert not service.items() <= pods["Deployment shop-worker"]["metadata"]["labels"].items()
    hooks = objects["Job shop-migrate"]["metadata"]["annotations"]["helm.sh/hook"]
    assert hooks == "pre-install,pre-upgrade"


def test_everything_that_can_be_switched_on_is_there() -> None:
    objects = rendered(EVERYTHING)

    worker = objects["Deployment shop-worker"]["spec"]
    [container] = worker["template"]["spec"]["containers"]
    said = parsed(container["args"])
    assert (said["app_modules"] if "app_modules" in said else said["app"]) == ["shop.flows"]
    assert said["queue"] == ["urgent", "default"]
    assert container["image"] == "registry.example/windlass:9"
    assert "replicas" not in worker
    [trigger] = objects["ScaledObject shop-worker"]["spec"]["triggers"]
    [reasons] = re.findall(r'windlass_runs_waiting\{reason=~"([^"]+)"\}', trigger["metadata"]["query"])
    assert set(reasons.split("|")) <= ADVICE.keys()
    [rule] = objects["Ingress shop"]["spec"]["rules"]
    assert rule["host"] == "windlass.example"
    assert objects["PodMonitor shop"]["spec"]["podMetricsEndpoints"] == [{"port": "http", "path": "/metrics"}]
    assert "replicas" in rendered({})["Deployment shop-worker"]["spec"]


@pytest.mark.parametrize(
    "values", [{"workers": 3}, {"worker": {"replicas": -1}}, {"settings": {"log level": "x"}}, {"secret": ""}]
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmError):
        chart.validate_schema(values)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_start_what_there_is(unit: Any) -> None:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(unit.read_text())

    service = read["Service"]
    commands = [shlex.split(service[name]) for name in ("ExecStartPre", "ExecStart") if name in service]
    assert all(program == "/opt/windlass/bin/windlass" for program, *_ in commands)
    for _, *arguments in commands:
        parsed(arguments)
    assert (service["User"], service["Restart"], service["NoNewPrivileges"]) == ("windlass", "always", "yes")
    assert int(service["TimeoutStopSec"]) >= 30
    assert read["Install"]["WantedBy"] == "multi-user.target"
