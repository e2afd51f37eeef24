"""Processes of a fault test, as the test sees them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.servers import CarriedProcess
from tests.support.waiting import wait_until

MEMBER = "tests.faults.member"


class Member:
    """A process and what it has said so far."""

    def __init__(self, process: CarriedProcess, log: Path) -> None:
        self.process = process
        self._log = log

    def said(self, kind: str, name: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of a kind, or the engine's events of a name."""
        lines = []
        for line in self._log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                said = json.loads(line)
                if said["kind"] == kind and name in {None, said.get("name")}:
                    lines.append(said)
        return lines

    @property
    def printed(self) -> str:
        """Return everything it has printed."""
        return self._log.read_text(errors="replace")

    @property
    def acknowledged(self) -> list[str]:
        """Return the runs that were acknowledged to it."""
        return [line["run_id"] for line in self.said("ack")]

    def wait_for(self, kind: str, count: int = 1, *, name: str | None = None, timeout: float = 60.0) -> None:
        """Wait until it has said something so often."""
        wait_until(lambda: len(self.said(kind, name)) >= count, timeout, f"{count} lines {kind} {name or ''}")

    def kill(self) -> None:
        """Kill it with ``kill -9``."""
        self.process.send(signal.SIGKILL)
        self.process.wait_ended()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send(number)

    def end(self) -> None:
        """End it in order."""
        self.process.send(signal.SIGTERM)
        self.wait_for("ended")
        self.process.wait_ended()


class Crew:
    """The processes of one test on one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.members: list[Member] = []

    def join(self, name: str, *options: str, module: str = MEMBER) -> Member:
        """Start a process and wait until it is up."""
        member = self.start(name, *options, module=module)
        member.wait_for("up")
        return member

    def start(self, name: str, *options: str, module: str = MEMBER) -> Member:
        """Start a process; ``module`` has its ``main``."""
        log = self.folder / f"{name}-{len(self.members)}.log"
        log.touch()
        command = [module, self.url, name, *options]
        home = self.folder / f"home-{len(self.members)}"
        home.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = CarriedProcess(command, folder=home, log=log, environment=environment)
        member = Member(process, log)
        self.members.append(member)
        return member

    @property
    def acknowledged(self) -> list[str]:
        """Return every run that was acknowledged to anybody."""
        return [run_id for member in self.members for run_id in member.acknowledged]

    @property
    def printed(self) -> str:
        """Return everything that anybody printed."""
        return "\n".join(member.printed for member in self.members)


@contextmanager
def crew(url: str, folder: Path) -> Iterator[Crew]:
    """Give a crew; whoever still runs afterwards is ended."""
    crew = Crew(url, folder)
    try:
        yield crew
    finally:
        for member in crew.members:
            member.process.stop()
