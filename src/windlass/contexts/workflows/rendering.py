"""One text with blocks: its dotted paths looked up, everything else rendered by Jinja."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.exceptions import UndefinedError

from windlass.contexts.workflows import guard, sandbox, scanning
from windlass.contexts.workflows.budget import CHARACTERS, Budget, Exhausted
from windlass.contexts.workflows.failures import StepFailure

MOST_SOURCE = 64 * 1024
"""The longest template, in characters."""

Names = Mapping[str, Any]
_QUOTED = re.compile(r"'([^']+)'")
_NOTHING: Any = object()


class Wrong(Exception):
    """A template cannot be resolved; ``variable`` is the unknown one where that is why."""

    def __init__(self, reason: str, variable: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.variable = variable

    def failure(self, field: str) -> StepFailure:
        """Return how a step fails over this template in one of its fields."""
        return StepFailure(
            "template_error",
            f"{field}: {self.reason}",
            retryable=False,
            field=field,
            **({} if self.variable is None else {"variable": self.variable}),
        )


def look_up(names: Names, path: Sequence[str]) -> Any:
    """Return what a dotted path leads to.

    Raises:
        Wrong: nothing is there.
    """
    found = _find(names, path)
    if found is _NOTHING:
        raise _unknown(names, path)
    return found


def _find(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, TypeError):
            if not isinstance(value, list) or not part.isdecimal() or len(part) > 9 or int(part) >= len(value):
                return _NOTHING
            value = value[int(part)]
    return value


def _unknown(names: Names, path: Sequence[str]) -> Wrong:
    """Say which part of a path is missing, and what there is instead."""
    known = 0
    while _find(names, path[: known + 1]) is not _NOTHING:
        known += 1
    holder = _find(names, path[:known])
    variable = ".".join(path)
    reason = f"unknown variable {variable!r}"
    if known:
        what = sorted(map(str, holder))[:10] if isinstance(holder, Mapping) else []
        has = f"it has {', '.join(what)}" if what else f"it is {_kind(holder)}"
        reason += f": {'.'.join(path[:known])!r} has no {path[known]!r} ({has})"
    return Wrong(reason, variable)


def _kind(value: Any) -> str:
    kinds = {str: "text", list: "a list", dict: "an empty object", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


class Template:
    """One text with blocks, ready to be resolved any number of times."""

    __slots__ = ("_jinja", "_parts", "_pieces", "_source", "names")

    def __init__(self, text: str) -> None:
        if len(text) > MOST_SOURCE:
            raise Wrong(f"a template of more than {MOST_SOURCE:,} characters")
        self._parts = list(scanning.parts(text))
        self._source = "".join(part.text for part in self._parts)
        self._jinja: dict[bool, Any] = {}
        # A hyphen may be part of a step's id or a minus; the names of the run decide.
        self._pieces = all(part.plain or part.path for part in self._parts)
        paths = {part.path for part in self._parts if part.path}
        if self._pieces:
            self.names = frozenset(paths)
            return
        with _explained():
            tree = sandbox.parse(self._source)
            self.names = frozenset(guard.variables(tree))
            guard.guarded(tree)

    def _compile(self, *, text: bool) -> Any:
        """Return the template of Jinja: for text, or for the value of the only expression (None: there is more)."""
        if text not in self._jinja:
            with _explained():
                tree: nodes.Template | None = sandbox.parse(self._source)
                tree = tree if text or tree is None else guard.only(tree)
                self._jinja[text] = None if tree is None else sandbox.compiled(guard.guarded(tree))
        return self._jinja[text]

    @property
    def quick(self) -> bool:
        """Whether it is resolved without Jinja."""
        return self._pieces

    def text(self, names: Names, budget: Budget) -> str:
        """Return the text; raises ``Wrong``."""
        if not self._pieces:
            return str(self._run(sandbox.render, self._compile(text=True), names, budget))
        texts, size = [], 0
        for part in self._parts:
            if part.path is None:
                texts.append(part.text)
            else:
                found = _find(names, part.path)
                if found is _NOTHING:
                    return str(self._with_minus(names, part.path, budget))
                texts.append(found if type(found) is str else self._run(_shown, found, names, budget))
            size += len(texts[-1])
            if size > sandbox.MOST_CHARACTERS:
                raise Wrong(f"it makes a text of more than {sandbox.MOST_CHARACTERS:,} characters")
        budget.left -= size // CHARACTERS
        return "".join(texts)

    def value(self, names: Names, budget: Budget) -> Any:
        """Return the value of the only expression, or the text; raises ``Wrong``."""
        if len(self._parts) == 1 and (path := self._parts[0].path):
            found = _find(names, path)
            return self._with_minus(names, path, budget, text=False) if found is _NOTHING else found
        only = None if self._pieces or len(self._parts) > 1 else self._compile(text=False)
        return self.text(names, budget) if only is None else self._run(sandbox.evaluate, only, names, budget)

    def _with_minus(self, names: Names, path: tuple[str, ...], budget: Budget, *, text: bool = True) -> Any:
        """Read hyphens as minus signs, when that is what makes sense."""
        if "-" not in ".".join(path):
            raise _unknown(names, path)
        try:
            run, compiled = sandbox.render if text else sandbox.evaluate, self._compile(text=text)
            return self._run(run, compiled, names, budget)
        except Wrong:
            raise _unknown(names, path) from None

    def _run(self, function: Callable[[Any, Names, Budget], Any], what: Any, names: Names, budget: Budget) -> Any:
        try:
            return function(what, names, budget)
        except UndefinedError as error:
            raise self._missing(str(error), names) from None
        except Exhausted:
            raise Wrong("too much work for a template (loops, lists and texts are bounded)") from None
        except guard.Refused as error:
            raise Wrong(str(error)) from None
        except RecursionError:
            raise Wrong("it is too deeply nested") from None
        except Exception as error:  # noqa: BLE001  whatever a template runs into fails its step, by name
            # What it says may quote a value; a secret is quoted nowhere.
            said = "" if any(path[0] == "secrets" for path in self.names) else f": {str(error)[:200]}"
            raise Wrong(f"{type(error).__name__}{said}") from None

    def _missing(self, message: str, names: Names) -> Wrong:
        quoted = set(_QUOTED.findall(message))
        for path in sorted(self.names):
            if quoted.intersection(path) and _find(names, path) is _NOTHING:
                return _unknown(names, path)
        # A name that was made on the way is said only when it stands in the template: it could be a secret.
        said = sorted(name for name in quoted if name in self._source and not name.endswith(" object"))
        return Wrong(f"unknown variable {said[0]!r}" if said else "unknown variable", said[0] if said else None)


def _shown(value: Any, _: Names, budget: Budget) -> str:
    return sandbox.as_text(sandbox.plain(value, budget))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except JinjaError as error:
        raise Wrong(f"not a template: {error.message or type(error).__name__}") from None
    except guard.Refused as error:
        raise Wrong(f"not allowed: {error}") from None
    except (RecursionError, SyntaxError, MemoryError, ValueError, OverflowError):
        raise Wrong("not a template: it is too large or too deeply nested") from None


@lru_cache(maxsize=512)
def template(text: str) -> Template:
    """Return the template of a text with blocks.

    Raises:
        Wrong: it is none.
    """
    return Template(text)
