"""Look at the project's own files: which are tracked, what their syntax trees say."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from tests.support.paths import ROOT, SOURCE


@cache
def tracked_files() -> list[Path]:
    """Every file under version control that is there, whoever owns the checkout."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


@cache
def source_files() -> list[Path]:
    """Every Python file of the package, tracked or not yet."""
    return sorted(SOURCE.rglob("*.py"))


@lru_cache(maxsize=1)  # all of them would take 150 MB; whoever asks several things asks them of one file at a time
def tree(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(), filename=str(path))


def module_name(path: Path) -> str:
    """The dotted name of a file of the package, for example `windlass.kernel.clock`."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name: str, *packages: str) -> bool:
    """True when the module `name` is one of `packages` or inside one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute module name of every import in a file, also those inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every call in a file, with names given by `from x import y` written in full."""
    known = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            head, dot, rest = ast.unparse(node.func).partition(".")
            yield node.lineno, known.get(head, head) + dot + rest
