"""Settings read quickly: what kind of value a field takes is found out once, not whenever an application starts."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from pydantic_settings import EnvSettingsSource


def read_settings_quickly() -> None:
    """Have this process look at the types of the fields of settings once: it is most of what reading them takes."""
    for name in ("_field_is_complex", "_extract_field_info"):
        setattr(EnvSettingsSource, name, _once_a_field(getattr(EnvSettingsSource, name)))


def _once_a_field(method: Callable[..., object]) -> Callable[..., object]:
    known: dict[int, tuple[object, object]] = {}  # the field, too, so that no other one gets its identity

    @wraps(method)
    def asked(source: EnvSettingsSource, field: object, *further: Any) -> object:
        if id(field) not in known:
            known[id(field)] = field, method(source, field, *further)
        return known[id(field)][1]

    return asked
