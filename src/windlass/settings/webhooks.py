"""Settings of webhooks: secrets, time-outs, retries and the dead-letter queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from windlass.settings.fields import HeaderKey, json_object
from windlass.settings.outbound import tenant_variables

SECRET_OF_TENANT = "WORKFLOWS_WEBHOOK_SECRET_"  # noqa: S105  the name of one
MOST_SECRETS = 2


def _secrets(value: SecretStr) -> SecretStr:
    parts = [part.strip() for part in value.get_secret_value().split(",")]
    if not 1 <= len(parts) <= MOST_SECRETS or not all(parts):
        raise ValueError("it is one secret, or two as new,old")
    return value


def _all_secrets(values: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, value in values.items():
        if not name.startswith(SECRET_OF_TENANT):
            raise ValueError(f"{name} is no {SECRET_OF_TENANT}<TENANT>")
        try:
            _secrets(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return values


def _tenant_secrets() -> Mapping[str, SecretStr]:
    return {name: SecretStr(value) for name, value in tenant_variables((SECRET_OF_TENANT,)).items()}


class WebhookSettings(BaseModel):
    """How webhooks are signed, sent again, and given up."""

    workflows_webhook_secret: Annotated[SecretStr, AfterValidator(_secrets)] | None = Field(
        None,
        description="The key that webhooks are signed with; new,old signs with both while receivers change over",
        json_schema_extra={"allowed": "one secret, or two separated by a comma"},
    )
    workflows_webhook_tenant_secrets: Annotated[
        Mapping[str, SecretStr], NoDecode, AfterValidator(_all_secrets), BeforeValidator(json_object)
    ] = Field(
        default_factory=_tenant_secrets,
        repr=False,
        validate_default=True,
        description="Keys of single tenants by name, used instead of WORKFLOWS_WEBHOOK_SECRET; filled from"
        " WORKFLOWS_WEBHOOK_SECRET_<TENANT> (the tenant in upper case, _ for -)",
        json_schema_extra={"allowed": "a JSON object of secrets; leave it empty and set those variables"},
    )
    workflows_webhook_scheme: Literal["v1", "standard"] = Field(
        "v1",
        description="How completion webhooks are signed: v1 is X-Workflows-Signature, standard is that of Standard"
        " Webhooks",
    )
    workflows_webhook_timeout: float = Field(
        10.0, gt=0, le=300, description="Seconds an attempt to deliver a webhook, a replay or a webhook step may take"
    )
    workflows_notify_timeout: float = Field(10.0, gt=0, le=300, description="Seconds a notify step may take")
    workflows_disable_completion_webhooks: bool = Field(
        False, description="Whether the ends of runs are told to nobody"
    )
    workflows_webhook_dlq_base_sec: float = Field(
        30.0,
        gt=0,
        le=86400,
        description="The unit of the pauses between attempts: after attempt n it is this times 2^n seconds, give or"
        " take a fifth",
    )
    workflows_webhook_dlq_max_backoff_sec: float = Field(
        3600.0, gt=0, le=30 * 86400, description="The longest such pause in seconds"
    )
    workflows_webhook_dlq_max_attempts: int = Field(
        8,
        ge=1,
        le=1000,
        description="Attempts before a delivery becomes a dead letter; the worker for dead letters adds as many",
    )
    workflows_webhook_dlq_enabled: bool = Field(
        False,
        description="Whether dead letters are tried again by themselves, each once in"
        " WORKFLOWS_WEBHOOK_DLQ_MAX_BACKOFF_SEC; otherwise they wait for a replay",
    )
    workflows_webhook_dlq_interval_sec: float = Field(
        15.0, gt=0, le=86400, description="Seconds between two looks at the dead letters that are due"
    )
    workflows_webhook_dlq_batch: int = Field(
        25, ge=1, le=1000, description="How many of them are taken up at each look"
    )
    workflows_webhook_dlq_timeout_sec: float = Field(10.0, gt=0, le=300, description="Seconds such an attempt may take")
    workflows_default_bearer_token: HeaderKey | None = Field(
        None,
        description="Sent as Authorization by webhook steps that name no credential, to whatever host they name",
    )
    workflows_default_api_key: HeaderKey | None = Field(
        None, description="Sent as X-API-KEY by webhook steps that name no credential and have no bearer token"
    )

    def webhook_secrets(self) -> tuple[str, ...]:
        """Return the secrets for tenants without their own, the newer first; never print them."""
        return _parts(self.workflows_webhook_secret)

    def webhook_tenant_secrets(self) -> dict[str, tuple[str, ...]]:
        """Return the secrets of single tenants by the last part of their variables; never print them."""
        return {
            name.removeprefix(SECRET_OF_TENANT): _parts(value)
            for name, value in self.workflows_webhook_tenant_secrets.items()
        }


def _parts(value: SecretStr | None) -> tuple[str, ...]:
    return () if value is None else tuple(part.strip() for part in value.get_secret_value().split(","))
