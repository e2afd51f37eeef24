"""Where things are in the repository; tests never rely on the current folder."""

from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "windlass"
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
BIN = ROOT / ".venv" / "bin"


def package_folder(name: str) -> Path:
    """Return where the package `name` is installed, without running any of its code."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{name} is not installed; run make setup")
    return Path(spec.origin).parent
