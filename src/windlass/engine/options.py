"""The options of ``@step``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from windlass.kernel.checks import Errors


class Options(TypedDict, total=False):
    """What ``step`` takes beside ``transactional``."""

    name: str | None
    retries: int
    backoff: float
    factor: float
    cap: float
    jitter: float
    retry_on: Errors
    fatal: Errors
    timeout: float | None
    abandon: bool
    compensate: Callable[..., Any] | None
    executor: str
