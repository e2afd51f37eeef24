"""Forms: the JSON Schema that what a person fills in must match. It refers to nothing outside itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from windlass.kernel.errors import Invalid, Issue

MOST_BYTES = 32 * 1024
MOST_ISSUES = 20
MESSAGE_LENGTH = 300


def check_form(schema: object) -> str:
    """Return a form's schema as JSON text, with keys in one order whichever way a database has given them back.

    Raises:
        Invalid: it is no JSON Schema, too large, or refers to something outside of it.
    """
    if not isinstance(schema, Mapping):
        raise Invalid("form_schema is a JSON Schema: an object", field="form_schema")
    text = orjson.dumps(dict(schema), option=orjson.OPT_SORT_KEYS).decode()
    if len(text) > MOST_BYTES:
        raise Invalid(f"form_schema is larger than {MOST_BYTES} bytes", field="form_schema")
    try:
        _validator(text)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        said = str(error).partition("\n")[0][:MESSAGE_LENGTH]
        raise Invalid(f"form_schema is no JSON Schema that can be used: {said}", field="form_schema") from None
    return text


def complaints(schema: Mapping[str, Any], fields: Mapping[str, Any]) -> list[Issue]:
    """Return what is wrong with filled-in fields; each names its place below ``edited_fields``."""
    issues = []
    for error in _validator(orjson.dumps(dict(schema)).decode()).iter_errors(dict(fields)):
        place = [*error.instance_path]
        missing = getattr(error.kind, "property", None)
        unexpected = getattr(error.kind, "unexpected", None)
        if isinstance(missing, str):
            place.append(missing)
        elif isinstance(unexpected, list) and unexpected:
            place.append(unexpected[0])
        issues.append(Issue(("body", "edited_fields", *place), error.message[:MESSAGE_LENGTH], error.kind.name))
        if len(issues) == MOST_ISSUES:
            break
    return issues


@lru_cache(maxsize=256)
def _validator(text: str) -> jsonschema_rs.Validator:
    """Return the validator of a schema: it fetches nothing, and its patterns take linear time."""
    options = jsonschema_rs.RegexOptions()
    return jsonschema_rs.validator_for(orjson.loads(text), offline=True, pattern_options=options)
