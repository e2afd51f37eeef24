"""Documents: what changed, put together, and as a context for a model."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from windlass.contexts.workflows.budget import Budget, Exhausted
from windlass.contexts.workflows.sandbox import as_text
from windlass.contexts.workflows.steptypes import fields
from windlass.contexts.workflows.steptypes.base import StepContext, StepType
from windlass.contexts.workflows.steptypes.threads import apart, invalid, too_complex

WORK = 5_000_000
"""Units of work of a comparison; a line that may be equal to another costs one."""
BY_CHARACTERS = 1_000
"""Texts up to this length are compared by characters, longer ones by lines."""
MOST_DOCUMENTS = 1_000
CHARACTERS_OF_A_TOKEN = 4


class _Matcher(difflib.SequenceMatcher[str]):
    """A comparison that ends: before it looks for the next block it is charged for what there is to look at."""

    a: Sequence[str]
    b: Sequence[str]
    b2j: Mapping[str, Sequence[int]]

    def __init__(self, a: Sequence[str], b: Sequence[str], *, by_characters: bool = False) -> None:
        self._budget = Budget(WORK)
        super().__init__(None, a, b, autojunk=not by_characters)

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Any:
        last, end = len(self.a) if ahi is None else ahi, len(self.b) if bhi is None else bhi
        # What is the same at both ends, nearly all of two versions of a document, is taken without a search.
        most, same = min(last - alo, end - blo), 0
        while same < most and self.a[alo + same] == self.b[blo + same]:
            same += 1
        if same:
            return difflib.Match(alo, blo, same)
        while same < most and self.a[last - 1 - same] == self.b[end - 1 - same]:
            same += 1
        if same:
            return difflib.Match(last - same, end - same, same)
        self._budget.charge(sum(1 + len(self.b2j.get(self.a[at], ())) for at in range(alo, last)))
        return super().find_longest_match(alo, ahi, blo, bhi)


def _ratio(before: str, after: str) -> float:
    """Return how alike two texts are, from 0 to 1."""
    if before == after:
        return 1.0
    if max(len(before), len(after)) <= BY_CHARACTERS:
        with suppress(Exhausted):
            return _Matcher(before, after, by_characters=True).ratio()
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    blocks = _Matcher(old, new).get_matching_blocks()
    same = sum(len(line) for block in blocks for line in old[block.a : block.a + block.size])
    return 2.0 * same / (len(before) + len(after))


def _unified(old: list[str], new: list[str], context_lines: int, names: tuple[str, str]) -> Iterator[str]:
    groups = list(_Matcher(old, new).get_grouped_opcodes(context_lines))
    if groups:
        yield f"--- {names[0]}"
        yield f"+++ {names[1]}"
    for group in groups:
        first, last = group[0], group[-1]
        yield f"@@ -{_span(first[1], last[2])} +{_span(first[3], last[4])} @@"
        for tag, a_begin, a_end, b_begin, b_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[a_begin:a_end])
                continue
            yield from (f"-{line}" for line in old[a_begin:a_end])
            yield from (f"+{line}" for line in new[b_begin:b_end])


def _span(begin: int, end: int) -> str:
    length = end - begin
    first = begin + 1 if length else begin
    return str(first) if length == 1 else f"{first},{length}"


def _compared(comparison: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    try:
        return comparison(*args)
    except Exhausted:
        raise too_complex("the comparison") from None


def _changed(before: str, current: str, threshold: float, method: str) -> dict[str, Any]:
    ratio = _ratio(before, current)
    diff = ""
    if method == "unified" and before != current:
        diff = "\n".join(_unified(before.splitlines(), current.splitlines(), 3, ("previous", "current")))
    changed = before != current if method == "unified" else ratio < threshold
    return {"changed": changed, "ratio": round(ratio, 6), "diff": diff, "text": current}


async def diff_change_detector(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Say whether a text has changed."""
    last = context.names.get("last")
    found = config.get("previous", last.get("text") if isinstance(last, Mapping) else last)
    before, current = as_text(found), config["current"]
    if len(before) > fields.MOST_TEXT:
        raise invalid(f"the previous text is longer than {fields.MOST_TEXT:,} characters")
    size = (len(before) + len(current)) * 4
    return await apart(size, _compared, _changed, before, current, config["threshold"], config["method"])


def _diff(config: Mapping[str, Any]) -> dict[str, Any]:
    old, new = config["document_a"].splitlines(), config["document_b"].splitlines()
    lines = list(_unified(old, new, config["context_lines"], ("document_a", "document_b")))
    added = sum(line.startswith("+") for line in lines[2:])
    removed = sum(line.startswith("-") for line in lines[2:])
    diff: Any = "\n".join(lines)
    if config["output_format"] == "json":
        kinds = {"+": "added", "-": "removed", " ": "same", "@": "at"}
        diff = [{"type": kinds[line[0]], "text": line if line[0] == "@" else line[1:]} for line in lines[2:]]
    return {"diff": diff, "additions": added, "deletions": removed, "has_changes": bool(lines)}


