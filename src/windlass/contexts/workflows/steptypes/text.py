"""The text family: expressions, cleaning, rendering, Markdown, counting."""

from __future__ import annotations

import html as entities
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import re2  # type: ignore[import-untyped]

from windlass.contexts.workflows import templates
from windlass.contexts.workflows.steptypes import fields
from windlass.contexts.workflows.steptypes.base import StepContext, StepFailure, StepType
from windlass.contexts.workflows.steptypes.threads import Allowance, apart, invalid

MOST_MATCHES = 10_000
MOST_MARKUP = 128 * 1024
"""Characters of the longest Markdown and HTML: what their parsers do in a few seconds, whatever it is."""
MOST_FILE = templates.MOST_SOURCE
EXTENSIONS = ("table", "strikethrough")

_SCRIPTS = re2.compile(r"(?is)<(?:script|style)\b[^>]*>.*?</(?:script|style)\s*>|<!--.*?-->")
_WHOLE_TAG = re2.compile(r"""</?[A-Za-z](?:[^"'<>]|"[^"<]*"|'[^'<]*')*>""")
_DECLARATIONS = re2.compile(r"<[!?][^<>]*>")
_TAGS = re2.compile(r"<[A-Za-z/!?][^<>]*>")
_URLS = re2.compile(r"(?i)\b(?:https?://|www\.)\S+")
_EMAILS = re2.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}\.[A-Za-z]{2,24}")
_BLANK_LINES = re.compile(r"\n{3,}")


def _expression(pattern: str, flags: str = "", *, ignore_case: bool = False) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(f"(?{flags}){pattern}" if flags else pattern, options)
    except re2.error as error:
        raise invalid(f"config.pattern: {_words(error)}") from None


def _matches(config: Mapping[str, Any]) -> dict[str, Any]:
    flags = ("m" if config["multiline"] else "") + ("s" if config["dotall"] else "")
    pattern = config["pattern"]
    expression = _expression(pattern, flags, ignore_case=config["ignore_case"])
    allowance = Allowance("config.pattern")
    matches: list[Any] = []
    for match in islice(expression.finditer(config["text"]), MOST_MATCHES + 1):
        allowance.check()
        groups = match.groups(default="")
        matches.append(match[0] if not groups else groups[0] if len(groups) == 1 else list(groups))
    if len(matches) > MOST_MATCHES:
        raise invalid(f"more than {MOST_MATCHES:,} matches")
    return {"matches": matches, "count": len(matches), "pattern": pattern}


def _words(error: Exception) -> str:
    first = error.args[0] if error.args else "no expression"
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


async def regex_extract(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Find what an expression matches."""
    return await apart(len(config["text"]) + 20 * len(config["pattern"]), _matches, config)


def _strip_html(text: str) -> str:
    return entities.unescape(_TAGS.sub(" ", _SCRIPTS.sub(" ", text)))


def _fix_encoding(text: str) -> str:
    """Undo UTF-8 that was read as Windows-1252, and drop what cannot be seen."""
    if any(mark in text for mark in ("Ã", "â€", "Â")):
        with suppress(UnicodeError):
            text = text.encode("cp1252").decode("utf-8")
    kept = [one for one in text if one in "\n\r\t" or unicodedata.category(one) not in {"Cc", "Cs", "Co"}]
    return unicodedata.normalize("NFC", "".join(kept).replace("\ufeff", "").replace("\ufffd", ""))


def _whitespace(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def _no_punctuation(text: str) -> str:
    return "".join(one for one in text if not unicodedata.category(one).startswith("P"))


OPERATIONS: Mapping[str, Callable[[str], str]] = {
    "strip_html": _strip_html,
    "normalize_whitespace": _whitespace,
    "fix_encoding": _fix_encoding,
    "normalize_unicode": lambda text: unicodedata.normalize("NFKC", text),
    "lowercase": str.lower,
    "uppercase": str.upper,
    "remove_urls": lambda text: str(_URLS.sub("", text)),
    "remove_emails": lambda text: str(_EMAILS.sub("", text)),
    "remove_punctuation": _no_punctuation,
    "trim": str.strip,
}


def _cleaned(text: str, operations: list[str]) -> dict[str, Any]:
    done = text
    for name in operations:
        done = OPERATIONS[name](done)
    lengths = {"original_length": len(text), "cleaned_length": len(done)}
    return {"text": done, "operations": operations, **lengths}


async def text_clean(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Clean a text, one operation after the other."""
    return await apart(len(config["text"]), _cleaned, config["text"], list(config["operations"]))


def _file(root: Path | None, name: str) -> str:
    denied = StepFailure("file_access_denied", f"config.template_file: {name!r} is not open to steps", retryable=False)
    if root is None or "\0" in name:
        raise denied
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()) or not path.is_file():
        raise denied
    if path.stat().st_size > MOST_FILE:
        raise invalid(f"config.template_file: larger than {MOST_FILE:,} bytes")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise denied from None


