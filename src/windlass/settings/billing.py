"""Settings of the calls to the billing service."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field

from windlass.settings.fields import check_http_url


def _address(text: str) -> str:
    parts = urlsplit(check_http_url(text))
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("it takes host, port and path, and nothing else")
    return text


class BillingSettings(BaseModel):
    """Where billing is, and how long it may take to answer."""

    billing_service_url: Annotated[str, AfterValidator(_address)] = Field(
        "http://localhost:5002",
        description="Where providers are created: the billing service, or `windlass demo billing`",
        json_schema_extra={"allowed": "an http or https address without user, password and query"},
    )
    billing_connect_seconds: float = Field(5.0, gt=0, le=300, description="Seconds to connect to billing")
    billing_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="Seconds a call of billing may take, connecting to it included"
    )
