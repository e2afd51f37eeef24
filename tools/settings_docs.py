"""Write `docs/settings.md` and `.env.example` from the settings themselves.

`python -m tools.settings_docs` writes both; a test fails when either is out of date.
"""

import sys
import textwrap
from pathlib import Path

from pydantic.fields import FieldInfo

from windlass.settings import Settings, allowed

ROOT = Path(__file__).resolve().parents[1]
OPENING = """# Settings

Read from the environment and from a file `.env` in the working folder; the environment wins, an empty value
means the default. A wrong value stops the start with its name and the allowed values, and so does a name
that begins with `WORKFLOWS_` or `WINDLASS_` and is no setting. `windlass config` prints the effective values, secrets
masked.

This page and `.env.example` are generated: `python -m tools.settings_docs`.

| variable | default | allowed | meaning |
|---|---|---|---|
"""
EXAMPLE_OPENING = (
    "# Every setting with its default. Copy this file to .env, change what you need; the environment wins.\n"
)


def default(field: FieldInfo) -> str:
    """Return a field's default as it is written in the environment; empty when there is none to write."""
    value = field.default
    if field.default_factory is not None or value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def table() -> str:
    """Return `docs/settings.md`."""
    rows = [
        f"| `{name.upper()}` | {f'`{default(field)}`' if default(field) else 'empty'} | {allowed(field)}"
        f" | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return OPENING + "".join(rows)


def example() -> str:
    """Return `.env.example`."""
    parts = [EXAMPLE_OPENING]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        meaning = textwrap.fill(
            f"{field.description} ({allowed(field)})",
            width=110,
            initial_indent="# ",
            subsequent_indent="# ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        parts.append(f"{meaning}\n{name.upper()}={extra.get('example', default(field))}\n")
    return "\n".join(parts)


GENERATED = {"docs/settings.md": table, ".env.example": example}


def main() -> int:
    """Write the files that are out of date and name them."""
    for name, text in GENERATED.items():
        path = ROOT / name
        if not path.exists() or path.read_text() != text():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text())
            print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
