"""What looks like personal data in a text: found in linear time, kept where its check digits are right."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import re2  # type: ignore[import-untyped]


class Found(NamedTuple):
    """A piece of personal data: its kind, and where it stands."""

    kind: str
    begin: int
    end: int


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdecimal())


def _card(text: str) -> bool:
    digits = _digits(text)
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + at % 2)
        total += value - 9 if value > 9 else value
    return 13 <= len(digits) <= 19 and total % 10 == 0 and len(set(digits)) > 1


def _iban(text: str) -> bool:
    packed = text.replace(" ", "")
    if not 15 <= len(packed) <= 34:
        return False
    return int("".join(str(int(one, 36)) for one in packed[4:] + packed[:4])) % 97 == 1


def _ssn(text: str) -> bool:
    area, group, serial = text.split("-")
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def _ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _phone(text: str) -> bool:
    return 9 <= len(_digits(text)) <= 15


def _any(_: str) -> bool:
    return True


_KINDS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "email": (r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}", _any),
    "iban": (r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", _iban),
    "credit_card": (r"\b\d(?:[ -]?\d){12,18}\b", _card),
    "ssn": (r"\b\d{3}-\d{2}-\d{4}\b", _ssn),
    "ip_address": (r"\b(?:\d{1,3}\.){3}\d{1,3}\b", _ip),
    "phone": (r"\+\d{1,3}(?:[ ./-]?\(?\d{1,8}\)?){1,5}\b|(?:\(\d{2,4}\) ?|\b\d{3}[.-])\d{3,4}[.-]\d{3,4}\b", _phone),
}
_EXPRESSIONS = {kind: (re2.compile(pattern), check) for kind, (pattern, check) in _KINDS.items()}
KINDS = tuple(_KINDS)
_NOTHING = re.compile(r"[^@\d]*+\d?+[^@\d]*+")
"""Texts without a kind of any: each has an at sign, or two digits at least."""
_DIGIT = re.compile(r"\d")
_COUNTRY = re.compile(r"[A-Z]{2}\d{2}")


def _possible(text: str) -> Iterator[str]:
    """Yield the kinds there may be: most lines of a log have none, and to look for them all costs more than a step."""
    if "@" in text:
        yield "email"
    digits = len(_DIGIT.findall(text))
    if digits >= 9:
        yield from ("credit_card", "ssn", "phone")
    if digits >= 4 and text.count(".") >= 3:
        yield "ip_address"
    if digits >= 2 and _COUNTRY.search(text):
        yield "iban"


def find(text: str) -> list[Found]:
    """Return the personal data in a text in order, none overlapping."""
    if _NOTHING.fullmatch(text):
        return []
    found = sorted(_find(text), key=lambda one: (one.begin, -one.end))
    kept: list[Found] = []
    for one in found:
        if not kept or one.begin >= kept[-1].end:
            kept.append(one)
    return kept


def _find(text: str) -> Iterator[Found]:
    for kind in _possible(text):
        expression, check = _EXPRESSIONS[kind]
        for match in expression.finditer(text):
            if check(match[0]):
                yield Found(kind, *match.span())


def counts(found: Iterable[Found]) -> dict[str, int]:
    """Return how many there are of each kind."""
    return dict(Counter(one.kind for one in found))


def blacked_out(text: str, found: Iterable[Found]) -> str:
    """Return the text with each piece replaced by its kind in brackets."""
    pieces, at = [], 0
    for one in found:
        pieces += [text[at : one.begin], f"[{one.kind}]"]
        at = one.end
    return "".join([*pieces, text[at:]])


def redact(text: str) -> str:
    """Return a text without what looks like personal data."""
    found = find(text)
    return blacked_out(text, found) if found else text


def without_secrets(text: str, secrets: Mapping[str, str]) -> str:
    """Return a text in which the secrets of a run are replaced by asterisks."""
    if not secrets:
        return text
    for secret in sorted(secrets.values(), key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text
