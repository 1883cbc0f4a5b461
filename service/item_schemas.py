"""Bodies of what is said of items."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from causalrec.ids import MAX_ID_LENGTH, problem_with

MOST_ATTRIBUTES = 200
MOST_NUMBERS = 65_536  # of a feature
MOST_ATTRIBUTE_BYTES = 16_384  # of JSON; one record in memory and in Redis

Finite = Annotated[float, Field(allow_inf_nan=False)]


def _acceptable(item_id: str) -> str:
    if reason := problem_with(item_id):
        raise ValueError(f"the id {reason}")
    return item_id


def _short(attributes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if (length := len(json.dumps(attributes))) > MOST_ATTRIBUTE_BYTES:
        raise ValueError(f"takes {length} bytes of JSON, {MOST_ATTRIBUTE_BYTES} at most")
    return attributes


NewItemId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_ID_LENGTH),
    AfterValidator(_acceptable),
    Field(examples=["item-900"]),
]


class ItemMetadata(BaseModel):
    """What is said of an item beside its picture."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        strict=True,
        json_schema_extra={"examples": [{"attributes": {"title": "Linen coat", "category": "coat", "price": 89.5}}]},
    )

    attributes: Annotated[dict[str, JsonValue], AfterValidator(_short)] = Field({}, max_length=MOST_ATTRIBUTES)
    """By name, of the attributes that the bundle's items have; dates as ISO 8601 text. Those left out are null. None
    at all: an item that the bundle was trained with has the bundle's."""


class ItemBody(ItemMetadata):
    """An item with its feature instead of a picture."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"attributes": {"title": "Linen coat", "category": "coat", "price": 89.5}, "feature": [0.25, 0.5, 0.75]}
            ]
        },
    )

    feature: list[Finite] | None = Field(None, max_length=MOST_NUMBERS, fail_fast=True)
    """What the bundle's backbone makes of the picture, as it comes: neither centred nor scaled. Needed, unless the
    bundle was trained with the item."""


class ItemChange(BaseModel):
    """Whether answers may hold the item."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        strict=True,
        json_schema_extra={"examples": [{"hidden": True}]},
    )

    hidden: bool
    """true: no answer holds it from now on, on any replica, until it is false again."""


class ItemAnswer(BaseModel):
    """One item as this process knows it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    item_id: str
    """Its id."""
    attributes: dict[str, JsonValue]
    """Those of the bundle's items, null where nothing is known."""
    hidden: bool
    """No answer holds it."""
    kind: Literal["trained", "cold", "unplaced"]
    """trained: the bundle was trained with it. cold: it came while serving, and is placed by its picture alone.
    unplaced: it waits for a bundle that was trained with it or has the backbone that its feature is from."""
    version: int
    """Of the live catalogue this was read from; goes up with every change of any item."""


ITEM_EXAMPLE = {
    "item_id": "item-900",
    "attributes": {"title": "Linen coat", "category": "coat", "price": 89.5, "image": None},
    "hidden": False,
    "kind": "cold",
    "version": 12,
}
