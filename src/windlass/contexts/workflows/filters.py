"""Filters of templates whose library versions could be talked into work or memory without bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import orjson
from markupsafe import escape as _escape

from windlass.contexts.workflows.budget import Budget

LIBRARY = [
    "abs",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "filesizeformat",
    "first",
    "float",
    "groupby",
    "int",
    "items",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "string",
    "title",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
]
"""Filters of Jinja that do no more than the size of what they get."""

METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(
        [
            "upper",
            "lower",
            "strip",
            "lstrip",
            "rstrip",
            "split",
            "rsplit",
            "splitlines",
            "startswith",
            "endswith",
            "title",
            "capitalize",
            "casefold",
            "swapcase",
            "replace",
            "find",
            "rfind",
            "count",
            "join",
            "isdigit",
            "isnumeric",
            "isalpha",
            "isalnum",
            "isupper",
            "islower",
            "isspace",
            "removeprefix",
            "removesuffix",
            "partition",
            "rpartition",
        ]
    ),
    dict: frozenset(["keys", "values", "items", "get"]),
    list: frozenset(["index", "count"]),
}
LOOP = frozenset(
    [
        "index",
        "index0",
        "revindex",
        "revindex0",
        "first",
        "last",
        "length",
        "previtem",
        "nextitem",
        "depth",
        "depth0",
        "cycle",
        "changed",
    ]
)
TESTED = [
    "defined",
    "undefined",
    "none",
    "boolean",
    "true",
    "false",
    "integer",
    "float",
    "number",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "in",
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
    "lt",
    "lessthan",
    "<",
    "le",
    "<=",
    "odd",
    "even",
    "divisibleby",
    "lower",
    "upper",
    "sameas",
]
"""What else there is: methods of values and of loops, and tests."""


def _number(value: Any, least: int, most: int, what: str) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{what} is a whole number from {least} to {most}")
    return value


def _batch(budget: Budget, value: Any, linecount: int) -> list[list[Any]]:
    size = _number(linecount, 1, 1_000_000, "batch")
    items = budget.listed(value)
    return [items[at : at + size] for at in range(0, len(items), size)]


def _slice(budget: Budget, value: Any, slices: int) -> list[list[Any]]:
    count = _number(slices, 1, 10_000, "slice")
    items = budget.listed(value)
    size, longer = divmod(len(items), count)
    bounds = [at * size + min(at, longer) for at in range(count + 1)]
    budget.charge(count)
    return [items[begin:end] for begin, end in pairwise(bounds)]


def _join(budget: Budget, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    items = budget.listed(value)
    if attribute is not None:
        items = [item[attribute] for item in items]
    budget.weigh(items)
    texts = ["" if item is None else str(item) for item in items]
    budget.charge((sum(map(len, texts)) + len(d) * len(texts)) // 8)
    return str(d).join(texts)


def _replace(budget: Budget, value: Any, old: str, new: str, count: int = -1) -> str:
    text = str(value)
    found = text.count(old)
    made = found if count < 0 else min(found, count)
    budget.charge((len(text) + made * len(new)) // 8)
    return text.replace(old, new, made)


def _indent(budget: Budget, value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    shift = width if isinstance(width, str) else " " * _number(width, 0, 200, "indent")
    lines = str(value).splitlines(keepends=True)
    budget.charge(len(lines) * (1 + len(shift)) // 8)
    kept = [shift + line if (blank or line.strip()) and (at or first) else line for at, line in enumerate(lines)]
    return "".join(kept)


def _round(_: Budget, value: Any, precision: int = 0, method: str = "common") -> float:
    digits = _number(precision, -300, 300, "precision")
    if method == "common":
        return round(float(value), digits)
    if method not in {"ceil", "floor"}:
        raise ValueError("method is common, ceil or floor")
    rounding = math.ceil if method == "ceil" else math.floor
    return float(rounding(float(value) * 10.0**digits) / 10.0**digits)


def _sum(budget: Budget, value: Any, attribute: str | int | None = None, start: float = 0) -> Any:
    items = budget.listed(value)
    if attribute is not None:
        items = [item[attribute] for item in items]
    if not all(isinstance(item, int | float) for item in (start, *items)):
        raise ValueError("sum is for numbers")
    return sum(items, start)


def _escaped(budget: Budget, value: Any) -> str:
    text = str(value)
    budget.charge(len(text) // 2)
    return str(_escape(text))


def _tojson(_: Budget, value: Any, indent: int | None = None) -> str:
    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(value, option=options, default=list).decode()


OWN_FILTERS: Mapping[str, Callable[..., Any]] = {
    "batch": _batch,
    "slice": _slice,
    "join": _join,
    "replace": _replace,
    "indent": _indent,
    "round": _round,
    "sum": _sum,
    "e": _escaped,
    "escape": _escaped,
    "tojson": _tojson,
}
"""Each takes the budget, the value and the filter's own arguments."""
