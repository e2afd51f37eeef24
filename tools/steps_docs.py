"""Write `docs/reference/steps.md` from the catalogue of step types itself.

`python -m tools.steps_docs` writes it; a test fails when it is out of date.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from windlass.contexts.workflows.steptypes.base import StepType
from windlass.contexts.workflows.steptypes.calls import CALLS
from windlass.contexts.workflows.steptypes.control import CONTROL
from windlass.contexts.workflows.steptypes.data import DATA_TYPES
from windlass.contexts.workflows.steptypes.documents import DOCUMENTS
from windlass.contexts.workflows.steptypes.functions import PYTHON
from windlass.contexts.workflows.steptypes.policy import POLICY
from windlass.contexts.workflows.steptypes.sheets import SHEETS
from windlass.contexts.workflows.steptypes.text import TEXT

ROOT = Path(__file__).resolve().parents[1]
PAGE = "docs/reference/steps.md"
FAMILIES = {
    "Control": CONTROL,
    "Data": (*DATA_TYPES, *SHEETS),
    "Text": (*TEXT, *POLICY),
    "Documents": DOCUMENTS,
    "Calls": CALLS,
    "Code": (PYTHON,),
}
OPENING = """# Step types

Generated from the code: `python -m tools.steps_docs`.

A config has the fields of its type and no others. Any value may be a [template](../howto/templates.md); what it became
is checked before the step runs. A step that is given what it cannot work with fails with `validation_error`, a template
with `template_error`, a computation without an end with `too_complex`; none of them is tried again. `GET /step-types`
answers the same as JSON Schema.
"""


def kind(schema: Mapping[str, Any]) -> str:
    """Return the type of a field in a few words: its limits, or its choices."""
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    named = schema.get("type", "any value")
    words = " or ".join(named) if isinstance(named, list) else str(named)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{words} {low:,} to {high:,}"
    most = schema.get("maxLength", schema.get("maxItems"))
    unit = "characters" if "maxLength" in schema else "items"
    return words if most is None else f"{words}, at most {most:,} {unit}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "\\n")


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    needed = set(schema.get("required", ()))
    either = {name for rule in schema.get("oneOf", ()) for name in rule["required"]}
    yield "| config | type | default | meaning |\n|---|---|---|---|\n"
    for name, part in schema["properties"].items():
        default = f"`{json.dumps(part['default'])}`" if "default" in part else ""
        default = "needed" if name in needed else "one is needed" if name in either else default
        yield f"| `{name}` | {_cell(kind(part))} | {_cell(default)} | {_cell(part.get('description', ''))} |\n"


def _type(step: StepType) -> Iterator[str]:
    able = step.capabilities
    facts = [
        "may stand within `map`, `parallel` and `retry`" if step.mapable else "",
        "is safe to replay" if able.replay_safe else "",
        f"is tried {step.default_retry} more time unless the step says otherwise" if step.default_retry else "",
    ]
    said = "; ".join(fact for fact in facts if fact)
    yield f"\n### {step.name}\n\n{step.description}.{f' It {said}.' if said else ''}\n\n"
    yield from _fields(step.schema)
    yield "\n| output | meaning |\n|---|---|\n" if step.outputs else ""
    yield from (f"| `{name}` | {_cell(meaning)} |\n" for name, meaning in step.outputs.items())
    yield f"\nExample: ``{json.dumps(dict(step.example), ensure_ascii=False)}``\n"


def page() -> str:
    """Return `docs/reference/steps.md`."""
    parts = [OPENING]
    for family, steps in FAMILIES.items():
        parts.append(f"\n## {family}\n")
        for step in steps:
            parts.extend(_type(step))
    return "".join(parts)


GENERATED = {PAGE: page}


def main() -> int:
    """Write the page when it is out of date and name it."""
    for name, text in GENERATED.items():
        path = ROOT / name
        if not path.exists() or path.read_text() != text():
            path.write_text(text())
            print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
