"""Settings of requests to other hosts: the egress policy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_settings import NoDecode

from windlass.settings.fields import Names, json_object

TENANT_LISTS = (
    "WORKFLOWS_EGRESS_ALLOWLIST_", "WORKFLOWS_EGRESS_DENYLIST_", "WORKFLOWS_WEBHOOK_ALLOWLIST_",
    "WORKFLOWS_WEBHOOK_DENYLIST_",
)  # fmt: skip
"""Lists of one tenant: the prefix, then the tenant in upper case with ``_`` for ``-``."""
ANY_PORT = frozenset({"*", "any", "all"})
_HOSTS = "host names separated by commas; each also stands for its subdomains, and so does *.host"


def tenant_variables(prefixes: tuple[str, ...]) -> dict[str, str]:
    """Return the variables of single tenants, from ``.env`` and the environment, which wins."""
    found = {name.upper(): value for name, value in dotenv_values(".env").items() if value}
    found |= {name.upper(): value for name, value in os.environ.items() if value}
    return {
        name: value
        for name, value in found.items()
        for prefix in prefixes
        if name.startswith(prefix) and len(name) > len(prefix)
    }


def _tenant_lists() -> Mapping[str, tuple[str, ...]]:
    return {
        name: tuple(part.strip() for part in value.split(",") if part.strip())
        for name, value in tenant_variables(TENANT_LISTS).items()
    }


def _known_lists(lists: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    for name in lists:
        if not name.startswith(TENANT_LISTS):
            raise ValueError(f"{name} is none of {', '.join(f'{prefix}<TENANT>' for prefix in TENANT_LISTS)}")
    return lists


def _ports(ports: tuple[str, ...]) -> tuple[str, ...]:
    for port in ports:
        if port.lower() not in ANY_PORT and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise ValueError(f"{port!r} is no port")
    return ports


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class OutboundSettings(BaseModel):
    """Which hosts may be spoken to."""

    environment: str | None = Field(
        None,
        description="Another name of APP_ENV: development, staging or production, and words like these",
    )
    workflows_egress_profile: Annotated[Literal["auto", "strict", "permissive", "custom"], BeforeValidator(_lower)] = (
        Field(
            "auto",
            description="strict speaks only to hosts of an allow list, permissive and custom to all when there is none;"
            " auto is strict in prod and permissive elsewhere",
        )
    )
    workflows_egress_allowed_ports: Annotated[Names, AfterValidator(_ports)] = Field(
        ("80", "443"),
        description="Ports that may be spoken to",
        json_schema_extra={"allowed": "port numbers separated by commas; *, any or all is every port"},
    )
    egress_allowlist: Names = Field(
        (), description="Hosts that may be spoken to", json_schema_extra={"allowed": _HOSTS}
    )
    egress_denylist: Names = Field(
        (), description="Hosts that are never spoken to", json_schema_extra={"allowed": _HOSTS}
    )
    workflows_egress_allowlist: Names = Field(
        (), description="Further hosts beside EGRESS_ALLOWLIST", json_schema_extra={"allowed": _HOSTS}
    )
    workflows_egress_denylist: Names = Field(
        (), description="Further hosts beside EGRESS_DENYLIST", json_schema_extra={"allowed": _HOSTS}
    )
    workflows_webhook_allowlist: Names = Field(
        (),
        description="Hosts that webhooks may go to, instead of the general allow lists; a tenant's own list"
        " (WORKFLOWS_WEBHOOK_ALLOWLIST_<TENANT>) replaces it",
        json_schema_extra={"allowed": _HOSTS},
    )
    workflows_webhook_denylist: Names = Field(
        (),
        description="Hosts that webhooks never go to, beside the general deny lists",
        json_schema_extra={"allowed": _HOSTS},
    )
    workflows_tenant_lists: Annotated[
        Mapping[str, tuple[str, ...]], NoDecode, AfterValidator(_known_lists), BeforeValidator(json_object)
    ] = Field(
        default_factory=_tenant_lists,
        description="Lists of single tenants by name; filled from WORKFLOWS_EGRESS_ALLOWLIST_<TENANT>,"
        " WORKFLOWS_EGRESS_DENYLIST_<TENANT>, WORKFLOWS_WEBHOOK_ALLOWLIST_<TENANT> and"
        " WORKFLOWS_WEBHOOK_DENYLIST_<TENANT> (the tenant in upper case, _ for -)",
        json_schema_extra={"allowed": "a JSON object of lists; leave it empty and set those variables"},
    )
    workflows_egress_block_private: bool = Field(
        True, description="Whether private, local and reserved addresses are never connected to"
    )
    http_max_redirects: int = Field(5, ge=0, le=20, description="How many redirects a webhook step follows, if any")

    @property
    def is_production(self) -> bool:
        """Whether ENVIRONMENT or APP_ENV says so."""
        said = (self.environment or "", getattr(self, "app_env", ""))
        return any(name.strip().lower() in {"prod", "production"} for name in said)
