"""``:name`` parameters, the same on both databases, as psycopg writes them."""

from __future__ import annotations

import re
from functools import lru_cache

_TOKEN = re.compile(
    r"""
    (?P<kept> [eE]'(?:[^'\\]|\\.|'')*'          # a string with backslashes
            | '(?:[^']|'')*'                    # a string
            | "(?:[^"]|"")*"                    # an identifier
            | (?<!\w)(?P<tag>\$\w*\$).*?(?P=tag)  # a dollar-quoted string
            | --[^\n]*                          # a comment
            | /\*.*?\*/
            | ::                                # a cast
    )
    | (?<![\w:\\]):(?P<name>[A-Za-z_]\w*)
    | (?P<percent>%)
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=512)
def to_psycopg(sql: str) -> str:
    """Return SQL with its ``:name`` parameters as ``%(name)s``; strings, comments and ``::type`` are left alone."""
    return _TOKEN.sub(_replace, sql)


def _replace(found: re.Match[str]) -> str:
    if found["name"]:
        return f"%({found['name']})s"
    return found[0].replace("%", "%%")
