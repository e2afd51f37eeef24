"""An artifact, the rules for its names and types, and what may go wrong with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from windlass.kernel.errors import Conflict, Invalid, Issue, NotFound, ValidationFailed

NAME_LENGTH = 255
TYPE_LENGTH = 64
METADATA_BYTES = 32 * 1024
FILE = "file"
"""The type of an artifact of which nobody said one."""
OBJECT = "object:"
"""How the ``uri`` of a row begins whose object is found by its key."""
ANY_MIME = "application/octet-stream"
_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
_MIME = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")


class RunNotFound(NotFound):
    """There is no such run for this caller."""

    def __init__(self) -> None:
        super().__init__("Run not found")


class ArtifactNotFound(NotFound):
    """There is no such artifact for this caller."""

    def __init__(self, message: str = "Artifact not found") -> None:
        super().__init__(message)


class FileMissing(NotFound):
    """The artifact is known and its file is gone."""

    def __init__(self) -> None:
        super().__init__("File not found")


class NotAFile(Invalid):
    """The artifact is kept somewhere else than in files."""

    def __init__(self) -> None:
        super().__init__("Only file artifacts are downloadable")


class OutsideRoot(Invalid):
    """The artifact's file is not below the folder of artifacts."""

    def __init__(self) -> None:
        super().__init__("Invalid artifact path scope")


class ChecksumMismatch(Conflict):
    """The file is not what was stored."""

    def __init__(self) -> None:
        super().__init__("Artifact checksum mismatch")


class MimeRefused(Invalid):
    """The media type is none of those that WORKFLOWS_ARTIFACT_ALLOWED_MIME lists."""

    code = "UNSUPPORTED_MEDIA_TYPE"

    def __init__(self, mime: str) -> None:
        super().__init__(f"MIME not allowed: {mime}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are bytes, times are seconds; ``mimes`` are media types, ``type/*`` is all of a kind.

    ``strict``: a file that is not what was stored is refused, not only logged.
    """

    max_upload: int = 256 * 1024 * 1024
    max_download: int = 10 * 1024 * 1024
    max_bulk: int = 50 * 1024 * 1024
    mimes: tuple[str, ...] = (
        "text/plain", "text/markdown", "application/json", "application/pdf", "image/png", "image/jpeg",
    )  # fmt: skip
    strict: bool = True
    retention: float = 30 * 86400.0
    gc_interval: float | None = None

    def allows(self, mime: str | None) -> bool:
        """Say whether a media type may come in and go out."""
        given = mime or ANY_MIME
        return any(one in {given, "*/*", f"{given.partition('/')[0]}/*"} for one in self.mimes)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a run. ``uri`` is as the row has it; ``created_at`` is ISO 8601 text."""

    artifact_id: str
    tenant_id: str
    run_id: str
    step_run_id: str | None
    type: str
    uri: str
    size_bytes: int | None
    mime_type: str | None
    checksum_sha256: str | None
    encryption: str | None
    owned_by: str | None
    created_at: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its file name; the end of its address where none was given."""
        said = self.metadata.get("name")
        if isinstance(said, str) and said:
            return said
        last = self.uri.rstrip("/").rpartition("/")[2]
        return last if self.uri.startswith("file:") and last else self.artifact_id


class Saved(NamedTuple):
    """An artifact that is on disk; ``created`` is False when it had been so before."""

    artifact: Artifact
    created: bool


def artifact_id(run_id: str, step: str | None, name: str, checksum: str) -> str:
    """Return the id of a content under a name in a step of a run: the same whoever says it, however often."""
    said = orjson.dumps([run_id, step, name, checksum])
    text = hashlib.sha256(said).hexdigest()
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:32]}"


def check_file_name(name: str) -> str:
    """Return a file name unchanged.

    Raises:
        ValidationFailed: it is not 1 to 255 printable characters, or has a slash or backslash, or is ``.`` or ``..``.
    """
    plain = 1 <= len(name) <= NAME_LENGTH and name.isprintable() and name.strip() == name
    if not plain or name in {".", ".."} or "/" in name or "\\" in name:
        message = f"Input should be a file name of 1 to {NAME_LENGTH} printable characters without slashes"
        raise ValidationFailed([Issue(("name",), message, "file_name")])
    return name


def check_type(kind: str) -> str:
    """Return the type of an artifact unchanged.

    Raises:
        ValidationFailed: it is not 1 to 64 letters, digits and ``_ . : -``.
    """
    if len(kind) > TYPE_LENGTH or not _TYPE.fullmatch(kind):
        message = f"Input should be 1 to {TYPE_LENGTH} letters, digits and _ . : -"
        raise ValidationFailed([Issue(("type",), message, "artifact_type")])
    return kind


def check_mime(text: str) -> str:
    """Return a media type in lower case, without its parameters.

    Raises:
        MimeRefused: it is none.
    """
    mime = text.partition(";")[0].strip().lower()
    if not _MIME.fullmatch(mime):
        raise MimeRefused(mime[:100] if mime.isprintable() else "?")
    return mime


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as plain JSON.

    Raises:
        ValidationFailed: it is no JSON that can be kept, or too large.
    """
    try:
        text = orjson.dumps(dict(metadata))
    except (TypeError, ValueError) as error:
        raise ValidationFailed([Issue(("metadata",), f"Input should be JSON: {error}", "json_type")]) from None
    if len(text) > METADATA_BYTES or b"\\u0000" in text:
        message = f"Input should be at most {METADATA_BYTES} bytes of JSON without NUL characters"
        raise ValidationFailed([Issue(("metadata",), message, "metadata")])
    plain: dict[str, Any] = orjson.loads(text)
    return plain


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names of which no two are the same on any system: a repeated ``a.txt`` is ``a-2.txt``."""
    seen: set[str] = set()
    found = []
    for name in names:
        stem, dot, end = name.rpartition(".")
        stem, end = (stem, dot + end) if stem else (name, "")
        chosen, number = name, 1
        while chosen.casefold() in seen:
            number += 1
            chosen = f"{stem}-{number}{end}"
        seen.add(chosen.casefold())
        found.append(chosen)
    return found
