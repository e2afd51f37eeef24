"""The syntax of templates: what may stand in one, counters where work is done, and the names it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from windlass.contexts.workflows.filters import LIBRARY, OWN_FILTERS, TESTED

MOST_NODES = 2_000
MOST_DEPTH = 60
MOST_LOOPS = 10
CONCAT, BOUNDED, WEIGHED = " concat", " bounded", " weighed"
"""Filters put where work is done; the space keeps templates from naming them."""

_NODES = (
    nodes.Template | nodes.Output | nodes.TemplateData | nodes.For | nodes.If | nodes.Assign | nodes.AssignBlock
    | nodes.FilterBlock | nodes.With | nodes.Name | nodes.NSRef | nodes.Const | nodes.Tuple | nodes.List | nodes.Dict
    | nodes.Pair | nodes.Keyword | nodes.CondExpr | nodes.Filter | nodes.Test | nodes.Call | nodes.Getattr
    | nodes.Getitem | nodes.Slice | nodes.Concat | nodes.Compare | nodes.Operand | nodes.BinExpr | nodes.UnaryExpr
)  # fmt: skip


class Refused(Exception):
    """A template does what no template may; the text says what."""


class Guard(NodeTransformer):
    """Refuse statements that are not for templates, and put counters where work is done."""

    def __init__(self) -> None:
        self.seen = 0
        self.depth = 0
        self.loops = 0

    def generic_visit(self, node: nodes.Node, *args: Any, **options: Any) -> nodes.Node:
        """Refuse what is not for templates, and what is too much."""
        self.seen += 1
        self.depth += 1
        if not isinstance(node, _NODES):
            raise Refused(f"{type(node).__name__.lower()} is not for templates here")
        if self.seen > MOST_NODES or self.depth > MOST_DEPTH:
            raise Refused("it is too large or too deeply nested")
        if isinstance(node, nodes.Filter | nodes.Test):
            self._check_name(node)
        done = super().generic_visit(node, *args, **options)
        self.depth -= 1
        return done

    @staticmethod
    def _check_name(node: nodes.Filter | nodes.Test) -> None:
        known = {*LIBRARY, *OWN_FILTERS} if isinstance(node, nodes.Filter) else TESTED
        if node.name not in known:
            raise Refused(f"there is no {type(node).__name__.lower()} {node.name}")

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802  named by the library
        """Let ``~`` be charged for."""
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), CONCAT)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Let each turn be charged for the size of the body."""
        if node.recursive:
            raise Refused("a recursive loop is not for templates here")
        self.loops += 1
        if self.loops > MOST_LOOPS:
            raise Refused(f"more than {MOST_LOOPS} loops within each other")
        before = self.seen
        self.generic_visit(node)
        self.loops -= 1
        literal = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        node.iter = _filter(node.iter, BOUNDED, nodes.Const(2 * (self.seen - before) + literal // 8))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Let what is compared be charged for."""
        self.generic_visit(node)
        node.expr = _filter(node.expr, WEIGHED)
        for operand in node.ops:
            operand.expr = _filter(operand.expr, WEIGHED)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Let a slice be charged for."""
        self.generic_visit(node)
        return _filter(node, WEIGHED) if isinstance(node.arg, nodes.Slice) else node


def _filter(node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def guarded(tree: nodes.Template) -> nodes.Template:
    """Return a template's syntax with its counters; it is changed on the way.

    Raises:
        Refused: it does what no template may.
    """
    done = Guard().visit(tree)
    assert isinstance(done, nodes.Template)  # noqa: S101  its root stays what it is
    return done


def only(tree: nodes.Template) -> nodes.Template | None:
    """Return a template that evaluates the only expression of another; None when that is not all there is to it."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    [*parts] = tree.body[0].nodes
    if len(parts) != 1 or isinstance(parts[0], nodes.TemplateData):
        return None
    return nodes.Template([nodes.Assign(nodes.Name("result", "store"), parts[0], lineno=1)], lineno=1)


def variables(tree: nodes.Template) -> Iterable[tuple[str, ...]]:
    """Yield the dotted paths that an expression reads, without what the template sets itself."""
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"} | {
        "loop",
        "range",
        "dict",
        "namespace",
    }
    inner = set()
    for node in [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem), *tree.find_all(nodes.Name)]:
        chain: list[str] = []
        step: nodes.Node = node
        while isinstance(step, nodes.Getattr | nodes.Getitem):
            if isinstance(step, nodes.Getattr):
                chain.insert(0, step.attr)
            elif isinstance(step.arg, nodes.Const):
                chain.insert(0, str(step.arg.value))
            else:
                chain.clear()
            inner.add(id(step.node))
            step = step.node
        if isinstance(step, nodes.Name) and step.name not in own and id(node) not in inner:
            yield (step.name, *chain)
