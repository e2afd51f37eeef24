"""The templates that come with the package: definitions to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import orjson

from windlass.kernel.errors import Invalid, NotFound, TooLarge

SUFFIX = ".workflow.json"
MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its name, file, title for people, and tags."""

    name: str
    filename: str
    title: str
    tags: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """Return it as lists tell it."""
        return {"name": self.name, "filename": self.filename, "title": self.title, "tags": list(self.tags)}


def _folder() -> Traversable:
    return files(__package__).joinpath("templates")


@cache
def templates() -> tuple[Template, ...]:
    """Return every template, by name."""
    found = [entry for entry in _folder().iterdir() if entry.name.endswith(SUFFIX)]
    return tuple(_template(entry) for entry in sorted(found, key=lambda entry: entry.name))


def _template(entry: Traversable) -> Template:
    document = orjson.loads(entry.read_bytes())
    name = entry.name.removesuffix(SUFFIX)
    title = document.get("metadata", {}).get("title") or name.replace("_", " ").capitalize()
    return Template(name, entry.name, title, tuple(document.get("tags", ())))


def search(q: str | None = None, tag: str | None = None) -> Sequence[Template]:
    """Return the templates that ``q`` is a part of in any case (name, title, a tag) and that have ``tag``."""
    wanted = (q or "").casefold()
    return [
        template
        for template in templates()
        if (tag is None or tag in template.tags)
        and any(wanted in text.casefold() for text in (template.name, template.title, *template.tags))
    ]


def tags() -> list[str]:
    """Return every tag of a template, in order."""
    return sorted({tag for template in templates() for tag in template.tags})


def template_text(name: str) -> bytes:
    """Return the JSON of a template.

    Args:
        name: its name, with or without the end of its file's name.

    Raises:
        Invalid: that is no name of a template.
        NotFound: there is none.
        TooLarge: it is larger than a template may be.
    """
    if not name.strip() or "/" in name or "\\" in name or ".." in name or not name.isprintable():
        raise Invalid("Invalid template name", field="name")
    plain = name.removesuffix(SUFFIX)
    found = next((template for template in templates() if template.name == plain), None)
    if found is None:
        raise NotFound("Template not found", name=name[:200])
    raw = _folder().joinpath(found.filename).read_bytes()
    if len(raw) > MOST_BYTES:
        raise TooLarge(f"The template is larger than {MOST_BYTES} bytes", limit=MOST_BYTES)
    return raw
