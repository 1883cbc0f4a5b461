"""Attributes are checked against the columns that the bundle's items have."""

import polars as pl
import pytest

from causalrec.errors import RequestError
from service import attributes

SCHEMA = {
    "item_id": pl.String(),
    "title": pl.String(),
    "category": pl.Categorical(),
    "size": pl.Enum(["S", "M"]),
    "price": pl.Float64(),
    "weight": pl.Float32(),
    "stock": pl.UInt8(),
    "sold": pl.Int64(),
    "on_sale": pl.Boolean(),
    "since": pl.Date(),
    "seen_at": pl.Datetime(),
    "abroad_at": pl.Datetime(time_zone="UTC"),
    "tags": pl.List(pl.String()),
    "sizes": pl.List(pl.Int64()),
    "maker": pl.Struct({"name": pl.String()}),
}

GOOD: list[tuple[str, object]] = [
    *((name, None) for name in SCHEMA if name != "item_id"),
    ("title", ""),
    ("title", "zoë 👗"),
    ("category", "never seen"),
    ("size", "M"),
    ("price", 3),
    ("price", 2**70),
    ("price", -0.5),
    ("weight", 3e38),
    ("stock", 255),
    ("sold", -(2**63)),
    ("on_sale", False),
    ("since", "2024-02-29"),
    ("seen_at", "2024-02-29T12:00:01"),
    ("tags", []),
    ("tags", ["a", None]),
    ("sizes", [1, 2]),
]
BAD: list[tuple[str, object]] = [
    ("title", 3),
    ("title", "\ud800"),
    ("title", ["a"]),
    ("size", "XL"),
    ("price", "3"),
    ("price", True),
    ("price", float("nan")),
    ("price", float("inf")),
    ("price", 10**400),
    ("weight", 1e39),
    ("stock", 256),
    ("stock", -1),
    ("stock", 1.0),
    ("stock", True),
    ("sold", 2**63),
    ("on_sale", 1),
    ("on_sale", "true"),
    ("since", "2024-02-30"),
    ("since", 20240229),
    ("seen_at", "2024-02-29T12:00:01Z"),
    ("abroad_at", "2024-02-29T12:00:01Z"),
    ("tags", "a"),
    ("tags", ["a", 1]),
    ("sizes", [1, "2"]),
    ("maker", {"name": "x"}),
    ("colour", "red"),
    ("item_id", "item-1"),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_value_of_the_columns_type_is_taken(name: str, value: object) -> None:
    """And stands in the catalogue's frame as what it is."""
    attributes.check({name: value}, SCHEMA)

    frame = attributes.frame(["a", "b"], [{name: value}, {}], SCHEMA)

    assert frame.schema == pl.Schema(SCHEMA)
    assert frame["item_id"].to_list() == ["a", "b"]
    assert (frame[name][0] is None) == (value is None)
    assert frame[name][1] is None


@pytest.mark.parametrize(("name", "value"), BAD)
def test_any_other_value_is_refused_by_name(name: str, value: object) -> None:
    """Naming the attribute; where it stands in Redis all the same (another bundle's), it is null."""
    with pytest.raises(RequestError) as caught:
        attributes.check({"title": "x", name: value}, SCHEMA)

    assert caught.value.field == f"attributes.{name}"
    frame = attributes.frame(["a"], [{name: value}], SCHEMA)
    assert name not in SCHEMA or name == "item_id" or frame[name][0] is None


def test_an_unknown_attribute_is_told_which_there_are() -> None:
    """The way out is in the message."""
    with pytest.raises(RequestError, match="the bundle has title, price"):
        attributes.check({"colour": "red"}, {"item_id": pl.String(), "title": pl.String(), "price": pl.Float64()})
