"""Names in a module's source: what they were imported as, which functions there are, which of them are workflows."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef

_WORKFLOWS = {"windlass.workflow", "windlass.engine.workflow.workflow"}
_STEPS = {"windlass.step", "windlass.engine.step.step"}
_BUILTINS = {"open", "input", "BaseException", "GeneratorExit", "suppress"}


class Module:
    """One module. ``values`` are the names that it binds to something else than functions, classes and modules."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.imported: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.imported[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self.imported.update(
                    {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                )
        self.functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
        self.values = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
            for target in ast.walk(node)
            if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
        }
        self._steps = {node for node in self.functions if self._decorated(node, _STEPS)}
        self._workflows = {node for node in self.functions if self._decorated(node, _WORKFLOWS)}
        self._plain = {
            node.name: node
            for node in tree.body
            if isinstance(node, Function) and node not in self._steps and node not in self._workflows
        }

    def _decorated(self, function: Function, names: set[str]) -> bool:
        for decorator in function.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.dotted(called, frozenset()) in names:
                return True
        return False

    def is_workflow(self, function: Function) -> bool:
        """Say whether a function is a workflow."""
        return function in self._workflows

    def helpers(self, names: Iterable[str]) -> list[Function]:
        """Return the plain functions of these names."""
        return [self._plain[name] for name in names if name in self._plain]

    def own_nodes(self, function: Function) -> Iterator[ast.AST]:
        """Yield what a function consists of: without its decorators and annotations, and the steps inside it."""
        waiting: list[ast.AST] = [*reversed(function.body)]
        while waiting:
            node = waiting.pop()
            yield node
            if isinstance(node, Function):
                if node not in self._steps and node not in self._workflows:
                    waiting.extend(reversed(node.body))
                continue
            waiting.extend(
                child
                for name, value in ast.iter_fields(node)
                if name != "annotation"
                for child in (reversed(value) if isinstance(value, list) else [value])
                if isinstance(child, ast.AST)
            )

    def dotted(self, node: ast.AST | None, local: Iterable[str]) -> str | None:
        """Return the full name of what an expression names, by the imports: ``dt.now`` → ``datetime.datetime.now``."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in local:
            return None
        if node.id not in self.imported and (node.id not in _BUILTINS or node.id in self._defined()):
            return None
        return ".".join([self.imported.get(node.id, node.id), *reversed(parts)])

    def _defined(self) -> set[str]:
        return {node.name for node in self.tree.body if isinstance(node, Function | ast.ClassDef)} | self.values


def local_names(function: Function) -> frozenset[str]:
    """Return the names that a function, or one inside it, binds itself; imports do not count."""
    names = set()
    declared = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Global):
            declared.update(node.names)
        elif isinstance(node, Function) and node is not function:
            names.add(node.name)
    return frozenset(names - declared)


def called_names(function: Function) -> list[str]:
    """Return the plain names that a function calls or hands on, as ``windlass.map`` gets them."""
    return [node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]


def shown(node: ast.AST) -> str:
    """Return how to speak of an expression: in one short line."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 40 else f"…{text[-39:]}"
