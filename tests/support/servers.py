"""Start a guarded server process and wait until it answers."""

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.waiting import ConditionNotMet, wait_until
from tests.support.warmth import warm

_GUARD = Path(__file__).with_name("guard.py")


class ServerDidNotStart(RuntimeError):
    """The server ended, or did not answer in time; the message carries the end of its log."""


class ServerProcess(ABC):
    """A server process that cannot outlive this one, whatever ends it."""

    _log: Path

    @property
    @abstractmethod
    def running(self) -> bool:
        """True until the server has ended and been collected."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process id of the server itself.

        Raises:
            RuntimeError: the server is not running.
        """

    @abstractmethod
    def wait_ended(self, timeout: float = 30.0) -> int:
        """Return the exit code once the server has ended by itself."""

    @abstractmethod
    def stop(self) -> None:
        """End the server if it still runs and wait until it is gone."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server: SIGSTOP freezes it, SIGKILL is a crash."""
        os.kill(self.pid, number)

    def wait_ready(self, answers: Callable[[], bool], timeout: float) -> None:
        """Return once `answers()` is true.

        Raises:
            ServerDidNotStart: the process ended first, or `timeout` seconds passed.
        """
        try:
            wait_until(lambda: not self.running or answers(), timeout, "the server's start")
        except ConditionNotMet as error:
            self.stop()
            raise ServerDidNotStart(f"{error}\n{self.log_tail()}") from error
        if not self.running:
            raise ServerDidNotStart(f"exit code {self.wait_ended()}\n{self.log_tail()}")

    def log_tail(self, characters: int = 4000) -> str:
        """The end of what the server printed."""
        return self._log.read_text(errors="replace")[-characters:]


class CarriedProcess(ServerProcess):
    """A server of the product's own code, in a fork of what has loaded that.

    Args:
        command: a program that `warm.py` knows, or the name of a module with a function `main`, and its arguments.
        folder: its working folder.
        log: receives what the server prints.
        environment: its whole environment; the caller's own when left out.
    """

    def __init__(
        self, command: Sequence[str], *, folder: Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with Path(os.devnull).open("rb") as nothing, log.open("ab") as output:
            given = os.environ if environment is None else environment
            self._carried = warm().start(command, folder, given, [nothing, output, output])

    @property
    def running(self) -> bool:
        """True until the server has ended and been collected."""
        return self._carried.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the server."""
        if not self.running:
            raise RuntimeError("the server is not running")
        return self._carried.pid

    def wait_ended(self, timeout: float = 30.0) -> int:
        """Return the exit code once the server has ended by itself."""
        return self._carried.wait(timeout)

    def stop(self) -> None:
        """End the server if it still runs and wait until it is gone."""
        self._carried.end()


class GuardedProcess(ServerProcess):
    """A server of any program, under a guard.

    Args:
        command: program and arguments.
        folder: its working folder; removed when this process is killed before it could stop the server.
        log: receives what the server prints.
        user: run as this user instead; only root may ask for it.
        stop_signal: what ends the server quickly and cleanly.
        environment: its whole environment; the caller's own when left out.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        log: Path,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        watch = [str(os.getpid()), stop_signal.name, user or "-"]
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, _GUARD, *watch, folder, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                env=environment,
                stderr=output,
            )

    @property
    def running(self) -> bool:
        """True until the server has ended and been collected."""
        return self._guard.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        children = psutil.Process(self._guard.pid).children() if self.running else []
        if not children:
            raise RuntimeError("the server is not running")
        return children[0].pid

    def wait_ended(self, timeout: float = 30.0) -> int:
        """Return the exit code once the server has ended by itself."""
        return self._guard.wait(timeout)

    def stop(self) -> None:
        """End the server if it still runs and wait until it is gone."""
        if self.running:
            self._guard.terminate()
        self._guard.wait(30.0)