async def document_diff(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Compare two documents line by line."""
    return await apart((len(config["document_a"]) + len(config["document_b"])) * 4, _compared, _diff, config)


def _document(value: Any, field: str) -> tuple[str | None, str]:
    """Return the title and the text of a document: a text, or an object with one."""
    if not isinstance(value, Mapping):
        return None, as_text(value)
    for name in ("text", "content", "body"):
        if isinstance(value.get(name), str):
            title = next((value[key] for key in ("title", "name", "id") if value.get(key)), None)
            return None if title is None else str(title), value[name]
    raise invalid(f"{field}: a document is a text, or an object with text, content or body")


def _join(parts: list[str], separator: str) -> str:
    if sum(map(len, parts)) + len(separator) * len(parts) > 8 * fields.MOST_TEXT:
        raise invalid(f"the text would be longer than {8 * fields.MOST_TEXT:,} characters")
    return separator.join(parts)


async def document_merge(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:  # noqa: ARG001
    """Put documents one after the other."""
    parts = []
    for at, value in enumerate(config["documents"]):
        title, text = _document(value, f"config.documents.{at}")
        parts.append(f"# {title or f'Document {at + 1}'}\n\n{text}" if config["add_headers"] else text)
    merged = _join(parts, config["separator"])
    return {"merged": merged, "text": merged, "document_count": len(parts)}


def _as_source(value: Any) -> str:
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        return str(value["text"])
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


async def context_build(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Join sources into one text that is not longer than a model takes."""
    parts = [_document(value, f"config.sources.{at}")[1] for at, value in enumerate(config["sources"])]
    if config["include_prev"] and context.names.get("last"):
        parts.insert(0, _as_source(context.names["last"]))
    if config["include_inputs"] and context.names.get("inputs"):
        parts.insert(0, _as_source(context.names["inputs"]))
    parts = [part for part in parts if part]
    built = _join(parts, config["separator"])[: config["max_tokens"] * CHARACTERS_OF_A_TOKEN]
    return {"context": built, "source_count": len(parts), "total_chars": len(built)}


DOCUMENTS = (
    StepType(
        name="diff_change_detector",
        description="Say whether a text differs from the one before",
        schema=fields.config(
            {
                "current": fields.text("The text now"),
                "previous": fields.text("The text before; else the text of the step before"),
                "threshold": fields.number("It has changed when it is less alike than this", 0, 1, default=0.9),
                "method": fields.choice("By likeness, or by any difference", ["ratio", "unified"], default="ratio"),
            },
            required=["current"],
        ),
        example={"current": "{{ fetch.text }}", "previous": "{{ inputs.known }}", "method": "unified"},
        work=diff_change_detector,
        mapable=True,
        outputs={
            "changed": "whether it has",
            "ratio": f"how alike, 0 to 1: by characters up to {BY_CHARACTERS:,}, else by lines",
            "diff": "what differs, with the method unified",
            "text": "the text now",
        },
    ),
    StepType(
        name="document_diff",
        description="Compare two documents line by line",
        schema=fields.config(
            {
                "document_a": fields.text("The one before"),
                "document_b": fields.text("The one after"),
                "context_lines": fields.whole("Equal lines around a difference", 0, 100, default=3),
                "output_format": fields.choice("A text, or a list of lines", ["unified", "json"], default="unified"),
            },
            required=["document_a", "document_b"],
        ),
        example={"document_a": "a\nb\n", "document_b": "a\nc\n"},
        work=document_diff,
        mapable=True,
        outputs={
            "diff": "the difference, or a list of {type, text}",
            "additions": "lines more",
            "deletions": "lines fewer",
            "has_changes": "whether they differ",
        },
    ),
    StepType(
        name="document_merge",
        description="Put documents one after the other",
        schema=fields.config(
            {
                "documents": fields.listing("Texts, or objects with a text and perhaps a title", most=MOST_DOCUMENTS),
                "separator": fields.text("What stands between two", most=1_000, default="\n\n"),
                "add_headers": fields.flag("Whether each begins with its title", default=False),
            },
            required=["documents"],
        ),
        example={"documents": ["one", {"title": "Two", "text": "two"}], "add_headers": True},
        work=document_merge,
        mapable=True,
        outputs={"merged": "the text", "text": "the same", "document_count": "how many"},
    ),
    StepType(
        name="context_build",
        description="Join sources into one text of bounded length",
        schema=fields.config(
            {
                "sources": fields.listing("Texts, or objects with a text", most=MOST_DOCUMENTS, default=[]),
                "include_inputs": fields.flag("Whether the run's inputs come first", default=False),
                "include_prev": fields.flag("Whether the outputs of the step before come first", default=False),
                "separator": fields.text("What stands between two", most=1_000, default="\n\n---\n\n"),
                "max_tokens": fields.whole("Its length, at four characters a token", 1, 262_144, default=4_000),
            }
        ),
        example={"sources": ["{{ a.text }}", "{{ b.text }}"], "max_tokens": 1000},
        work=context_build,
        mapable=True,
        outputs={"context": "the text", "source_count": "how many sources it has", "total_chars": "its length"},
    ),
)
