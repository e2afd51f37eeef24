"""Saving a file from inside a step, which does not know the application that it runs in."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakSet

from windlass.contexts.artifacts.model import Artifact
from windlass.contexts.artifacts.objects import Content
from windlass.kernel.stepping import step_info


class Saver(Protocol):
    """The artifacts of an application, as a step needs them."""

    def holds(self, run_id: str) -> bool:
        """Say whether its process carries a run out."""
        ...

    async def save(self, name: str, content: Content, **said: Any) -> Artifact:
        """Store a file of the step that is running."""
        ...


HERE: WeakSet[Saver] = WeakSet()
"""The artifacts of the applications that run in this process: of one, but for tests."""


async def save_artifact(name: str, content: Content, **said: Any) -> Artifact:
    """Store a file of the step that is running, once however often the step runs; for async steps.

    Args:
        name: its file name.
        content: all of it, or its pieces as they come.
        said: ``mime``, ``type`` and ``metadata`` as in ``Artifacts.put``.

    Raises:
        RuntimeError: called outside a step of a run.
    """
    run_id = step_info().run_id
    for saver in tuple(HERE):
        if saver.holds(run_id):
            return await saver.save(name, content, **said)
    raise RuntimeError("save_artifact works inside a step of a running application only")
