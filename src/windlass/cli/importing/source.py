"""A file or stdin as a stream of bytes: decompressed by what it begins with, counted for the progress bar."""

from __future__ import annotations

import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from windlass.cli.exits import CommandError, ExitCode

FORMATS = ("ndjson", "json", "csv")
LINE_LIMIT = 16 * 1024 * 1024
"""The longest line or record in bytes; a longer one is refused without being kept."""
CHUNK = 256 * 1024
_ENDINGS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json", ".csv": "csv"}
_COMPRESSED = (".gz", ".xz")
_GZIP, _XZ, _BOM = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)


class BadInput(CommandError):
    """What is read cannot be understood from here on; names the line."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(ExitCode.USAGE, f"line {line}: {message}" if line else message, hint)
        self.line = line


class _Counter(io.RawIOBase):
    """Passes bytes on and counts them."""

    def __init__(self, inner: BinaryIO) -> None:
        self._inner = inner
        self._read = getattr(inner, "read1", inner.read)  # what a pipe has, not all that it will have
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the buffers that are given
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()


class Source:
    """Something to import.

    Args:
        inner: its bytes as they are stored.
        name: how messages call it.
        total: how many bytes it has; None when nobody knows.

    Raises:
        BadInput: it is UTF-16.
    """

    def __init__(self, inner: BinaryIO, name: str, total: int | None = None) -> None:
        self.name = name
        self.total = total
        self._counter = _Counter(inner)
        stored = io.BufferedReader(self._counter, CHUNK)
        head = stored.peek(8)
        stream: io.BufferedIOBase = stored
        if head.startswith(_GZIP):
            stream = gzip.GzipFile(fileobj=stored)
        elif head.startswith(_XZ):
            stream = lzma.LZMAFile(stored)  # noqa: SIM115  closed with the source
        self._stream = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream, CHUNK)
        with self._honest():
            head = self._stream.peek(4)[:4]
            if head.startswith(_BOM):
                self._stream.read(len(_BOM))
        if head.startswith(_UTF_16) or b"\0" in head:
            raise BadInput(0, f"{name} is no UTF-8 but UTF-16", "save it as UTF-8")

    @property
    def consumed(self) -> int:
        """How many stored bytes have been read."""
        return self._counter.count

    def first_byte(self) -> bytes:
        """Return the first byte that is not white space, without consuming what follows."""
        with self._honest():
            return self._stream.peek(CHUNK).lstrip()[:1]

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield numbered lines without their ends; None stands for one beyond the limit."""
        number = 0
        while True:
            with self._honest(number + 1):
                line = self._stream.readline(LINE_LIMIT)
            if not line:
                return
            number += 1
            if len(line) < LINE_LIMIT or line.endswith(b"\n"):
                yield number, line.rstrip(b"\r\n")
                continue
            while line and not line.endswith(b"\n"):
                with self._honest(number):
                    line = self._stream.readline(LINE_LIMIT)
            yield number, None

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, some at a time."""
        while True:
            with self._honest():
                chunk = self._stream.read1(CHUNK)
            if not chunk:
                return
            yield chunk

    def close(self) -> None:
        """Close the file; stdin is left open."""
        if self.total is not None:
            self._stream.close()
            self._counter.close()

    def _honest(self, line: int = 0) -> _Honest:
        return _Honest(self.name, line)


class _Honest:
    """Turns the errors of a broken archive into one of ours."""

    def __init__(self, name: str, line: int) -> None:
        self._name = name
        self._line = line

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _BROKEN):
            raise BadInput(self._line, f"{self._name} is a broken or cut off archive: {error}") from error


def open_source(name: str) -> Source:
    """Open a file, or stdin for ``-``.

    Raises:
        CommandError: it cannot be read.
    """
    if name == "-":
        return Source(cast("BinaryIO", sys.stdin.buffer), "stdin")
    path = Path(name)
    try:
        return Source(path.open("rb", buffering=0), name, path.stat().st_size)
    except OSError as error:
        code = ExitCode.NOT_FOUND if isinstance(error, FileNotFoundError) else ExitCode.USAGE
        raise CommandError(code, f"{name} cannot be read: {error.strerror}") from error


def format_of(source: Source, said: str | None) -> str:
    """Return the format of a source: as said, by its ending, or by its first character.

    Raises:
        BadInput: none of them tells.
    """
    if said is not None:
        return said
    path = Path(source.name)
    ending = Path(path.stem).suffix if path.suffix.lower() in _COMPRESSED else path.suffix
    known = _ENDINGS.get(ending.lower())
    if known is not None:
        return known
    by_byte = {b"[": "json", b"{": "ndjson", b"": "ndjson"}.get(source.first_byte())
    if by_byte is None:
        raise BadInput(0, f"the format of {source.name} cannot be told", "say --format ndjson, json or csv")
    return by_byte
