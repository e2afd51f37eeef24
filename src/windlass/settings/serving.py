"""Settings of what is served, to whom and how: a service alone, pages of other sites, compression."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from windlass.settings.fields import Names

PROVIDERS = "providers"
PORTS = {PROVIDERS: 5004}
"""Where a service listens when it is served alone and nothing else is said."""
ENVIRONMENTS = {
    **dict.fromkeys(("dev", "development", "local", "test", "testing", "ci"), "dev"),
    **dict.fromkeys(("staging", "stage", "qa", "uat", "preprod"), "staging"),
    **dict.fromkeys(("prod", "production", "live"), "prod"),
}
"""What APP_ENV is when ENVIRONMENT says it."""
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+")


def _origins(given: tuple[str, ...]) -> tuple[str, ...]:
    for origin in given:
        if origin not in {"*", "none"} and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin")
    if len(given) > 1 and "none" in given:
        raise ValueError("none stands alone")
    return given


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class ServingSettings(BaseModel):
    """What a server answers besides its own pages."""

    serve_only: Annotated[Literal["providers"], BeforeValidator(_lower)] | None = Field(
        None,
        description="The service that is served alone, as `windlass serve providers` does; empty serves everything",
        json_schema_extra={"allowed": "providers"},
    )
    app_host: str | None = Field(None, description="Another name of HOST, which wins")
    app_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Another name of PORT, which wins; a service alone listens on its own port otherwise, providers on"
        " 5004",
    )
    cors_origins: Annotated[Names, AfterValidator(_origins)] = Field(
        (),
        description="Sites whose pages may call this service from a browser; empty is, in dev, pages on this machine"
        " (http://localhost and http://127.0.0.1 on any port), elsewhere none",
        json_schema_extra={"allowed": "origins such as https://console.example separated by commas, * or none"},
    )
    compress_min_bytes: int = Field(
        1000, ge=0, description="From how many bytes on an answer is sent compressed (gzip) to who takes it; 0 is never"
    )

    @model_validator(mode="before")
    @classmethod
    def _other_names(cls, data: dict[str, Any]) -> dict[str, Any]:
        for name, other in (("host", "app_host"), ("port", "app_port")):
            if data.get(other) is not None:
                data.setdefault(name, data[other])
        own_port = PORTS.get(str(data.get("serve_only")).lower())
        if own_port is not None:
            data.setdefault("port", own_port)
        said = data.get("environment")
        if isinstance(said, str):
            meant = ENVIRONMENTS.get(said.strip().lower())
            if meant is None and "app_env" not in data:
                allowed = ", ".join(ENVIRONMENTS)
                raise ValueError(f"ENVIRONMENT: {said!r} is none of {allowed}; or say APP_ENV")
            if meant is not None and data.setdefault("app_env", meant) != meant:
                raise ValueError(f"ENVIRONMENT means APP_ENV={meant} and APP_ENV is {data['app_env']}: say one of them")
        return data
