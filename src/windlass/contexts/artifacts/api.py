"""The door to artifacts: what the edges, other contexts and users' own modules may use."""

from __future__ import annotations

from windlass.contexts.artifacts.collecting import Collected
from windlass.contexts.artifacts.examining import Disagreement, Mended
from windlass.contexts.artifacts.folder import LocalFolder
from windlass.contexts.artifacts.model import (
    ANY_MIME,
    FILE,
    NAME_LENGTH,
    TYPE_LENGTH,
    Artifact,
    ArtifactNotFound,
    ChecksumMismatch,
    FileMissing,
    Limits,
    MimeRefused,
    NotAFile,
    OutsideRoot,
    RunNotFound,
    Saved,
)
from windlass.contexts.artifacts.objects import BLOCK, Content, ObjectStore, Opened
from windlass.contexts.artifacts.rows import count_older
from windlass.contexts.artifacts.saving import save_artifact
from windlass.contexts.artifacts.sealing import Sealer
from windlass.contexts.artifacts.service import Artifacts, File

__all__ = [
    "ANY_MIME",
    "BLOCK",
    "FILE",
    "NAME_LENGTH",
    "TYPE_LENGTH",
    "Artifact",
    "ArtifactNotFound",
    "Artifacts",
    "ChecksumMismatch",
    "Collected",
    "Content",
    "Disagreement",
    "File",
    "FileMissing",
    "Limits",
    "LocalFolder",
    "Mended",
    "MimeRefused",
    "NotAFile",
    "ObjectStore",
    "Opened",
    "OutsideRoot",
    "RunNotFound",
    "Saved",
    "Sealer",
    "count_older",
    "save_artifact",
]
