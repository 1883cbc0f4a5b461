"""The filter's form: what it means for every type of attribute, and what is said to one that cannot be meant."""

from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from causalrec.errors import RequestError
from service.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, Filters, check_filter, check_groups

FRAME = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "category": ["hat", "shoe", None, "hat"],
        "price": [1.0, float("nan"), 3.5, None],
        "stock": [1, 2**62, None, 4],
        "tags": [["new", "red"], [], None, ["red", None]],
        "mine": [True, False, None, True],
        "since": [date(2024, 1, 1), None, date(2024, 5, 5), date(2025, 1, 1)],
        "at": [datetime(2024, 1, 1, 12), None, None, datetime(2025, 1, 1)],  # noqa: DTZ001 - as parquet has it
        "kind": pl.Series(["x", "y", None, "x"], dtype=pl.Categorical),
        "sizes": pl.Series([[38, 39], [40, 41], [38, 40], [1, 2]], dtype=pl.Array(pl.Int8, 2)),
        "big": pl.Series([1, 2, 3, 2**64 - 1], dtype=pl.UInt64),
        "made": [{"by": 1}] * 4,
    }
)


@pytest.mark.parametrize(
    ("given", "matching"),
    [
        ({}, "abcd"),
        ({"category": "hat"}, "ad"),
        ({"category": ["hat", "shoe"]}, "abd"),
        ({"category": []}, ""),
        ({"category": {"ne": "hat"}}, "b"),
        ({"category": {"gt": "hat"}}, "b"),
        ({"category": {"exists": False}}, "c"),
        ({"not": {"category": "hat"}}, "bc"),
        ({"price": {"gte": 1, "lt": 3.5}}, "a"),
        ({"price": {"gt": -1}}, "ac"),
        ({"price": {"exists": False}}, "bd"),
        ({"stock": 2**62}, "b"),
        ({"stock": 2**62 + 1}, ""),
        ({"stock": {"gt": 1.5}}, "bd"),
        ({"stock": [1, 2.5, 4]}, "ad"),
        ({"stock": {"lt": 10**30}}, "abd"),
        ({"tags": "red"}, "ad"),
        ({"tags": {"ne": "red"}}, "b"),
        ({"tags": {"exists": True}}, "abd"),
        ({"tags": ["new", "old"]}, "a"),
        ({"mine": True}, "ad"),
        ({"mine": {"ne": True}}, "b"),
        ({"since": {"gte": "2024-05"}}, "cd"),
        ({"at": {"lt": "2024-06-01"}}, "a"),
        ({"kind": "x"}, "ad"),
        ({"sizes": 38}, "ac"),
        ({"sizes": {"gt": 40}}, "b"),
        ({"big": {"gt": 3}}, "d"),
        ({"made": {"exists": True}}, "abcd"),
        ({"category": "hat", "price": 1}, "a"),
        ({"all": [{"mine": True}, {"tags": "new"}]}, "a"),
        ({"all": []}, "abcd"),
        ({"any": [{"mine": False}, {"item_id": "d"}]}, "bd"),
        ({"any": []}, ""),
        ({"not": {}}, ""),
    ],
)
def test_what_a_filter_matches(given: dict[str, Any], matching: str) -> None:
    """null and NaN match `exists: false` alone; whole numbers are compared as such; lists match by any element."""
    mask = Filters(FRAME).mask(given)

    assert "".join(FRAME["item_id"].filter(pl.Series(mask))) == matching


@pytest.mark.parametrize(
    ("given", "field", "detail"),
    [
        ({"colour": "red"}, "filter.colour", "there is no such field; items have item_id, category, price"),
        ({"any": [{}, {"x": 1}]}, "filter.any.1.x", "there is no such field"),
        ({"price": "cheap"}, "filter.price", "should be a number"),
        ({"price": {"gte": "x"}}, "filter.price.gte", "should be a number"),
        ({"price": {"in": [1, True]}}, "filter.price.in.1", "should be a number"),
        ({"price": float("nan")}, "filter.price", "finite"),
        ({"price": 10**400}, "filter.price", "finite"),
        ({"price": {"above": 1}}, "filter.price.above", "there is no such operator; there are eq, ne, in"),
        ({"category": 1}, "filter.category", "should be text"),
        ({"category": ["hat", 1]}, "filter.category.1", "should be text"),
        ({"category": "\ud800"}, "filter.category", "should be text"),
        ({"category": None}, "filter.category", '{"exists": false}'),
        ({"category": {}}, "filter.category", "names no condition"),
        ({"category": {"in": "hat"}}, "filter.category.in", "should be a list"),
        ({"category": {"exists": 1}}, "filter.category.exists", "true or false"),
        ({"mine": 1}, "filter.mine", "true or false"),
        ({"mine": {"gt": False}}, "filter.mine.gt", "no order"),
        ({"made": 1}, "filter.made", "cannot be compared"),
        ({"all": {}}, "filter.all", "should be a list"),
        ({"not": []}, "filter.not", "should be an object"),
        ({"all": [1]}, "filter.all.0", "should be an object"),
    ],
)
def test_what_cannot_be_meant_is_named(given: dict[str, Any], field: str, detail: str) -> None:
    """The place in the request, and what would be right there."""
    with pytest.raises(RequestError) as refused:
        check_filter(given, FRAME.schema, "filter")

    assert refused.value.field == field
    assert detail in refused.value.detail


def test_a_filter_is_bounded() -> None:
    """In depth, conditions and values: one request cannot ask for endless work."""
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        deep = {"not": deep}
    many = [{"stock": 1}] * MAX_CONDITIONS
    values = list(range(MAX_VALUES))

    for fits in (deep, {"any": many}, {"stock": values}):
        check_filter(fits, FRAME.schema, "filter")
    for beyond in ({"not": deep}, {"any": [*many, {"stock": 1}]}, {"stock": values, "price": values}):
        with pytest.raises(RequestError):
            check_filter(beyond, FRAME.schema, "filter")


def test_masks_are_kept_by_meaning() -> None:
    """The same filter in another order of keys is evaluated once."""
    filters = Filters(FRAME)

    first = filters.mask({"mine": True, "price": {"gte": 0, "lt": 9}})

    assert filters.mask({"price": {"lt": 9, "gte": 0}, "mine": True}) is first


@pytest.mark.parametrize("column", ["category", "stock", "mine", "kind", "since", "price"])
def test_groups_are_equal_where_values_are(column: str) -> None:
    """Whatever the type; null and NaN are no group."""
    groups = Filters(FRAME).groups(column).tolist()

    values = [None if value != value else value for value in FRAME[column].to_list()]  # noqa: PLR0124 - NaN
    for group, value in zip(groups, values, strict=True):
        assert [group == other for other in groups] == [value == other for other in values]
        assert (group == -1) == (value is None)


@pytest.mark.parametrize(("column", "detail"), [("colour", "no such field"), ("tags", "lists"), ("made", "objects")])
def test_what_cannot_make_groups_is_named(column: str, detail: str) -> None:
    """An unknown field, and fields without one value per item."""
    with pytest.raises(RequestError, match=detail):
        check_groups(column, FRAME.schema, "max_per_category.field")
