"""Settings of identity: how callers are recognised."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from windlass.settings.fields import Names, check_http_url


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
    jwt_secret_key_previous: SecretStr | None = Field(
        None,
        description="A second key whose tokens are good too, while JWT_SECRET_KEY signs: the former one, or the next;"
        " outside dev at least 32 bytes",
        json_schema_extra={"allowed": "any text"},
    )
    access_token_minutes: float = Field(
        30.0, ge=1, le=1440, description="Minutes for which the token of POST /auth/login is good"
    )
    refresh_token_days: float = Field(
        14.0,
        gt=0,
        le=365,
        description="Days after a login for which its refresh tokens are good; then the password is asked for again",
        json_schema_extra={"allowed": "a number above 0, up to 365"},
    )
    auth_cache_seconds: float = Field(
        5.0,
        ge=0,
        le=60,
        description="Seconds for which a user, login or service key that was looked up is believed: so long after"
        " its end a process may still let it in",
    )
    password_hashes_at_once: int = Field(
        2, ge=1, le=64, description="How many passwords are hashed at the same time; each takes 64 MiB"
    )
    oidc_issuer: Annotated[str, AfterValidator(check_http_url)] | None = Field(
        None,
        description="Who also vouches for users, by OpenID Connect, exactly as it names itself; empty is nobody",
        json_schema_extra={"allowed": "an http or https address, outside dev https"},
    )
    oidc_client_id: str | None = Field(None, description="How the provider knows this service")
    oidc_client_secret: SecretStr | None = Field(
        None,
        description="What proves that to the provider; empty for a public client",
        json_schema_extra={"allowed": "any text"},
    )
    oidc_redirect_url: Annotated[str, AfterValidator(check_http_url)] | None = Field(
        None,
        description="Where the provider sends browsers back to, as it is registered there; empty is"
        " /auth/oidc/callback where the browser came to",
        json_schema_extra={"allowed": "an http or https address that ends with /auth/oidc/callback"},
    )
    oidc_scopes: str = Field("openid email profile", description="The scopes that are asked for")
    oidc_username_claim: str = Field(
        "email",
        description="The claim that is a user's name here: one that users of the provider cannot choose; an email"
        " counts when it is verified",
    )
    oidc_role_claim: str | None = Field(
        None,
        description="The claim that makes administrators at each login, inner ones with dots between; empty leaves"
        " roles to `windlass users roles`",
    )
    oidc_admin_values: Names = Field(
        ("admin",),
        description="What OIDC_ROLE_CLAIM says, or has among it, of administrators",
        json_schema_extra={"allowed": "texts separated by commas"},
    )
    oidc_add_users: bool = Field(
        True, description="Whether somebody new becomes a user; if not, `windlass users add` comes first"
    )
    oidc_tenant: str = Field("default", description="The tenant of users who come so")
