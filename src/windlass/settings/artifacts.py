"""Settings of artifacts."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr

from windlass.settings.fields import Names

MIB = 1024 * 1024
MIMES = ("text/plain", "text/markdown", "application/json", "application/pdf", "image/png", "image/jpeg")


class ArtifactsSettings(BaseModel):
    """Where artifacts are kept, what may come in and go out, and when they go."""

    workflows_artifacts_dir: Path = Field(
        Path("Databases/artifacts"),
        description="The folder of artifacts; all processes on one database share it",
    )
    workflows_artifact_dir: Path | None = Field(
        None,
        description="Another name of WORKFLOWS_ARTIFACTS_DIR, taken when it stands alone, refused beside another one",
    )
    workflows_artifact_validate_strict: bool = Field(
        True,
        description="Whether a file that is not what was stored is refused with 409; else it is logged and sent."
        " Runs with validation_mode non-block are never strict",
    )
    workflows_artifact_max_upload_bytes: int = Field(
        256 * MIB, ge=1, description="The largest artifact in bytes; it is streamed, so it costs no memory"
    )
    workflows_artifact_max_download_bytes: int = Field(
        10 * MIB, ge=1, description="The most bytes of an artifact in one answer; more is fetched with Range"
    )
    workflows_artifact_bulk_max_bytes: int = Field(
        50 * MIB, ge=1, description="The most bytes of files in the zip archive of a run"
    )
    workflows_artifact_allowed_mime: Names = Field(
        MIMES,
        description="Media types that may be uploaded and downloaded; type/* is all of a kind, */* is any",
        json_schema_extra={"allowed": "media types separated by commas"},
    )
    workflows_artifact_encryption: bool = Field(
        False, description="Whether metadata of artifacts is encrypted; needs WORKFLOWS_ARTIFACT_ENC_KEY"
    )
    workflows_artifact_enc_key: SecretStr | None = Field(
        None,
        description="The key that encrypts metadata of artifacts: 16, 24 or 32 bytes in base64; other text is hashed",
    )
    jobs_crypto_secondary_key: SecretStr | None = Field(
        None, description="A former WORKFLOWS_ARTIFACT_ENC_KEY: what it encrypted can still be read"
    )
    workflows_artifact_gc_enabled: bool = Field(
        False, description="Whether a server or worker removes artifacts past their time"
    )
    workflows_artifact_retention_days: float = Field(
        30, ge=0, le=36_500, description="Days for which an artifact is kept; those that an open run needs stay"
    )
    workflows_artifact_gc_interval_sec: float = Field(
        3600, ge=1, le=366 * 86400, description="Seconds between two rounds of removing"
    )
    workflows_artifacts_debug: bool = Field(
        False, description="Whether calls for artifacts are logged with ids, paths and Range headers"
    )
