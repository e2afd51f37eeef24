"""What server processes share: their settings, and how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from windlass import settings
from windlass.cli.modules import look_in_working_folder
from windlass.settings import Settings


def settle(given: Mapping[str, object]) -> Settings:
    """Read the settings with what the command line says, and put that into the environment for child processes.

    Raises:
        ConfigError: a setting is wrong.
    """
    said = {name: value for name, value in given.items() if value is not None}
    found = settings.load(None, **said)
    for name, value in said.items():
        os.environ[name.upper()] = str(value).lower() if isinstance(value, bool) else str(value)
    look_in_working_folder()
    return found


def leave_on_signals(started: Callable[[], bool]) -> None:
    """Make SIGTERM and SIGINT end the process with code 0 until it has ``started``; from then on it listens itself.

    At once: ``sys.exit`` raises wherever the process is, and a callback of the garbage collector would swallow that.
    """

    def end(_number: int, _frame: object) -> None:
        if not started():
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
