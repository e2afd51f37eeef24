"""Where a function goes through a set in its own order, which differs between processes."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

_MAKERS = {"set", "frozenset"}
_ORDERED = {"list", "tuple", "enumerate", "iter", "next", "zip", "map", "gather", "reversed", "dict"}
"""Functions whose result has the order of what they are given."""
_JOINS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_SAME = {"union", "intersection", "difference", "symmetric_difference", "copy"}
_UNORDERED = {"sorted", "min", "max", "any", "all", "sum", "len", "set", "frozenset", "Counter"}


def iterations(function: ast.FunctionDef | ast.AsyncFunctionDef, nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the places."""
    nodes = [*nodes]
    names = _annotated(function)
    for _ in range(2):  # a name may be bound to another one
        names |= {target for node in nodes for target in _bound(node, names)}
    again = {target.id for node in nodes for target in _rebound(node, names)}
    names -= again
    harmless = {
        id(argument)
        for node in nodes
        if isinstance(node, ast.Call) and _called(node) in _UNORDERED
        for argument in node.args
    }
    for node in nodes:
        if isinstance(node, ast.For | ast.AsyncFor) and _is_set(node.iter, names):
            yield node.iter
        elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp) and id(node) not in harmless:
            yield from (each.iter for each in node.generators if _is_set(each.iter, names))
        elif isinstance(node, ast.Call):
            yield from _call(node, names)


def _call(node: ast.Call, names: set[str]) -> Iterator[ast.AST]:
    called = _called(node)
    for argument in node.args:
        inner = argument.value if isinstance(argument, ast.Starred) else argument
        if _is_set(inner, names) and (
            (isinstance(argument, ast.Starred) and called not in _UNORDERED) or called in _ORDERED or called == "join"
        ):
            yield argument
    pops = isinstance(node.func, ast.Attribute) and node.func.attr == "pop" and not node.args
    if pops and isinstance(node.func, ast.Attribute) and _is_set(node.func.value, names):
        yield node


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _annotated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = [*function.args.args, *function.args.kwonlyargs, *function.args.posonlyargs]
    return {each.arg for each in arguments if each.annotation is not None and _says_set(each.annotation)}


def _says_set(annotation: ast.expr) -> bool:
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(base, ast.Name) and base.id in _MAKERS


def _bound(node: ast.AST, names: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Assign) and _is_set(node.value, names):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _says_set(node.annotation):
        yield node.target.id


def _rebound(node: ast.AST, names: set[str]) -> Iterator[ast.Name]:
    """Yield names that are bound to something else too: nobody can tell what they are."""
    if isinstance(node, ast.Assign) and not _is_set(node.value, names):
        yield from (target for target in node.targets if isinstance(target, ast.Name) and target.id in names)


def _is_set(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return node.func.id in _MAKERS
        return isinstance(node.func, ast.Attribute) and node.func.attr in _SAME and _is_set(node.func.value, names)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, _JOINS) and (_is_set(node.left, names) or _is_set(node.right, names))
    return False
