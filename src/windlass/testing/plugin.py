"""The pytest plugin: it loads nothing before a test asks for something.

Fixture ``windlass``: an engine in memory whose time skips. An async test gets it running, with pytest-asyncio, anyio
or no plugin at all; a plain test runs workflows with ``windlass.run(…)``. ``@pytest.mark.windlass(start=…, tables=…)``
hands options to it. Fixture ``crash_everywhere``: the function of that name.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from windlass.engine.registry import Definition
    from windlass.testing.memory import TestEngine

NAME = "windlass"


class Kit:
    """What tests get as ``windlass``: in an async test the running engine, else a way to run workflows."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._engine: TestEngine | None = None

    def run(self, workflow: Definition, *args: Any, **kwargs: Any) -> Any:
        """Run a workflow to its end and return its output; in an async test that is to be awaited.

        Raises:
            RunFailed, RunCancelled: it ended so.
            NeverEnds: it waits for something that never comes.
        """
        if self._engine is not None:
            return self._engine.run(workflow, *args, **kwargs)
        from windlass.testing import run  # noqa: PLC0415  nothing is loaded before

        options = {name: value for name, value in self._options.items() if name in {"start", "registry", "tables"}}
        return run(workflow, *args, **options, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if self._engine is None:
            raise AttributeError(f"windlass.{name}: the engine runs in async tests only; here there is windlass.run(…)")
        return getattr(self._engine, name)

    def around(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Return an async test with the engine running around it."""

        @functools.wraps(test)
        async def running(*args: Any, **kwargs: Any) -> None:
            from windlass.testing import engine  # noqa: PLC0415  nothing is loaded before

            async with engine(**self._options) as made:
                self._engine = made
                try:
                    await test(*args, **kwargs)
                finally:
                    self._engine = None

        return running


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "windlass(start, registry, tables, …): options of the engine of a test")


@pytest.fixture(name=NAME)
def windlass_(request: pytest.FixtureRequest) -> Kit:
    """Return an engine in memory on a clock that skips to the next timer."""
    marker = request.node.get_closest_marker(NAME)
    return Kit({} if marker is None else dict(marker.kwargs))


@pytest.fixture(name="crash_everywhere")
def crash_everywhere_() -> Callable[..., Any]:
    """Return ``windlass.testing.crash_everywhere``."""
    from windlass.testing import crash_everywhere  # noqa: PLC0415  nothing is loaded before

    return crash_everywhere


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Have the engine of an async test run on the test's own event loop, whoever runs that."""
    kit = item.funcargs.get(NAME) if isinstance(item, pytest.Function) else None
    if not isinstance(item, pytest.Function) or not isinstance(kit, Kit) or not inspect.iscoroutinefunction(item.obj):
        return (yield)
    test = item.obj
    item.obj = kit.around(test)
    try:
        return (yield)
    finally:
        item.obj = test


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test that asks for ``windlass`` and that no other plugin runs."""
    if NAME not in pyfuncitem.funcargs or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
