"""``policy_check``: what a text holds that it should not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import re2  # type: ignore[import-untyped]

from windlass.contexts.workflows import templates
from windlass.contexts.workflows.sandbox import as_text
from windlass.contexts.workflows.steptypes import fields, pii
from windlass.contexts.workflows.steptypes.base import StepContext, StepType
from windlass.contexts.workflows.steptypes.threads import apart, invalid

PREVIEW = 500
"""Characters of a redacted preview."""


def _text(config: Mapping[str, Any], context: StepContext) -> str:
    source, field = config["text_source"], config["field"]
    path = field.split(".") if source == "field" else [source, *field.split(".")]
    try:
        found = templates.look_up(context.names, path)
    except templates.Wrong as wrong:
        raise wrong.failure("config.field") from None
    if isinstance(found, dict | list):
        raise invalid(f"config.field: {'.'.join(path)!r} is no text")
    return as_text(found)


def _checked(text: str, config: Mapping[str, Any]) -> dict[str, Any]:
    found = pii.find(text)
    # One automaton for all words: linear in the text, whatever the words.
    words = sorted({word.strip().lower() for word in config.get("block_words", []) if word.strip()})
    options = re2.Options()
    options.case_sensitive = False
    edges = [rf"(?:^|\W)({re2.escape(word)})(?:\W|$)" for word in words]
    matched = [word for word, edge in zip(words, edges, strict=True) if re2.search(edge, text, options)]
    reasons = []
    if found and config["block_on_pii"]:
        reasons.append("pii")
    if matched:
        reasons.append("block_words")
    if "max_length" in config and len(text) > config["max_length"]:
        reasons.append("max_length")
    preview = {"redacted_preview": pii.blacked_out(text, found)[:PREVIEW]} if config["redact_preview"] else {}
    return {
        "blocked": bool(reasons),
        "reasons": reasons,
        "pii": pii.counts(found),
        "block_words_matched": matched,
        "length": len(text),
        **preview,
    }


async def policy_check(config: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """Look for personal data, banned words and too much length."""
    text = _text(config, context)
    if len(text) > fields.MOST_TEXT:
        raise invalid(f"the text is longer than {fields.MOST_TEXT:,} characters")
    return await apart(len(text) * (1 + len(config.get("block_words", [])) // 20), _checked, text, config)


POLICY = (
    StepType(
        name="policy_check",
        description="Say whether a text holds personal data or banned words, or is too long",
        schema=fields.config(
            {
                "text_source": fields.choice(
                    "Where the text is: the step before, the inputs, or anywhere (a path in field)",
                    ["last", "inputs", "field"],
                    default="last",
                ),
                "field": fields.text("Dotted path of the text there", least=1, most=500, default="text"),
                "max_length": fields.whole("Characters it may have", 1, fields.MOST_TEXT),
                "block_words": fields.listing("Words that block", fields.text("A word", least=1, most=200), most=500),
                "block_on_pii": fields.flag("Whether personal data blocks", default=False),
                "redact_preview": fields.flag("Whether to answer the beginning without personal data", default=False),
            }
        ),
        example={"text_source": "last", "field": "text", "block_on_pii": True, "block_words": ["secret"]},
        work=policy_check,
        mapable=True,
        outputs={
            "blocked": "whether anything blocks",
            "reasons": "pii, block_words, max_length",
            "pii": "how many of each kind: " + ", ".join(pii.KINDS),
            "block_words_matched": "the banned words in it",
            "length": "in characters",
            "redacted_preview": f"its first {PREVIEW} characters, when asked for",
        },
    ),
)
