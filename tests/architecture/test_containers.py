"""The image and the compose file pass their linters and keep their promises, without a Docker engine."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import BIN, ROOT
from windlass.settings import Settings

DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"
PROVIDERS = ROOT / "deploy" / "providers" / "docker-compose.yml"


def _hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "hadolint", path], capture_output=True, text=True, check=False)


def _compose_schema(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the compose file, anchors resolved."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def test_the_image_passes_hadolint(tmp_path: Path) -> None:
    done = _hadolint(DOCKERFILE)
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM python:latest\nRUN cd /x && pip install windlass\n")

    assert done.returncode == 0, done.stdout
    assert "DL3007" in _hadolint(careless).stdout


def test_the_image_runs_as_a_user_and_checks_its_health() -> None:
    final_stage = DOCKERFILE.read_text().rpartition("\nFROM ")[2]

    assert re.search(r"^USER [1-9]\d*$", final_stage, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n.*/health", final_stage, re.MULTILINE)
    assert "DATABASE_URL" in final_stage


def test_the_context_is_what_the_image_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert sorted(" ".join(copied).split()) == sorted(allowed)
    assert all((ROOT / name).exists() for name in allowed)


def test_the_compose_file_fits_its_schema(tmp_path: Path) -> None:
    done = _compose_schema(COMPOSE)
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("healthcheck:", "health_check:"))

    assert done.returncode == 0, done.stdout
    assert "health_check" in _compose_schema(wrong).stdout


def test_every_service_waits_for_a_healthy_database(services: dict[str, Any]) -> None:
    assert set(services) == {"migrate", "windlass", "worker", "postgres"}
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    for name in ["windlass", "worker"]:
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert services[name]["environment"]["DATABASE_URL"].startswith("postgresql://")
    assert services["postgres"]["healthcheck"]["test"]
    assert services["postgres"]["volumes"]


def test_the_provider_registration_alone_has_the_names_of_its_runbook() -> None:
    done = _compose_schema(PROVIDERS)
    assert done.returncode == 0, done.stdout
    found = yaml.safe_load(PROVIDERS.read_text())
    services = found["services"]
    service, logs = services["provider-registration-service"], {"max-size": "10m", "max-file": "5"}
    for name in ("provider-registration-service", "provider-db", "billing-service"):
        assert services[name]["container_name"] == name
        assert services[name]["logging"] == {"driver": "json-file", "options": logs}
        assert services[name]["networks"] == ["gan-shmuel-network"]
        assert services[name]["healthcheck"]["test"]
    assert service["deploy"]["resources"]["limits"]["memory"] == "512M"
    assert service["environment"]["BILLING_SERVICE_URL"] == "${BILLING_SERVICE_URL:-http://billing-service:5002}"
    assert Settings(serve_only="providers").port == int(service["ports"][0].rpartition(":")[2])
    [script] = services["backup"]["entrypoint"]
    assert (PROVIDERS.parent / Path(script).name).stat().st_mode & 0o111
    mounted, _, _ = services["backup"]["volumes"][0].partition(":")
    assert (mounted, str(Path(script).parent)) == (".", services["backup"]["volumes"][0].split(":")[1])


@pytest.mark.parametrize("path", [COMPOSE, PROVIDERS], ids=["all", "providers"])
def test_what_everybody_may_log_in_to_is_for_this_machine(path: Path) -> None:
    services = yaml.safe_load(path.read_text())["services"]
    published = {name: port for name, one in services.items() for port in one.get("ports", ())}
    assert published
    assert [name for name, port in published.items() if not port.startswith("127.0.0.1:")] == []
