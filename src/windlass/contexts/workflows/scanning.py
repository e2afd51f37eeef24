"""Cut a template into its texts and blocks, and let the operators of other languages into the blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

PATH = re.compile(r"\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\Z", re.ASCII)
_OPENING = re.compile(r"\{\{|\{%|\{#")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}")
_END_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_INSIDE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\|\||&&|[(\[{]|[)\]]|\}\}|%\}|\}""", re.DOTALL)
_WORDS = {"||": " or ", "&&": " and "}
_LITERALS = {"true", "false", "none", "True", "False", "None"}


class Part(NamedTuple):
    """A piece of a template: plain text, or the dotted path of a block, or None for any other block."""

    text: str
    path: tuple[str, ...] | None = None
    plain: bool = False


def is_template(text: str) -> bool:
    """Whether a text has blocks at all."""
    return "{{" in text or "{%" in text


def parts(text: str) -> Iterator[Part]:
    """Yield the pieces of a template; joined, their texts are the template with ``||`` and ``&&`` in words."""
    at = 0
    while opening := _OPENING.search(text, at):
        if opening.start() > at:
            yield Part(text[at : opening.start()], plain=True)
        if opening[0] == "{#":
            end = text.find("#}", opening.end())
            end = len(text) if end < 0 else end + 2
            yield Part(text[opening.start() : end])
        elif raw := _RAW.match(text, opening.start()):
            found = _END_RAW.search(text, raw.end())
            end = found.end() if found else len(text)
            yield Part(text[opening.start() : end])
        else:
            words, end = _block(text, opening.end(), "}}" if opening[0] == "{{" else "%}")
            path = PATH.match(words[:-2]) if opening[0] == "{{" and words.endswith("}}") else None
            names = tuple(path[1].split(".")) if path and path[1] not in _LITERALS else None
            yield Part(opening[0] + words, names)
        at = end
    if at < len(text):
        yield Part(text[at:], plain=True)


def _block(text: str, at: int, closing: str) -> tuple[str, int]:
    """Return the words of a block up to and with what closes it, and where that ends."""
    words: list[str] = []
    depth = 0
    while found := _INSIDE.search(text, at):
        sign = found[0]
        words.append(text[at : found.start()])
        if sign == closing and (closing == "%}" or depth == 0):
            return "".join([*words, sign]), found.end()
        end = found.end()
        if sign in "([{":
            depth += 1
        elif sign == "}}":  # two braces that end two dictionaries
            sign, end = "}", found.start() + 1
            depth -= 1
        elif sign in ")]}":
            depth -= 1
        words.append(_WORDS.get(sign, sign))
        at = end
    return "".join([*words, text[at:]]), len(text)
