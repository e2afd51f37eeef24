"""From a body to a registration or a change: every field bounded, and named where it is wrong.

E-mail addresses are ASCII, so that both databases agree on which two are the same without regard to case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from windlass.contexts.providers.model import NAME_LENGTH, PHONE_LENGTH, Changes, NewCandidate
from windlass.kernel.errors import Issue, ValidationFailed

FIELDS = NewCandidate._fields
OPTIONAL = frozenset({"phone", "location"})
MOST_COUNT = 2**31 - 1
"""The most trucks, and the most tons a day."""
_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_LOCAL_LENGTH = 64


def read_new(value: Mapping[str, Any], products: Collection[str]) -> NewCandidate:
    """Return the registration that the fields of a body ask for.

    Args:
        value: the fields.
        products: what may be offered.

    Raises:
        ValidationFailed: fields are missing, unknown or wrong; names each.
    """
    issues = [Issue(("body", name), "Field required", "missing") for name in FIELDS if _lacks(name, value)]
    issues += _complaints(value, products)
    if issues:
        raise ValidationFailed(issues)
    return NewCandidate(**{name: _kept(value.get(name)) for name in FIELDS})


def read_changes(value: Mapping[str, Any], products: Collection[str]) -> Changes:
    """Return the changes that the fields of a body ask for; see ``read_new``.

    Raises:
        ValidationFailed: there are none, or fields are unknown or wrong; names each.
    """
    issues = [*_complaints(value, products)]
    if not value:
        issues.append(Issue(("body",), f"Input should hold one of {', '.join(FIELDS)}", "missing"))
    if issues:
        raise ValidationFailed(issues)
    return {name: _kept(given) for name, given in value.items()}


def _lacks(name: str, value: Mapping[str, Any]) -> bool:
    return name not in value and name not in OPTIONAL


def _kept(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


def _complaints(value: Mapping[str, Any], products: Collection[str]) -> Iterator[Issue]:
    for name, given in value.items():
        place = ("body", name)
        if name not in FIELDS:
            yield Issue(place, "Extra inputs are not permitted", "extra_forbidden")
        elif name == "products":
            yield from _of_products(given, products)
        elif name in {"truck_count", "capacity_tons_per_day"}:
            if type(given) is not int or not 1 <= given <= MOST_COUNT:
                yield Issue(place, f"Input should be an integer from 1 to {MOST_COUNT}", "int_range")
        elif given is not None or name not in OPTIONAL:
            yield from _of_text(name, given)


def _of_text(name: str, given: Any) -> Iterator[Issue]:
    place, most = ("body", name), PHONE_LENGTH if name == "phone" else NAME_LENGTH
    if not isinstance(given, str):
        yield Issue(place, "Input should be a string", "string_type")
    elif len(given) > most:
        yield Issue(place, f"String should have at most {most} characters", "string_too_long")
    elif any(unicodedata.category(char) in {"Cc", "Cs"} for char in given):
        yield Issue(place, "String should not contain control characters", "string_control")
    elif name == "company_name" and not given.strip():
        yield Issue(place, "String should have at least 1 character that is no space", "string_too_short")
    elif name == "contact_email" and not is_email(given):
        yield Issue(place, "Input should be an e-mail address of ASCII characters, as in info@example.com", "email")


def is_email(text: str) -> bool:
    """Say whether a text is an e-mail address as most of the world writes them."""
    return len(text.partition("@")[0]) <= _LOCAL_LENGTH and _EMAIL.fullmatch(text) is not None


def _of_products(given: Any, products: Collection[str]) -> Iterator[Issue]:
    place = ("body", "products")
    if not isinstance(given, list) or not given:
        yield Issue(place, f"Input should be a list of one or more of {', '.join(products)}", "list_type")
        return
    if len(given) > len(products):
        yield Issue(place, f"List should have at most {len(products)} items: each product once", "too_long")
        return
    for index, product in enumerate(given):
        if not isinstance(product, str):
            yield Issue((*place, index), "Input should be a string", "string_type")
        elif product not in products:
            yield Issue((*place, index), f"There is no product {product!r}: there are {', '.join(products)}", "enum")
        elif product in given[:index]:
            yield Issue((*place, index), f"{product!r} is named twice", "duplicate")
