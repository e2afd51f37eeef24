"""The door to limits: what the edges and other contexts may use."""

from __future__ import annotations

from windlass.contexts.limits.model import (
    EVERYBODY,
    MOST,
    Limit,
    LimitExceeded,
    Options,
    QueueFull,
)
from windlass.contexts.limits.service import Limits

__all__ = ["EVERYBODY", "MOST", "Limit", "LimitExceeded", "Limits", "Options", "QueueFull"]
