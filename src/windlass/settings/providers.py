"""Settings of the provider registration."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from windlass.settings.fields import Names, check_http_url

MOST_PRODUCTS = 100
PRODUCT_LENGTH = 100


def _products(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > MOST_PRODUCTS:
        raise ValueError(f"there are more than {MOST_PRODUCTS} products")
    if len(set(names)) != len(names):
        raise ValueError("a product is named twice")
    if not all(name.isprintable() and len(name) <= PRODUCT_LENGTH for name in names):
        raise ValueError(f"a product is up to {PRODUCT_LENGTH} printable characters")
    return names


class ProviderSettings(BaseModel):
    """What may be registered, and who approves it."""

    providers_products: Annotated[Names, AfterValidator(_products)] = Field(
        ("apples", "oranges", "grapes", "bananas", "mangoes"),
        description="The products that a candidate may offer",
        json_schema_extra={"allowed": "names separated by commas"},
    )
    providers_approval_wait_seconds: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="How long a caller waits for the end of an approval",
    )
    providers_second_approver: bool = Field(
        False, description="Whether another administrator than the first must approve a candidate, too"
    )
    providers_approval_expires_hours: float | None = Field(
        None, gt=0, le=8784, description="How long the first approval waits for the second; unset is for ever"
    )
    providers_webhook_url: Annotated[str, AfterValidator(check_http_url)] | None = Field(
        None,
        description="Where approved candidates are told, signed as the other webhooks are",
        json_schema_extra={"allowed": "an http or https address"},
    )
