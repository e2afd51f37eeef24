"""Schemathesis reads the OpenAPI document and tries to find what the service does not keep of it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import BIN, ROOT
from tests.support.service import running_asgi

CONFIGURATION = ROOT / "tests" / "http" / "schemathesis.toml"
SEED = 20261122
# What the document says of bounds and types is tried in any case, example or not (the phase "coverage").
PARTS = {
    "records and runs": (["--exclude-path-regex", "^/api/v1"], 5),
    "workflows": (["--include-path-regex", "^/api/v1"], 2),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_found(tmp_path: Path, part: str) -> None:
    which, examples = PARTS[part]
    # A queue that the tests pause lets processing wait, not so long that it counts as slow.
    with running_asgi(tmp_path, environment={"PROCESS_WAIT_SECONDS": "0.5"}) as service:
        done = subprocess.run(
            [
                BIN / "st", "--config-file", CONFIGURATION, "run", f"{service.url}/openapi.json",
                *which, "--checks", "all", "--max-examples", str(examples), "--seed", str(SEED),
                "--generation-database", "none", "--continue-on-failure", "--no-color",
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": ""},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip

        log = (tmp_path / "service.log").read_text()
        assert done.returncode == 0, done.stdout[-12_000:] + done.stderr
        assert "unhandled exception" not in log
        assert '"status_code":20' in log
