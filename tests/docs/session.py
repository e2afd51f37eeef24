"""Do what a document says, in its order: write its files, run its commands, compare what they print."""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import Block
from tests.docs.shell import DEMOS, SERVERS, WORKERS, Shell, checkout, search_path, shell
from tests.support.ports import free_port
from tests.support.warmth import warm

POSTGRES = re.compile(
    r"(postgresql(?:\+asyncpg)?)://(?:windlass:secret@localhost:5432/windlass"
    r"|provider_user:provider_pass@provider-db:5432/provider_registration)"
)
"""The database of a document that wants a PostgreSQL; the test's own takes its place."""

SNIPPETS = "snippets.py"

ANYTHING = "…"
"""In a printed answer: whatever stands here. As a key of a JSON object: and further keys."""


class OtherOutput(AssertionError):
    """A command printed something else than the document says."""


@dataclass
class Session:
    """A document, or a part of one, being followed.

    Args:
        folder: an empty folder; it is made to look like a fresh clone.
        stand_ins: do without an installed curl, jq and SQLite shell.
        postgres: gives the address of an empty PostgreSQL database.
        skipped: commands that are not run, one line of a block each.
    """

    folder: Path
    postgres: Callable[[], str]
    stand_ins: bool = True
    skipped: frozenset[str] = frozenset()

    def follow(self, blocks: Sequence[Block]) -> None:
        """Follow blocks from first to last.

        Raises:
            CommandFailed: a command failed.
            OtherOutput: one printed something else than the block behind it says.
        """
        checkout(self.folder)
        self._port, self._billing = free_port(), free_port()
        self._dsn = self.postgres() if any(POSTGRES.search(block.text) for block in blocks) else ""
        environment = {
            "HOME": str(self.folder),
            "PATH": search_path(self.stand_ins),
            "WARM": warm().address,
            "PORT": str(self._port),
            "BILLING_SERVICE_URL": f"http://localhost:{self._billing}",
            "LOG_FILE": "logs/app.log",
            # An environment that was made before the plugin had its entry point does not know it by itself.
            "PYTEST_PLUGINS": "windlass.testing.plugin",
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        }
        served = False
        printed: str | None = None
        with shell(self.folder, environment) as opened:
            for block in blocks:
                if block.language == "python":
                    self._write(block)
                elif block.language in {"bash", "sh"}:
                    if not served and "localhost:8000" in block.text:
                        opened.start("exec windlass up", "the server", self._url)
                        served = True
                    served = self._starts(block) or served
                    printed = self._run(opened, block)
                elif block.adjacent and printed is not None and block.language in {"json", "text"}:
                    compare(block, self._local(block.text), printed)
            if (self.folder / SNIPPETS).exists():
                opened.run(f"python {SNIPPETS}\n", f"the Python of {blocks[0].page.name}")

    @property
    def _url(self) -> str:
        return f"http://localhost:{self._port}"

    def _local(self, text: str) -> str:
        """Return a text with the addresses of this run in place of those of the documents.

        `make` takes the environment as set up: installing the folder that is followed would take it away from the
        tests that run on it.
        """
        text = re.sub(r"^make (?=run|setup)", "make --old-file=.venv/.ready ", text, flags=re.MULTILINE)
        text = re.sub(r"\b5002\b", str(self._billing), text)
        text = re.sub(r"\b(8000|5004)\b", str(self._port), text)
        return POSTGRES.sub(lambda found: f"{found[1]}://{self._dsn.partition('://')[2]}", text)

    def _write(self, block: Block) -> None:
        """Write a file that the text names; pieces without a name make one program, which has to run."""
        name = dict(part.split("=", 1) for part in block.info.split()[1:]).get("file")
        with (self.folder / (name or SNIPPETS)).open("w" if name else "a") as file:
            file.write(self._local(block.text))

    @staticmethod
    def _starts(block: Block) -> bool:
        return any(SERVERS.match(line) for line in block.text.splitlines())

    def _answers(self, line: str) -> str | None:
        """Return where what a line starts answers, if it does."""
        if DEMOS.match(line):
            return f"http://localhost:{self._billing}"
        return self._url if SERVERS.match(line) else None

    def _run(self, opened: Shell, block: Block) -> str | None:
        said = []
        parts = commands(block, self.skipped)
        for line, endless in parts:
            text = self._local(line)
            if endless:
                opened.start(text, block.where, self._answers(line))
            else:
                said.append(opened.run(text, block.where))
        return "".join(said) if parts else None  # nothing says what a command that is not run has printed


def commands(block: Block, skipped: frozenset[str]) -> list[tuple[str, bool]]:
    """Return the parts of a block that are run one after the other, and whether each runs until it is stopped."""
    parts: list[tuple[str, bool]] = []
    pending = ""
    for line in block.text.splitlines(keepends=True):
        if line.strip() in skipped:
            continue
        if any(kind.match(line) for kind in (SERVERS, WORKERS, DEMOS)) and not line.rstrip().endswith("--help"):
            parts.extend([(pending, False)] if pending.strip() else [])
            parts.append((line.strip(), True))
            pending = ""
        else:
            pending += line
    return [*parts, (pending, False)] if pending.strip() else parts


def compare(block: Block, expected: str, printed: str) -> None:
    """Compare what was printed with what the document shows.

    Raises:
        OtherOutput: they differ.
    """
    if block.language == "json":
        matches = _like(json.loads(expected), json.loads(printed.rpartition("\n\n")[2]))
    else:
        pattern = re.escape(" ".join(expected.split())).replace(ANYTHING, ".*")
        matches = re.fullmatch(pattern, " ".join(printed.split())) is not None
    if not matches:
        raise OtherOutput(f"{block.where}: expected\n{expected}\nprinted\n{printed}")


def _like(expected: object, found: object) -> bool:
    if isinstance(expected, str) and ANYTHING in expected:
        return re.fullmatch(re.escape(expected).replace(ANYTHING, ".*"), str(found), re.DOTALL) is not None
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return False
        wanted = {key: value for key, value in expected.items() if key != ANYTHING}
        exact = ANYTHING in expected or wanted.keys() == found.keys()
        return exact and all(key in found and _like(value, found[key]) for key, value in wanted.items())
    if isinstance(expected, list):
        if not isinstance(found, list):
            return False
        open_end = bool(expected) and expected[-1] == ANYTHING
        wanted_items = expected[:-1] if open_end else expected
        fits = len(found) >= len(wanted_items) if open_end else len(found) == len(wanted_items)
        return fits and all(_like(one, other) for one, other in zip(wanted_items, found, strict=False))
    return expected == found
