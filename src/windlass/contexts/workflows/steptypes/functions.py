"""The type ``python``: a function that was registered in code, by its name.

    @step_function("score")
    def score(text: str) -> dict[str, int]: ...

in a module that ``APP_MODULES`` names, and ``{"type": "python", "config": {"function": "score", "arguments": {"text":
"{{ last.text }}"}}}`` in a definition.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from windlass.contexts.workflows.steptypes import fields
from windlass.contexts.workflows.steptypes.base import StepContext, StepType
from windlass.contexts.workflows.steptypes.threads import invalid
from windlass.kernel.checks import check_name
from windlass.kernel.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

declared: dict[str, Callable[..., Any]] = {}
"""What ``@step_function`` has registered in this Python process."""


def step_function(name: str) -> Callable[[F], F]:
    """Register the decorated function for steps of the type ``python``.

    It is called with the step's ``arguments`` by name, and gets the ``StepContext`` when it has a parameter
    ``context``. A plain function runs in a thread. An attempt that fails is repeated as the step says:
    ``context.idempotency_key`` is the same for all of them. What it returns becomes the step's outputs, as ``result``
    unless it is a mapping.

    Raises:
        BadName: of the kernel: the name is none.
        ConfigError: another function has the name.
    """
    check_name(name)

    def register(function: F) -> F:
        if declared.get(name, function) is not function:
            raise ConfigError(f"two functions are registered as {name!r}")
        declared[name] = function
        return function

    return register


async def python(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Call a registered function."""
    function = context.tools.functions.get(config["function"])
    if function is None:
        raise invalid(f"config.function: no function is registered as {config['function']!r}")
    arguments = dict(config["arguments"])
    signature = inspect.signature(function)
    if "context" in signature.parameters and "context" not in arguments:
        arguments["context"] = context
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise invalid(f"config.arguments: {error}") from None
    if inspect.iscoroutinefunction(function):
        result = await function(**arguments)
    else:
        call = partial(copy_context().run, function, **arguments)
        result = await asyncio.get_running_loop().run_in_executor(context.tools.threads, call)
    return dict(result) if isinstance(result, Mapping) else {"result": result}


PYTHON = StepType(
    name="python",
    description="Call a function that was registered in code",
    schema=fields.config(
        {
            "function": fields.text("Its registered name", least=1, most=200),
            "arguments": fields.mapping("Its arguments by name", default={}),
        },
        required=["function"],
    ),
    example={"function": "score", "arguments": {"text": "{{ last.text }}"}},
    work=python,
    mapable=True,
    outputs={"…": "what the function returned, when it is a mapping", "result": "else what it returned"},
)
