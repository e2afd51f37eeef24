"""Settings of identity: how callers are recognised."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, SecretStr


class IdentitySettings(BaseModel):
    """Who is calling."""

    auth_mode: Literal["single_user", "multi_user"] = Field(
        "multi_user",
        description="Who may call under /api/v1: single_user takes API_KEY and service keys, multi_user also the"
        " tokens of users who log in",
    )
    jwt_secret_key: SecretStr | None = Field(
        None,
        description="The key that signs tokens (HS256); outside dev at least 32 bytes. In dev it may be left out:"
        " one is made and kept in the database",
        json_schema_extra={"allowed": "any text"},
    )
    access_token_minutes: float = Field(
        30.0, ge=1, le=1440, description="Minutes for which the token of POST /auth/login is good"
    )
    auth_cache_seconds: float = Field(
        5.0,
        ge=0,
        le=60,
        description="Seconds for which a user or service key that was looked up is believed: so long after its"
        " revocation a process may still let it in",
    )
    password_hashes_at_once: int = Field(
        2, ge=1, le=64, description="How many passwords are hashed at the same time; each takes 64 MiB"
    )
