"""Jinja for the templates of strangers: data goes in, text or data comes out, and nothing grows without bound.

Nothing here looks at a clock: work is counted, so that a template that passes once passes on every replay. Loops are
charged for each turn with the size of their body, every call, filter, operator and comparison with the size of what
it is given; a handful of statements is all there is (no macros, includes or inheritance).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from jinja2 import StrictUndefined, Template, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import Namespace, _PassArg

from windlass.contexts.workflows.budget import Budget
from windlass.contexts.workflows.filters import LIBRARY, LOOP, METHODS, OWN_FILTERS, TESTED
from windlass.contexts.workflows.guard import BOUNDED, CONCAT, WEIGHED, Refused

WORK = 500_000
"""Units of work of one rendering; about a tenth of a second."""
MOST_CHARACTERS = 1024 * 1024
"""The longest text a template may make."""
MOST_RANGE = 100_000
MOST_BITS = 4_096

_BUDGET = " budget"  # the space keeps templates from naming these

_NUMERIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


class Method:
    """A method of a value of a template, until it is called."""

    __slots__ = ("name", "of")

    def __init__(self, of: Any, name: str) -> None:
        self.of = of
        self.name = name


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > MOST_RANGE:
        raise Refused(f"a range of {len(made):,} numbers is more than the {MOST_RANGE:,} that are allowed")
    return made


GLOBALS: Mapping[str, Any] = {"range": _range, "dict": dict, "namespace": Namespace}


def _budget(context: Context) -> Budget:
    found = context.parent[_BUDGET]
    assert isinstance(found, Budget)  # noqa: S101  put there by ``render`` and ``evaluate``
    return found


def _guarded(fn: Callable[..., Any], *, own: bool) -> Callable[..., Any]:
    """Charge for what a filter or test of Jinja is given and makes; ours get the budget to charge it themselves."""
    passed = _PassArg.from_obj(fn)

    @pass_context
    def guarded(context: Context, value: Any = None, *args: Any, **options: Any) -> Any:
        budget = _budget(context)
        budget.charge(5)
        for one in (value, *args, *options.values()):
            budget.weigh(one)
        if own:
            result = fn(budget, value, *args, **options)
        elif passed is None:
            result = fn(value, *args, **options)
        else:
            lent = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
            result = fn(lent[passed.name], value, *args, **options)
        if isinstance(result, str | list):
            budget.charge(len(result) // 8)
        return result

    return guarded


@pass_context
def _bounded(context: Context, values: Any, cost: int) -> Iterator[Any]:
    return _budget(context).items(values, cost)


@pass_context
def _text(context: Context, value: Any) -> str:
    """Return what a block prints."""
    if type(value) is str:
        _budget(context).charge(1 + len(value) // 8)
        return value
    if value is None:
        return ""
    if isinstance(value, Undefined):
        return str(value)
    return as_text(plain(value, _budget(context)))


def as_text(value: Any) -> str:
    """Return data as it stands in the middle of a text: nothing for None."""
    return "" if value is None else str(value)


def plain(value: Any, budget: Budget) -> Any:
    """Return a value as data: what is iterated over becomes a list.

    Raises:
        Refused: it is no data.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        budget.charge(1 + len(value) // 8)
        return str(value)
    if isinstance(value, Undefined):
        str(value)  # raises, naming itself
    if isinstance(value, Mapping):
        budget.charge(4 * len(value))
        return {key if isinstance(key, str) else str(key): plain(one, budget) for key, one in value.items()}
    if isinstance(value, Method):
        raise Refused(f"{value.name} is a method: call it with ()")
    if callable(value) or isinstance(value, Namespace | LoopContext) or not hasattr(value, "__iter__"):
        raise Refused(f"a {type(value).__name__} is no data")
    return [plain(one, budget) for one in budget.items(value, 3)]


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of every template."""

    intercepted_binops = frozenset(_NUMERIC)

    def __init__(self) -> None:
        super().__init__(
            autoescape=False, undefined=StrictUndefined, optimized=False, finalize=_text, keep_trailing_newline=True
        )
        self.globals = {}
        self.filters = {name: _guarded(FILTERS[name], own=False) for name in LIBRARY}
        self.filters |= {name: _guarded(fn, own=True) for name, fn in OWN_FILTERS.items()}
        self.filters |= {
            CONCAT: _guarded(_joined, own=True),
            BOUNDED: _bounded,
            WEIGHED: _guarded(_itself, own=True),
        }
        self.tests = {name: _guarded(cast(Callable[..., Any], TESTS[name]), own=False) for name in TESTED}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate with numbers, and add texts and lists."""
        budget = _budget(context)
        budget.charge(1)
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers:
            for one in (left, right):
                if isinstance(one, Undefined):
                    str(one)
            alike = (isinstance(left, str) and isinstance(right, str)) or type(left) is type(right) is list
            if operator != "+" or not alike:
                raise Refused(f"{operator} is for numbers, not {type(left).__name__} and {type(right).__name__}")
            budget.weigh(left)
            budget.weigh(right)
        elif isinstance(left, int) and isinstance(right, int):
            sizes = left.bit_length(), right.bit_length()
            bits = sizes[0] * abs(right) if operator == "**" else sum(sizes)
            if bits > MOST_BITS:
                raise Refused(f"{operator} would make a number of more than {MOST_BITS} bits")
        return _NUMERIC[operator](left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look a name up in data, then among the few methods there are."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, LoopContext) and attribute in LOOP:
            return getattr(obj, attribute)
        if isinstance(obj, Namespace) and not attribute.startswith("_"):
            try:
                return getattr(obj, attribute)
            except AttributeError:
                return self.undefined(obj=obj, name=attribute)
        if isinstance(obj, tuple) and attribute in getattr(obj, "_fields", ()):  # of groupby
            return getattr(obj, attribute)
        for kind, methods in METHODS.items():
            if isinstance(obj, kind) and attribute in methods:
                return Method(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look an item up; a text that is none is looked up like an attribute."""
        if isinstance(obj, Undefined):
            str(obj)
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.getattr(obj, argument) if isinstance(argument, str) else self.undefined(obj=obj, name=argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **options: Any) -> Any:
        """Call one of the functions and methods there are."""
        options.pop("_loop_vars", None)
        options.pop("_block_vars", None)
        budget = _budget(context)
        budget.charge(5)
        for one in (*args, *options.values()):
            budget.weigh(one)
        if isinstance(obj, Method):
            budget.weigh(obj.of)
            return _called(budget, obj, args, options)
        if obj in GLOBALS.values() or isinstance(getattr(obj, "__self__", None), LoopContext):
            return obj(*args, **options)
        if isinstance(obj, Undefined):
            str(obj)
        raise SecurityError(f"a {type(obj).__name__} cannot be called")


def _itself(_: Budget, value: Any) -> Any:
    return value


def _joined(budget: Budget, values: Any) -> str:
    texts = [as_text(plain(value, budget)) for value in values]
    budget.charge(sum(map(len, texts)) // 8)
    return "".join(texts)


def _called(budget: Budget, method: Method, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if method.name == "replace":
        return OWN_FILTERS["replace"](budget, method.of, *args, **options)
    if method.name == "join":
        return OWN_FILTERS["join"](budget, *args, method.of)
    if method.name in {"split", "rsplit", "splitlines"} and len(method.of) > MOST_CHARACTERS // 4:
        raise Refused(f"{method.name} of a text of more than {MOST_CHARACTERS // 4:,} characters")
    result = getattr(method.of, method.name)(*args, **options)
    if isinstance(result, str | list):
        budget.charge(len(result) // 8)
    return result


SANDBOX = Sandbox()


def parse(source: str) -> nodes.Template:
    """Return a template's syntax.

    Raises:
        TemplateError: of Jinja: it has none.
    """
    return SANDBOX.parse(source)


def compiled(tree: nodes.Template) -> Template:
    """Return a template, guarded, that can be rendered.

    Raises:
        TemplateError: of Jinja: it has no sense.
    """
    tree.set_environment(SANDBOX)
    return SANDBOX.from_string(tree)


def _context(template: Template, names: Mapping[str, Any], budget: Budget) -> Context:
    return template.new_context({**GLOBALS, **names, _BUDGET: budget}, shared=True)


def render(template: Template, names: Mapping[str, Any], budget: Budget) -> str:
    """Return the text.

    Raises:
        Exhausted: it is too much work.
        Refused: it is too long, or does what no template may.
        Exception: whatever else goes wrong in it.
    """
    chunks, size = [], 0
    for chunk in template.root_render_func(_context(template, names, budget)):
        size += len(chunk)
        if size > MOST_CHARACTERS:
            raise Refused(f"it makes a text of more than {MOST_CHARACTERS:,} characters")
        chunks.append(chunk)
    return "".join(chunks)


def evaluate(template: Template, names: Mapping[str, Any], budget: Budget) -> Any:
    """Return, as data, what a template made by ``only`` evaluates to; raises what ``render`` does."""
    context = _context(template, names, budget)
    for _ in template.root_render_func(context):
        pass
    return plain(context.vars["result"], budget)
