"""The file of a request, read as it comes: the body itself, or the one file of a multipart form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from windlass.kernel.errors import Invalid, Issue, ValidationFailed

FIELD = "file"
HEADER_BYTES = 16 * 1024
"""How long the headers of a part may be."""


class Upload(NamedTuple):
    """A file on its way: its name and media type where the client said them, and its pieces."""

    name: str | None
    mime: str | None
    pieces: AsyncIterator[bytes]


async def read_upload(request: Request) -> Upload:
    """Return the file of a request. What else a form holds is refused when it is reached, before anything is kept.

    Raises:
        Invalid: the body is encoded, or its form cannot be read.
        ValidationFailed: the form has no file, or something else.
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise Invalid("Content-Encoding is not read: send the file as it is", field="Content-Encoding")
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind.lower() != b"multipart/form-data":
        return Upload(None, request.headers.get("content-type"), request.stream())
    boundary = options.get(b"boundary")
    if not boundary:
        raise Invalid("Content-Type: multipart/form-data needs a boundary", field="Content-Type")
    form = _Form(request.stream(), boundary)
    await form.head()
    return Upload(form.name, form.mime, form.pieces())


class _Form:
    """A form of one file. Nothing of it is kept but the pieces of the last block that came."""

    def __init__(self, stream: AsyncIterator[bytes], boundary: bytes) -> None:
        self._stream = stream
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": self._field,
            "on_header_value": self._value,
            "on_header_end": self._header,
            "on_headers_finished": self._headed,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)
        self._pieces: list[bytes] = []
        self._said = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._size = self._parts = 0
        self._open = self._ended = False
        self.name: str | None = None
        self.mime: str | None = None

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise _refused("Send one file, and nothing else", "one_file")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._said[0] += data[start:end]
        self._grow(end - start)

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._said[1] += data[start:end]
        self._grow(end - start)

    def _grow(self, length: int) -> None:
        self._size += length
        if self._size > HEADER_BYTES:
            raise Invalid("the headers of the form are too long")

    def _header(self) -> None:
        self._headers[self._said[0].lower()] = self._said[1]
        self._said = [b"", b""]

    def _headed(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        field = options.get(b"name", b"").decode(errors="replace")
        if field != FIELD:
            raise ValidationFailed([Issue(("body", field), "Extra inputs are not permitted", "extra_forbidden")])
        try:
            self.name = options[b"filename"].decode() if b"filename" in options else None
        except UnicodeDecodeError:
            raise _refused("The file name should be UTF-8", "string_unicode") from None
        mime = self._headers.get(b"content-type")
        self.mime = None if mime is None else mime.decode("latin-1")
        self._open = True

    def _end(self) -> None:
        self._ended = True

    def _feed(self, block: bytes) -> None:
        try:
            self._parser.write(block)
        except MultipartParseError as error:
            raise Invalid(f"the form cannot be read: {error}") from None

    async def head(self) -> None:
        """Read up to where the file begins."""
        async for block in self._stream:
            self._feed(block)
            if self._open:
                return
        raise _refused("Field required", "missing")

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the file; it has come to its end, and the form with it, when this ends."""
        while self._pieces:
            yield self._pieces.pop(0)
        async for block in self._stream:
            self._feed(block)
            while self._pieces:
                yield self._pieces.pop(0)
        if not self._ended:
            raise Invalid("the form ends in the middle")


def _refused(message: str, kind: str) -> ValidationFailed:
    return ValidationFailed([Issue(("body", FIELD), message, kind)])
