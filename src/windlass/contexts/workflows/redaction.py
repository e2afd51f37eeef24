"""Secrets leave a step in nothing: not in its outputs, not in its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MASK = "***"
SHORTEST = 4
"""Secrets shorter than this are blacked out only where a text is nothing else: they are in every other word."""


def redact(value: Any, secrets: Mapping[str, str]) -> Any:
    """Return JSON with every secret blacked out, names of fields included."""
    if not secrets:
        return value
    if isinstance(value, str):
        return redact_text(value, secrets)
    if isinstance(value, Mapping):
        return {redact_text(str(name), secrets): redact(item, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, secrets) for item in value]
    return value


def redact_text(text: str, secrets: Mapping[str, str]) -> str:
    """Return a text with every secret blacked out, the longest first."""
    for secret in sorted(secrets.values(), key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
        elif secret and text == secret:
            text = MASK
    return text
