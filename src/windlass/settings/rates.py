"""Settings of how often a caller may ask for logins and candidates."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

MOST = 10**9
_REDIS = re.compile(r"(rediss?|valkeys?|unix)://\S+")


def _redis(url: SecretStr) -> SecretStr:
    if not _REDIS.fullmatch(url.get_secret_value()):
        raise ValueError("it is no address of a Redis or Valkey server")
    return url


class RateSettings(BaseModel):
    """How many requests a caller may send in a minute: to log in, and for candidates."""

    rate_limits_enabled: bool = Field(True, description="Whether logins and requests for candidates are counted")
    rate_limits_login: int = Field(5, ge=1, le=MOST, description="How many logins an address may try in a minute")
    rate_limits_writes: int = Field(
        10, ge=1, le=MOST, description="How many candidates a caller may register in a minute"
    )
    rate_limits_reads: int = Field(
        100, ge=1, le=MOST, description="How many lists and candidates a caller may read in a minute"
    )
    rate_limits_admin: int = Field(
        20, ge=1, le=MOST, description="How many candidates a caller may change or decide on in a minute"
    )
    redis_url: Annotated[SecretStr, AfterValidator(_redis)] | None = Field(
        None,
        description="The Redis or Valkey server in which all processes count these together; without it each process"
        " counts for itself",
        json_schema_extra={"allowed": "redis://…, rediss://…, valkey://… or unix://…"},
    )