async def template_render(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Render a template of the config or of a file."""
    names = {**context.names, **config["variables"]}
    if "template" in config:
        return {"text": templates.render(config["template"], names, field="config.template")}
    source = await apart(MOST_MARKUP, _file, context.tools.files_root, config["template_file"])
    return {"text": templates.render(source, names, field="config.template_file")}


def _html(text: str, extensions: list[str]) -> str:
    from markdown_it import MarkdownIt  # noqa: PLC0415  every command would load it

    return str(MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(extensions).render(text))


async def markdown_to_html(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Turn Markdown into HTML; HTML inside it is shown, not obeyed."""
    text = config.get("markdown", config.get("text", ""))
    html = await apart(len(text), _html, text, list(config["extensions"]))
    return {"html": html, "text": html}


def _sound(text: str) -> str:
    """Return HTML in which every ``<`` begins a whole tag: the parser would look for the end of others for ever."""
    text = _DECLARATIONS.sub("", _SCRIPTS.sub("", text))
    pieces, at = [], 0
    for tag in _WHOLE_TAG.finditer(text):
        pieces += [text[at : tag.start()].replace("<", "&lt;"), tag[0]]
        at = tag.end()
    return "".join([*pieces, text[at:].replace("<", "&lt;")])


def _markdown(text: str, strip: list[str]) -> str:
    from markdownify import markdownify  # noqa: PLC0415  every command would load it

    text = _sound(text)
    tagged = text if "<" in text else f"<span>{text}</span>"  # the parser warns of what may be the name of a file
    try:
        made = (
            markdownify(tagged, heading_style="ATX", strip=strip) if strip else markdownify(tagged, heading_style="ATX")
        )
    except RecursionError:
        raise invalid("config.html: too deeply nested") from None
    return str(made).strip()


async def html_to_markdown(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Turn HTML into Markdown, without scripts and styles."""
    text = config.get("html", config.get("text", ""))
    made = await apart(len(text), _markdown, text, list(config["strip_tags"]))
    return {"markdown": made, "text": made}


async def token_count(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Estimate the tokens of a text: a quarter of its bytes, and no fewer than its words."""
    text = config["text"]
    words = len(text.split())
    estimate = max(words, math.ceil(len(text.encode(errors="replace")) / 4))
    counted = {"token_count": estimate, "word_count": words, "char_count": len(text)}
    return {**counted, "model": config["model"], "estimated": True}


_MATCHED = (
    StepType(
        name="regex_extract",
        description="Find what a regular expression matches, in linear time (RE2: no look-around, no back references)",
        schema=fields.config(
            {
                "text": fields.text("The text"),
                "pattern": fields.text("The expression", least=1, most=2_000),
                "ignore_case": fields.flag("Whether case does not matter", default=False),
                "multiline": fields.flag("Whether ^ and $ match at every line", default=False),
                "dotall": fields.flag("Whether . matches the end of a line", default=False),
            },
            required=["text", "pattern"],
        ),
        example={"text": "{{ last.text }}", "pattern": r"#(\d+)"},
        work=regex_extract,
        mapable=True,
        outputs={
            "matches": f"what matched, or its group, or a list of its groups; at most {MOST_MATCHES:,}",
            "count": "how many",
            "pattern": "the expression",
        },
        compiled={"pattern": _expression},
    ),
    StepType(
        name="text_clean",
        description="Clean a text",
        schema=fields.config(
            {
                "text": fields.text("The text"),
                "operations": fields.listing(
                    "What is done to it, in order",
                    fields.choice("An operation", tuple(OPERATIONS)),
                    most=20,
                    default=["strip_html", "normalize_whitespace", "fix_encoding"],
                ),
            },
            required=["text"],
        ),
        example={"text": "<p>a  b</p>"},
        work=text_clean,
        mapable=True,
        outputs={
            "text": "what is left",
            "operations": "what was done",
            "original_length": "characters before",
            "cleaned_length": "characters after",
        },
    ),
    StepType(
        name="template_render",
        description="Render a template of the config or of a file",
        schema=fields.config(
            {
                "template": fields.text("The template"),
                "template_file": fields.text("Its file, below WORKFLOWS_FILE_BASE_DIR", least=1, most=500),
                "variables": fields.mapping("Further names it sees", default={}),
            },
            **fields.either("template", "template_file"),
        ),
        example={"template": "Dear {{ who }}", "variables": {"who": "{{ inputs.name }}"}},
        work=template_render,
        mapable=True,
        raw=frozenset(["template"]),
        outputs={"text": "the rendered text"},
    ),
)
_CONVERTED = (
    StepType(
        name="markdown_to_html",
        description="Turn Markdown into HTML; HTML in it is shown, not obeyed",
        schema=fields.config(
            {
                "markdown": fields.text("The Markdown", most=MOST_MARKUP),
                "text": fields.text("The same, by its other name", most=MOST_MARKUP),
                "extensions": fields.listing(
                    "Beyond CommonMark",
                    fields.choice("An extension", EXTENSIONS),
                    most=len(EXTENSIONS),
                    default=list(EXTENSIONS),
                ),
            },
            **fields.either("markdown", "text"),
        ),
        example={"markdown": "# {{ inputs.title }}"},
        work=markdown_to_html,
        mapable=True,
        outputs={"html": "the HTML", "text": "the same"},
    ),
    StepType(
        name="html_to_markdown",
        description="Turn HTML into Markdown",
        schema=fields.config(
            {
                "html": fields.text("The HTML", most=MOST_MARKUP),
                "text": fields.text("The same, by its other name", most=MOST_MARKUP),
                "strip_tags": fields.listing(
                    "Tags of which only the text stays", fields.text("A tag", least=1, most=40), most=100, default=[]
                ),
            },
            **fields.either("html", "text"),
        ),
        example={"html": "<h1>Title</h1>", "strip_tags": ["a"]},
        work=html_to_markdown,
        mapable=True,
        outputs={"markdown": "the Markdown", "text": "the same"},
    ),
    StepType(
        name="token_count",
        description="Estimate how many tokens a model makes of a text",
        schema=fields.config(
            {
                "text": fields.text("The text", most=8 * fields.MOST_TEXT),
                "model": fields.text("The model", least=1, most=100, default="gpt-4"),
            },
            required=["text"],
        ),
        example={"text": "{{ last.text }}"},
        work=token_count,
        mapable=True,
        outputs={
            "token_count": "the estimate",
            "estimated": "true: no model was asked",
            "word_count": "words",
            "char_count": "characters",
            "model": "as asked for",
        },
    ),
)
TEXT = (*_MATCHED, *_CONVERTED)
