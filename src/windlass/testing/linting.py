"""The lint: reads the source of workflows, and of the functions of the same module that they call.

It knows names, not values: what it finds is what the text says. ``# windlass: allow=clock`` on a line (or on the
``def`` of its function) is how a place says that it knows better.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from windlass.kernel.errors import Invalid
from windlass.testing.names import Module, called_names, local_names, shown
from windlass.testing.rules import BY_NAME, GLOBALS, SETS, SWALLOWS, Finding, Rule
from windlass.testing.sets import iterations
from windlass.testing.words import MUTATING, rule_of, rule_of_method

_ALLOW = re.compile(r"#\s*windlass:\s*allow=([\w,\- ]+)")
_CANCELLED = {"BaseException", "GeneratorExit", "asyncio.CancelledError", "asyncio.exceptions.CancelledError"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lint(*paths: str | Path) -> list[Finding]:
    """Look through files, and all Python files in folders.

    Raises:
        Invalid: there is no such file, or it is no Python.
    """
    findings = []
    for path in _files(paths):
        try:
            findings.extend(lint_source(path.read_text(encoding="utf-8"), str(path)))
        except (SyntaxError, UnicodeDecodeError) as error:
            raise Invalid(f"{path} is no Python: {error}", field="path") from error
    return findings


def _files(paths: Iterable[str | Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.exists():
            raise Invalid(f"there is no {path}", field="path")
        if path.is_dir():
            hidden = (file for file in sorted(path.rglob("*.py")))
            yield from (
                file for file in hidden if not any(part.startswith(".") for part in file.parts[len(path.parts) :])
            )
        else:
            yield path


def lint_source(text: str, file: str) -> list[Finding]:
    """Look through the text of one module."""
    module = Module(ast.parse(text))
    roots = [function for function in module.functions if module.is_workflow(function)]
    return _look(roots, module, text.splitlines(), file)


def lint_function(fn: Callable[..., Any]) -> list[Finding]:
    """Look through one workflow's function where its source can be found."""
    fn = inspect.unwrap(fn)
    try:
        file = inspect.getsourcefile(fn) or ""
        lines, first = inspect.getsourcelines(fn)
        text = Path(file).read_text(encoding="utf-8")
        module = Module(ast.parse(text))
    except (OSError, TypeError, SyntaxError):
        return []
    last = first + len(lines)
    roots = [found for found in module.functions if found.name == fn.__name__ and first <= found.lineno < last]
    return _look(roots[:1], module, text.splitlines(), file)


def _look(roots: Sequence[Function], module: Module, lines: Sequence[str], file: str) -> list[Finding]:
    findings: dict[tuple[int, str], Finding] = {}
    seen: set[ast.AST] = set()
    waiting = list(roots)
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        allowed = _allowed(lines, function.lineno)
        for node, rule, what in Look(function, module).findings():
            line = getattr(node, "lineno", function.lineno)
            if rule.code not in allowed | _allowed(lines, line):
                findings.setdefault((line, rule.code), Finding(file, line, rule, what))
        waiting.extend(module.helpers(called_names(function)))
    return sorted(findings.values(), key=lambda finding: finding.line)


def _allowed(lines: Sequence[str], line: int) -> set[str]:
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    found = _ALLOW.search(text)
    names = [] if found is None else [name.strip() for name in found[1].split(",")]
    return {BY_NAME[name].code for name in names if name in BY_NAME}


class Look:
    """One function being read; functions inside it belong to it, unless they are steps."""

    def __init__(self, function: Function, module: Module) -> None:
        self._function, self._module = function, module
        self._local = local_names(function)
        self._nodes = [*module.own_nodes(function)]

    def findings(self) -> Iterator[tuple[ast.AST, Rule, str]]:
        """Yield what breaks a rule."""
        for node in self._nodes:
            if isinstance(node, ast.Call):
                yield from self._call(node)
            elif isinstance(node, ast.Attribute | ast.Name):
                yield from self._name(node)
            elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
                yield from self._write(node)
            elif isinstance(node, ast.Try):
                yield from self._try(node)
        for node in iterations(self._function, self._nodes):
            yield node, SETS, "goes through a set"

    def _dotted(self, node: ast.AST) -> str | None:
        return self._module.dotted(node, self._local)

    def _call(self, node: ast.Call) -> Iterator[tuple[ast.AST, Rule, str]]:
        name = self._dotted(node.func)
        rule = None if name is None else rule_of(name, bare=not node.args and not node.keywords)
        if rule is None and isinstance(node.func, ast.Attribute):
            rule = rule_of_method(node.func.attr)
            yield from self._mutates(node.func)
        if rule is not None:
            yield node, rule, f"{name or shown(node.func)}()"
        if name in {"contextlib.suppress", "suppress"} and any(self._dotted(arg) in _CANCELLED for arg in node.args):
            yield node, SWALLOWS, "suppresses a cancellation"

    def _name(self, node: ast.Attribute | ast.Name) -> Iterator[tuple[ast.AST, Rule, str]]:
        if self._dotted(node) == "os.environ":
            yield node, BY_NAME["environment"], "os.environ"

    def _mutates(self, method: ast.Attribute) -> Iterator[tuple[ast.AST, Rule, str]]:
        base = method.value
        if method.attr in MUTATING and isinstance(base, ast.Name) and self._is_global(base.id):
            yield method, GLOBALS, f"{base.id}.{method.attr}() changes a global"

    def _write(self, node: ast.AST) -> Iterator[tuple[ast.AST, Rule, str]]:
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]  # type: ignore[attr-defined]
        declared = {name for each in self._nodes if isinstance(each, ast.Global) for name in each.names}
        for target in targets:
            base = target
            while isinstance(base, ast.Subscript | ast.Attribute):
                base = base.value
            if not isinstance(base, ast.Name):
                continue
            if base.id in declared or (base is not target and self._is_global(base.id)):
                yield node, GLOBALS, f"changes the global {base.id}"

    def _is_global(self, name: str) -> bool:
        return name not in self._local and name in self._module.values

    def _try(self, node: ast.Try) -> Iterator[tuple[ast.AST, Rule, str]]:
        for handler in node.handlers:
            kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            wide = [kind for kind in kinds if kind is None or self._dotted(kind) in _CANCELLED]
            again = any(isinstance(inner, ast.Raise) for inner in ast.walk(handler))
            if wide and not again:
                yield handler, SWALLOWS, "except" if wide[0] is None else f"except {shown(wide[0])}"
        for statement in node.finalbody:
            for inner in ast.walk(statement):
                if isinstance(inner, ast.Return):
                    yield inner, SWALLOWS, "return in a finally"
