"""Run `windlass` as a user does: its output, its exit code, its end."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.paths import BIN
from tests.support.waiting import wait_until
from tests.support.warmth import warm
from windlass import settings
from windlass.bootstrap import visit_application


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)


async def started(address: str, workflow: str, **inputs: Any) -> str:
    """Start a run from this process, which carries none out; returns its id."""
    async with visit_application(settings.load(database_url=address)) as application:
        return (await application.engine.start_run(workflow, **inputs)).run_id


@dataclass(frozen=True)
class Windlass:
    """The command with its surroundings: a working folder, settings, and options that go behind every command."""

    folder: Path
    settings: Mapping[str, str]
    options: tuple[str, ...] = ()

    def __call__(self, *arguments: str | Path, stdin: bytes = b"", code: int | None = 0) -> Done:
        """Run it to its end.

        Args:
            arguments: the command and what it is given.
            stdin: what it reads.
            code: the exit code it must have; None takes any.
        """
        done = Done(*warm().run(self.command(*arguments), self.folder, self.environment, stdin))
        assert code is None or done.code == code, f"exit code {done.code}\n{done.out}\n{done.err}"
        return done

    def pipe(self, arguments: str, reader: str) -> Done:
        """Run it with its stdout going to another program; the exit code is the command's own."""
        line = f"{BIN / 'windlass'} {arguments} {' '.join(self.options)} | {reader}; exit ${{PIPESTATUS[0]}}"
        ended = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        return Done(ended.returncode, ended.stdout, ended.stderr)

    def command(self, *arguments: str | Path) -> list[str]:
        """The whole command line."""
        return [str(BIN / "windlass"), *map(str, arguments), *self.options]

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment."""
        return {**os.environ, **self.settings}

    @contextmanager
    def running(self, *arguments: str | Path) -> Iterator["Process"]:
        """Start it and let the block go on beside it; it is killed afterwards if it has not ended."""
        process = Process(self, arguments)
        try:
            yield process
        finally:
            process.kill()


class Process:
    """A command that is running and cannot outlive this process; what it prints goes to files."""

    def __init__(self, windlass: Windlass, arguments: tuple[str | Path, ...]) -> None:
        self._feeder: threading.Thread | None = None
        number = len(list(windlass.folder.glob("process-*.out")))
        self._out = windlass.folder / f"process-{number}.out"
        self._err = windlass.folder / f"process-{number}.err"
        reads, writes = os.pipe()
        self._input = open(writes, "wb")  # noqa: SIM115, PTH123
        with open(reads, "rb") as stdin, self._out.open("wb") as out, self._err.open("wb") as err:  # noqa: PTH123
            command = windlass.command(*arguments)
            self._carried = warm().start(command, windlass.folder, windlass.environment, [stdin, out, err])

    @property
    def out(self) -> str:
        """What it has printed to stdout."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has printed to stderr."""
        return self._err.read_text()

    def feed(self, data: bytes, *, last: bool) -> None:
        """Give it more to read, as fast as it reads; it finds the end of its input when that was the ``last``."""
        before = self._feeder
        self._feeder = threading.Thread(target=self._write, args=(before, data, last), daemon=True)
        self._feeder.start()

    def _write(self, before: threading.Thread | None, data: bytes, last: bool) -> None:
        if before is not None:
            before.join()  # here, not in ``feed``: a command that waits for something does not read
        with suppress(BrokenPipeError):
            self._input.write(data)
            self._input.flush()
            if last:
                self._input.close()

    def says(self, text: str, timeout: float = 60.0) -> None:
        """Return once it has printed `text`; a process that ends before is an error."""
        wait_until(
            lambda: text in self.err + self.out or self._carried.poll() is not None,
            timeout,
            f"{text!r} from {self._carried.args!r}",
        )
        assert text in self.err + self.out, f"exit code {self._carried.returncode}\n{self.out}\n{self.err}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self._carried.send_signal(number)
        return self.wait()

    def wait(self, timeout: float = 60.0) -> int:
        """Return the exit code once it has ended."""
        return self._carried.wait(timeout)

    def kill(self) -> None:
        """End it at once if it still runs."""
        self._carried.send_signal(signal.SIGKILL)
        self._carried.wait()
        if self._feeder is not None:
            self._feeder.join()
        with suppress(BrokenPipeError):
            self._input.close()
