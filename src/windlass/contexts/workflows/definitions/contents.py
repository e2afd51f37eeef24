"""What may stand nowhere in a definition, however deep: secrets, and what no database would give back as it came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.contexts.workflows.schemas import LONGEST_PATTERN, Fault, Path

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
_PATTERN_KEYS = frozenset({"pattern", "regex"})


def depth_beyond(value: object, most: int) -> Path | None:
    """Return the path to a container that is deeper than ``most`` levels, or None; never goes deeper itself."""
    level: list[tuple[Path, Any]] = [((), value)]
    for _ in range(most):
        inner: list[tuple[Path, Any]] = []
        for path, item in level:
            pairs = item.items() if isinstance(item, dict) else enumerate(item)
            inner += [((*path, name), below) for name, below in pairs if isinstance(below, dict | list)]
        if not inner:
            return None
        level = inner
    return level[0][0]


def contents_faults(document: Mapping[str, Any]) -> list[Fault]:
    """Return what must not be there; ``document`` is not too deep."""
    return list(_look(document, ()))


def _look(value: object, path: Path) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, item in value.items():
            place = (*path, name)
            if not isinstance(name, str):
                yield Fault((*path, str(name)), "unkeepable", "Names of fields should be strings")
                continue
            yield from _key_faults(name, item, path)
            yield from _look(item, place)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _look(item, (*path, index))
    elif isinstance(value, str):
        if not _keepable(value):
            yield Fault(path, "unkeepable", "Strings should hold neither NUL characters nor half surrogate pairs")
    elif isinstance(value, int) and not isinstance(value, bool) and not _LOWEST <= value <= _HIGHEST:
        yield Fault(path, "unkeepable", "Integers should fit into 64 bits")
    elif isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124
        yield Fault(path, "unkeepable", "Numbers should be finite")


def _key_faults(name: str, item: object, path: Path) -> Iterator[Fault]:
    place = (*path, name)
    if not _keepable(name):
        safe = name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")
        yield Fault((*path, safe), "unkeepable", "Names should hold neither NUL characters nor half surrogate pairs")
    if name.lower() == "api_key":
        where = ".".join(map(str, place))
        message = f"api_key is not allowed in a definition ({where}): give it as a secret of the run"
        yield Fault(place, "secret_in_definition", message)
    if name == "secret" and path and path[-1] == "signing":
        where = ".".join(map(str, place))
        message = f"signing.secret is not allowed in a definition ({where}): use secret_ref"
        yield Fault(place, "secret_in_definition", message)
    if name in _PATTERN_KEYS and isinstance(item, str) and len(item) > LONGEST_PATTERN:
        yield Fault(place, "pattern_too_long", f"Patterns have at most {LONGEST_PATTERN} characters")


def _keepable(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
