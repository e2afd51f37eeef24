"""JMESPath over somebody's data with somebody's expression, with a bound on the work."""

from __future__ import annotations

from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from windlass.contexts.workflows.budget import Budget, Exhausted
from windlass.contexts.workflows.steptypes.threads import invalid, too_complex

WORK = 1_000_000
"""Units of work of one expression; some seconds."""
MOST_DEPTH = 100


class _Functions(Functions):
    """The library's functions; each is charged for all of what it is given."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: Any) -> Any:
        for one in resolved_args:
            self._budget.weigh(one)
        if function_name == "join" and len(resolved_args) == 2:
            glue, texts = resolved_args
            if isinstance(glue, str) and isinstance(texts, list):
                self._budget.charge(len(glue) * len(texts) // 8)
        result = super().call_function(function_name, resolved_args)
        if isinstance(result, str | list | dict):
            self._budget.charge(len(result) // 8)
        return result


class _Interpreter(TreeInterpreter):
    def __init__(self, budget: Budget) -> None:
        super().__init__(jmespath.Options(custom_functions=_Functions(budget)))
        self._budget = budget

    def visit(self, node: Any, *args: Any, **options: Any) -> Any:
        self._budget.charge(1)
        result = super().visit(node, *args, **options)
        if node["type"] in {"flatten", "slice", "multi_select_list", "multi_select_dict", "value_projection"}:
            self._budget.charge(len(result) if result is not None else 0)
        return result

    def visit_comparator(self, node: Any, value: Any) -> Any:
        for child in node["children"]:
            self._budget.weigh(self.visit(child, value))
        return super().visit_comparator(node, value)


def parsed(expression: str) -> Any:
    """Return an expression ready to be used.

    Raises:
        StepFailure: ``validation_error``: it is none.
    """
    try:
        return jmespath.compile(expression).parsed
    except JMESPathError as error:
        raise invalid(f"config.expression: {str(error).splitlines()[0][:300]}") from None
    except RecursionError:
        raise invalid("config.expression: it is too deeply nested") from None


def search(expression: str, data: Any) -> Any:
    """Return what an expression finds.

    Raises:
        StepFailure: ``validation_error``: it is no expression, or does not fit the data; ``too_complex``.
    """
    ready = parsed(expression)
    try:
        budget = Budget(WORK)
        result = _Interpreter(budget).visit(ready, data)
        budget.weigh(result)
    except Exhausted:
        raise too_complex("config.expression") from None
    except JMESPathError as error:
        raise invalid(f"config.expression: {str(error).splitlines()[0][:300]}") from None
    except RecursionError:
        raise invalid("config.expression: it, or the data, is too deeply nested") from None
    except (TypeError, ValueError, AttributeError) as error:  # where the library meets data it did not think of
        raise invalid(f"config.expression: it does not fit the data: {str(error)[:200]}") from None
    return result
