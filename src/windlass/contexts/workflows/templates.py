"""Templates in the config of a step: which there are, and what they become with the names of a run.

A string that is one ``{{ expression }}`` and nothing else becomes the value itself, anything else becomes text. A
dotted path never goes through Jinja: that is nearly every template there is, and a step must not cost more for it
than a line of Python. A variable that is not there fails the step by its name.

A config is compiled once per definition (``compile_config``) and resolved for each attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from windlass.contexts.workflows import sandbox
from windlass.contexts.workflows.budget import Budget, Exhausted
from windlass.contexts.workflows.failures import StepFailure
from windlass.contexts.workflows.rendering import MOST_SOURCE, Names, Wrong, look_up, template
from windlass.contexts.workflows.scanning import is_template

TRUE = frozenset(["1", "true", "yes", "y", "on"])
FALSE = frozenset(["", "0", "false", "no", "n", "off"])
RESERVED = frozenset(
    [
        "inputs",
        "last",
        "prev",
        "steps",
        "item",
        "index",
        "secrets",
        "tenant_id",
        "user_id",
        "run_id",
        "workflow_metadata",
        "workflow_mcp_policy",
        "range",
        "dict",
        "namespace",
        "loop",
        "true",
        "false",
        "none",
        "True",
        "False",
        "None",
    ]
)
"""Names that no step may have: they mean something in every template."""
WORK = sandbox.WORK
AT_ONCE = WORK // 10
"""Units of work that are done in the event loop, some ten milliseconds; a condition takes no more."""
MOST_EXPRESSIONS = 100
"""Templates of one config that are more than dotted paths: each takes a moment to compile."""
FEW = 8
"""Up to so many templates can make no more of a config than its data is large."""
MOST_RESOLVED = 2_000_000
"""Units of data that the templates of one config may become, see ``Budget.weigh``; 16 million characters."""

__all__ = [
    "AT_ONCE",
    "FALSE",
    "MOST_EXPRESSIONS",
    "MOST_SOURCE",
    "RESERVED",
    "TRUE",
    "WORK",
    "Compiled",
    "TooMuch",
    "Wrong",
    "compile_config",
    "condition",
    "condition_problem",
    "is_template",
    "look_up",
    "names_in",
    "render",
    "resolve",
    "scope",
    "template",
]


def scope(
    *, inputs: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]], last: Any, **more: Any
) -> dict[str, Any]:
    """Return the names a template sees, the same on every path of a run.

    Args:
        inputs: of the run.
        outputs: of each step that has finished, by its id.
        last: the outputs of the step before; also ``prev``.
        more: ``secrets``, ``tenant_id``, ``user_id``, ``item``, ``workflow_metadata``, ...
    """
    steps = {step: {"outputs": found} for step, found in outputs.items()}
    return {**outputs, "inputs": inputs, "last": last, "prev": last, "steps": steps, **more}


class _Node(NamedTuple):
    """A value with templates in it: how to resolve it, the paths it reads, how many templates, how many for Jinja."""

    resolve: Callable[[Names, Budget], Any]
    names: frozenset[tuple[str, ...]]
    leaves: int
    slow: int


def _node(value: Any, field: str) -> _Node | None:
    """Return how to resolve a value; None when there is nothing to resolve."""
    if isinstance(value, str):
        return _leaf(value, field) if is_template(value) else None
    if isinstance(value, Mapping):
        made = {key: node for key, one in value.items() if (node := _node(one, f"{field}.{key}"))}
        if not made:
            return None

        def mapping(names: Names, budget: Budget) -> dict[str, Any]:
            done = dict(value)
            for key, node in made.items():
                done[key] = node.resolve(names, budget)
            return done

        return _several(mapping, made.values())
    if isinstance(value, list | tuple):
        items = [_node(one, f"{field}.{at}") for at, one in enumerate(value)]
        if not any(items):
            return None

        def listing(names: Names, budget: Budget) -> list[Any]:
            return [node.resolve(names, budget) if node else one for node, one in zip(items, value, strict=True)]

        return _several(listing, [node for node in items if node])
    return None


def _several(resolve: Callable[[Names, Budget], Any], parts: Collection[_Node]) -> _Node:
    paths = frozenset[tuple[str, ...]]().union(*(part.names for part in parts))
    return _Node(resolve, paths, sum(part.leaves for part in parts), sum(part.slow for part in parts))


def _leaf(text: str, field: str) -> _Node:
    try:
        made = template(text)
    except Wrong as wrong:
        raise wrong.failure(field) from None

    def leaf(names: Names, budget: Budget) -> Any:
        try:
            return made.value(names, budget)
        except Wrong as wrong:
            raise wrong.failure(field) from None

    return _Node(leaf, made.names, 1, 0 if made.quick else 1)


def _root(value: Any, field: str) -> _Node | None:
    node = _node(value, field)
    if node is not None and node.slow > MOST_EXPRESSIONS:
        raise Wrong(f"more than {MOST_EXPRESSIONS} templates that are no dotted paths").failure(field)
    return node


def _resolved(node: _Node, names: Names, field: str, work: int) -> Any:
    budget, size = Budget(work), Budget(MOST_RESOLVED if work == WORK else work)
    with _counted(budget):
        done = node.resolve(names, budget)
    try:
        budget.charge(0)
        if node.leaves > FEW:
            size.weigh(done)
    except Exhausted:
        raise _too_much(Wrong("what its templates become is too large").failure(field)) from None
    return done


class TooMuch(StepFailure):
    """A template takes more work than was given to it; what it fails by if that was all there is."""


@contextmanager
def _counted(budget: Budget) -> Iterator[None]:
    try:
        yield
    except StepFailure as failure:
        if budget.left < 0:
            raise _too_much(failure) from None
        raise


def _too_much(failure: StepFailure) -> TooMuch:
    return TooMuch(failure.code, failure.message, retryable=failure.retryable, **failure.data)


class Compiled:
    """A config, compiled."""

    __slots__ = ("_config", "_field", "_node", "constant", "names")

    def __init__(self, config: Mapping[str, Any], raw: frozenset[str], field: str) -> None:
        self._config = config
        self._field = field
        self._node = _root({key: value for key, value in config.items() if key not in raw}, field)
        self.constant = self._node is None
        self.names = frozenset() if self._node is None else frozenset(map(".".join, self._node.names))

    def resolve(self, names: Names, work: int = WORK) -> Mapping[str, Any]:
        """Return the config with its templates resolved; what had none is the definition's own, not a copy.

        Raises:
            StepFailure: ``template_error``; names the field and the unknown variable; ``TooMuch`` when ``work`` is used
                up.
        """
        if self._node is None:
            return self._config
        return {**self._config, **_resolved(self._node, names, self._field, work)}


def compile_config(config: Mapping[str, Any], *, raw: frozenset[str] = frozenset(), field: str = "config") -> Compiled:
    """Return a config ready to be resolved; fields in ``raw`` stay as they are, ``field`` begins every message.

    Raises:
        StepFailure: ``template_error``: what stands in a field is no template.
    """
    return Compiled(config, raw, field)


def resolve(value: Any, names: Names, *, raw: frozenset[str] = frozenset(), field: str = "config") -> Any:
    """Return a value with its templates resolved, at any depth.

    Raises:
        StepFailure: ``template_error``; names the field and the unknown variable.
    """
    if isinstance(value, Mapping) and raw:
        return Compiled(value, raw, field).resolve(names)
    node = _root(value, field)
    return value if node is None else _resolved(node, names, field, WORK)


def render(text: str, names: Names, *, field: str = "config", work: int = WORK) -> str:
    """Return a template as text.

    Raises:
        StepFailure: ``template_error``; ``TooMuch`` when ``work`` is used up.
    """
    if not is_template(text):
        return text
    budget = Budget(work)
    with _counted(budget):
        try:
            return template(text).text(names, budget)
        except Wrong as wrong:
            raise wrong.failure(field) from None


def condition(text: str, names: Names, *, field: str = "condition") -> bool:
    """Return whether a template's text is 1, true, yes, y or on, in any case; it may take little work only.

    Raises:
        StepFailure: ``template_error``.
    """
    return render(text, names, field=field, work=AT_ONCE).strip().lower() in TRUE


def condition_problem(text: str) -> str | None:
    """Return what is wrong with a condition before it has names; None for nothing."""
    if not is_template(text):
        plain = text.strip().lower()
        return None if plain in TRUE | FALSE else f"{text[:60]!r} is never true: write {{{{ {text[:60]} }}}}"
    try:
        template(text)
    except Wrong as wrong:
        return wrong.reason
    return None


def names_in(value: Any) -> frozenset[str]:
    """Return the dotted paths that the templates in a value read: ``inputs.size``, ``steps.a.outputs.text``, ...

    Raises:
        StepFailure: ``template_error``: what stands in it is no template.
    """
    node = _root(value, "config")
    return frozenset() if node is None else frozenset(map(".".join, node.names))
