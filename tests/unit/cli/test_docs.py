"""The page about the command line is what the command line says of itself."""

from tests.support.paths import DOCS
from tools.cli_docs import page
from windlass.cli.exits import MEANINGS


def test_the_page_is_current() -> None:
    text = (DOCS / "reference" / "cli.md").read_text()

    assert text == page(), "run `python -m tools.cli_docs`"


def test_the_page_names_the_exit_codes_and_the_arguments() -> None:
    text = page()

    assert all(f"| {code.value} | {meaning} |" in text for code, meaning in MEANINGS.items())
    assert "### windlass records import\n\n    windlass records import [OPTIONS] FILE\n" in text
    assert "| `--format <ndjson\\|json\\|csv>` |" in text
