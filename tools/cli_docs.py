"""Write `docs/reference/cli.md` from the command line itself.

`python -m tools.cli_docs` writes it; a test fails when it is out of date.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from windlass.cli.exits import MEANINGS
from windlass.cli.main import app

PATH = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
OPENING = """# Command line

`windlass` starts the servers, keeps the database's tables, and works with records, runs and queues.

Commands for records, runs and queues do the same in two ways: with `--url http://host:port` they ask a server (whose
key is given with `--api-key` or in `API_KEY`), without it they work on the database in `DATABASE_URL` themselves. What
needs a process that carries out runs, such as `records process`, then waits for a server or a `windlass worker`.

Results go to stdout, everything else to stderr. Every listing takes `--json`. Colours and progress bars appear on a
terminal only, colours not when `NO_COLOR` is set. Errors are one line that says what to do next; `--debug`, anywhere on
the line, shows the traceback instead. `--help` of any command answers at once.

This page is generated: `python -m tools.cli_docs`.

## Exit codes

| code | meaning |
|---|---|
"""


def page() -> str:
    """Return the whole page."""
    codes = "".join(f"| {code.value} | {meaning} |\n" for code, meaning in MEANINGS.items())
    root = typer.main.get_command(app)
    return OPENING + codes + "".join(_section(root, typer.Context(root, info_name="windlass")))


def _section(group: Any, context: Any) -> Iterator[str]:
    for name, command in group.commands.items():
        inner = typer.Context(command, info_name=name, parent=context)
        if getattr(command, "commands", None):
            yield f"\n## {inner.command_path}\n\n{_paragraphs(command.help)}\n"
            yield from _section(command, inner)
            continue
        level = "##" if context.parent is None else "###"
        usage = " ".join(_usage(command, inner))
        yield f"\n{level} {inner.command_path}\n\n    {usage}\n\n{_paragraphs(command.help)}\n"
        records = [(param, param.get_help_record(inner)) for param in command.get_params(inner)]
        rows = [_row(record) for param, record in records if record is not None and param.name != "help"]
        if rows:
            yield "\n| argument or option | meaning |\n|---|---|\n" + "".join(rows)


def _usage(command: Any, context: Any) -> list[str]:
    return [context.command_path, *(re.sub("[{}]", "", piece) for piece in command.collect_usage_pieces(context))]


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def _row(record: tuple[str, str]) -> str:
    name, meaning = (" ".join(part.split()).replace("|", "\\|") for part in record)
    return f"| `{re.sub(r' <(list.)?str.?>', '', name)}` | {meaning} |\n"


def main() -> int:
    """Write the page when it is out of date."""
    text = page()
    if not PATH.exists() or PATH.read_text() != text:
        PATH.parent.mkdir(parents=True, exist_ok=True)
        PATH.write_text(text)
        print(f"wrote {PATH.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
