"""Installs the peers into ``.bench/`` of the repository, each in an environment of its own, once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".bench"
_PEERS = ROOT / "benchmarks" / "peers"


@dataclass(frozen=True)
class Peers:
    """Where the peers are: an interpreter each, and Restate's server."""

    dbos: Path
    restate: Path
    restate_server: Path


def install(say: str = "installing") -> Peers:
    """Install what is not there yet; needs the package indexes only the first time."""
    return Peers(
        dbos=_environment("dbos", say),
        restate=_environment("restate", say),
        restate_server=_restate_server(say),
    )


def _environment(name: str, say: str) -> Path:
    """Make a virtual environment with the packages of ``peers/<name>.txt`` and return its interpreter."""
    folder, wanted = CACHE / name, _PEERS / f"{name}.txt"
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        print(f"{say} {name} into {folder.relative_to(ROOT)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(wanted),
        ]
        subprocess.run(pip, check=True)
        stamp.write_text(wanted.read_text())
    return python


def _restate_server(say: str) -> Path:
    """Install Restate's server from npm, without running any package's scripts; return the binary."""
    folder, wanted = CACHE / "npm", (_PEERS / "restate.npm.txt").read_text().strip()
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("Restate's server comes from npm, which is not installed (or use --without-peers)")
        print(f"{say} {wanted} into {folder.relative_to(ROOT)}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--ignore-scripts",
            "--no-save",
            "--no-fund",
            "--no-audit",
            "--loglevel=error",
        ]
        subprocess.run([*command, "--prefix", str(folder), wanted], check=True)
        stamp.write_text(wanted)
    (binary,) = folder.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")
    return binary
