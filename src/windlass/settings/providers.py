"""Settings of the provider registration."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from windlass.settings.fields import Names

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
    """What may be registered."""

    providers_products: Annotated[Names, AfterValidator(_products)] = Field(
        ("apples", "oranges", "grapes", "bananas", "mangoes"),
        description="The products that a candidate may offer",
        json_schema_extra={"allowed": "names separated by commas"},
    )
