"""Kinds of values that settings of several groups take."""

from __future__ import annotations

import json
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

MOST_URL = 8192
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def _key(secret: SecretStr) -> SecretStr:
    if not _PRINTABLE.fullmatch(secret.get_secret_value()):
        raise ValueError("it cannot be sent in a header")
    return secret


def check_http_url(text: str) -> str:
    """Return an address of the web as it is.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or len(text) > MOST_URL or not text.isprintable():
        raise ValueError("it is no http or https address")
    return text


def json_object(value: object) -> object:
    """Return the object that a text of JSON says; what is no text as it is.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        raise ValueError("it is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _list(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


HeaderKey = Annotated[SecretStr, AfterValidator(_key)]
"""A secret that travels in a header."""
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)]
"""Texts separated by commas."""
