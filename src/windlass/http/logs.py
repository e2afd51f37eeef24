"""Log lines: one compact JSON object each, on standard output and in a file that is rotated.

Every line has ``event``, ``level``, ``timestamp`` and ``request_id``. Lines of the standard library's loggers
(uvicorn's, a user's) take the same form.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import orjson
import structlog

from windlass.kernel.clock import SystemClock, to_iso
from windlass.kernel.errors import ConfigError
from windlass.kernel.telemetry import Silent
from windlass.settings import Settings

REQUEST_ID: ContextVar[str | None] = ContextVar("windlass_request_id", default=None)
"""The id of the request that the current task answers."""

_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "gunicorn.error", "gunicorn.access")
_QUIET = ("uvicorn.access", "gunicorn.access")
"""Requests are logged once, by us."""

EventDict = MutableMapping[str, Any]
_clock = SystemClock()


class RotatedFile:
    """A log file that several processes append to; at ``size`` bytes it is put aside as ``.1``, ``.2``, …"""

    def __init__(self, path: Path, size: int, backups: int) -> None:
        self._path = path.absolute()
        self._size = size
        self._backups = backups
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, line: bytes) -> None:
        """Append a line; whole lines stay whole whoever else is writing."""
        if os.fstat(self._file).st_size + len(line) > self._size:
            self._rotate()
        os.write(self._file, line)

    def _rotate(self) -> None:
        """Put the file aside, unless another process has done so: then only follow it."""
        with Path(f"{self._path}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._path.exists() and os.path.samestat(self._path.stat(), os.fstat(self._file)):
                for number in range(self._backups, 0, -1):
                    older = self._path if number == 1 else Path(f"{self._path}.{number - 1}")
                    if older.exists():
                        older.replace(f"{self._path}.{number}")
                if not self._backups:
                    self._path.unlink()
        os.close(self._file)
        self._file = self._open()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Sink:
    """Where lines go. Writing never fails the request that is logged.

    Args:
        stream: a file descriptor, standard output by default; None writes to the file alone.
        file: the rotated file, if any.
    """

    def __init__(self, stream: int | None = 1, file: RotatedFile | None = None) -> None:
        self._stream = stream
        self._file = file
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Write one line, with its line break."""
        with self._lock:
            try:
                if self._stream is not None:
                    os.write(self._stream, line)
                if self._file is not None:
                    self._file.write(line)
            except OSError as error:
                self._complain(error)

    def _complain(self, error: OSError) -> None:
        """Say on standard error that lines are lost; a full disk must not take the service down."""
        try:
            sys.stderr.write(f"a log line was lost: {error}\n")
        except OSError:
            self._stream = None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    msg = debug = info = warning = error = critical = exception = write
    """What structlog calls, by level."""


def _stamp(_logger: object, method: str, fields: EventDict) -> EventDict:
    """Put what every line has in front."""
    front = {
        "event": fields.pop("event", ""),
        "level": _LEVELS.get(method, method),
        "timestamp": to_iso(_clock.now()),
        "request_id": fields.pop("request_id", REQUEST_ID.get()),
    }
    return {**front, **fields}


def _render(_logger: object, _method: str, fields: EventDict) -> bytes:
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(fields, default=str, option=options)


_LEVELS = {"warn": "warning", "exception": "error", "fatal": "critical"}
_PROCESSORS: list[Any] = [_stamp, structlog.processors.format_exc_info, _render]


class Log:
    """The log of an application: quick lines for every request, structlog for the rest.

    Args:
        sink: where lines go.
        level: the least important level that is written.
    """

    def __init__(self, sink: Sink, level: str = "INFO") -> None:
        self._sink = sink
        self.level = logging.getLevelNamesMapping()[level]
        self.tells_requests = self.level <= logging.INFO
        self.events: Any = structlog.wrap_logger(
            sink, processors=_PROCESSORS, wrapper_class=structlog.make_filtering_bound_logger(self.level)
        )

    def request(self, event: str, request_id: str, **fields: object) -> None:
        """Write a line about a request; made at once, because every request has two."""
        line = {"event": event, "level": "info", "timestamp": to_iso(_clock.now()), "request_id": request_id, **fields}
        self._sink.write(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))

    def install(self) -> None:
        """Make it the log of the whole process: of the standard library's loggers and of structlog's."""
        structlog.configure(
            processors=_PROCESSORS,
            wrapper_class=structlog.make_filtering_bound_logger(self.level),
            logger_factory=lambda *_: self._sink,
            cache_logger_on_first_use=True,
        )
        logging.root.handlers = [_Bridge(self.events)]
        logging.root.setLevel(self.level)
        for name in _SERVER_LOGGERS:
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [], name not in _QUIET
        logging.captureWarnings(capture=True)

    def close(self) -> None:
        """Close the log file."""
        self._sink.close()


class Told(Silent):
    """Puts into the log what the engine tells."""

    def __init__(self, log: Log) -> None:
        self._events = log.events

    def event(self, name: str, **fields: object) -> None:
        """Log an event."""
        tell(self._events, name, fields)


def tell(events: Any, name: str, fields: dict[str, object]) -> None:
    """Write what the engine or a context tells, as a warning unless it says a ``level``."""
    getattr(events, str(fields.pop("level", "warning")))(name, **fields)


class _Bridge(logging.Handler):
    """Takes the lines of the standard library's loggers."""

    def __init__(self, events: Any) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"exc_info": record.exc_info} if record.exc_info else {}
        self._events.log(record.levelno, record.getMessage(), logger=record.name, **fields)


def open_log(settings: Settings) -> Log:
    """Return the log that the settings ask for.

    Raises:
        ConfigError: LOG_FILE cannot be written.
    """
    file = None
    if settings.log_file is not None:
        try:
            file = RotatedFile(settings.log_file, settings.log_file_bytes, settings.log_file_backups)
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}"
            raise ConfigError(f"LOG_FILE: {settings.log_file} cannot be written: {reason}") from error
    return Log(Sink(file=file), settings.log_level)
