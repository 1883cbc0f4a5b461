"""What may be said of an item: values by column name, of the columns and types that the bundle's catalogue has."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar

import numpy as np
import polars as pl

from causalrec.errors import RequestError

T = TypeVar("T")

ID = "item_id"


def check(attributes: Mapping[str, object], schema: Mapping[str, pl.DataType]) -> None:
    """
    Args:
        attributes: by column; as JSON has them, dates as ISO 8601 text. null is always allowed.
        schema: the catalogue's columns.
    Raises: RequestError naming the first attribute that is no column, or whose value is not of the column's type.
    """
    known = [name for name in schema if name != ID]
    for name, value in attributes.items():
        field = f"attributes.{name}"
        if name not in known:
            there = f"the bundle has {', '.join(known)}" if known else "the bundle's items have none"
            raise RequestError(field, name, f"there is no such attribute; {there}")
        if expected := _misfit(value, schema[name]):
            raise RequestError(field, value, f"should be {expected}, as this attribute is {schema[name]} in the bundle")


def frame(
    ids: Sequence[str], attributes: Sequence[Mapping[str, object]], schema: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    """The rows of items as the catalogue has them; null where a value is absent, or fits no column of this bundle."""
    columns = {
        name: pl.Series(name, [_value(each.get(name), dtype) for each in attributes], dtype=dtype)
        for name, dtype in schema.items()
        if name != ID
    }
    rows = {name: pl.Series(ID, ids, dtype=schema[ID]) if name == ID else columns[name] for name in schema}
    return pl.DataFrame(rows)


def _value(value: object, dtype: pl.DataType) -> object:
    """`value` as polars takes it for `dtype`; None where it does not fit."""
    if value is None or _misfit(value, dtype):
        return None
    if isinstance(dtype, pl.List) and isinstance(value, list):
        inner = _inner(dtype)
        return [_value(each, inner) for each in value]
    if isinstance(dtype, pl.Float32 | pl.Float64) and isinstance(value, int):
        return float(value)
    if isinstance(dtype, pl.Date):
        return date.fromisoformat(str(value))
    return datetime.fromisoformat(str(value)) if isinstance(dtype, pl.Datetime) else value


def _misfit(value: object, dtype: pl.DataType) -> str | None:
    """What a value of `dtype` is, in words, where `value` is none; None where it is."""
    if value is None:
        return None
    if isinstance(dtype, pl.List):
        inner = _inner(dtype)
        wrong = (_misfit(each, inner) for each in value) if isinstance(value, list) else iter(["of one type each"])
        found = next((each for each in wrong if each), None)
        return None if found is None else f"a list of values, {found}"
    for kinds, fits, expected in KINDS:
        if isinstance(dtype, kinds):
            return None if fits(value, dtype) else expected
    return "left out (values of this type come from the bundle alone)"


def _is_text(value: object, dtype: pl.DataType) -> bool:
    if not isinstance(value, str) or (isinstance(dtype, pl.Enum) and value not in dtype.categories):
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)  # half a surrogate pair is no text


def _is_truth(value: object, _: pl.DataType) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object, dtype: pl.DataType) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    limits = np.iinfo(str(dtype).lower())
    return bool(limits.min <= value <= limits.max)


def _is_number(value: object, dtype: pl.DataType) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    limit = float(np.finfo(str(dtype).lower()).max)
    return -limit <= value <= limit  # neither NaN nor infinite is


def _is_date(value: object, _: pl.DataType) -> bool:
    return _parsed(date.fromisoformat, value) is not None


def _is_moment(value: object, dtype: pl.DataType) -> bool:
    parsed = _parsed(datetime.fromisoformat, value)
    return parsed is not None and parsed.tzinfo is None and getattr(dtype, "time_zone", None) is None


def _parsed(parse: Callable[[str], T], value: object) -> T | None:
    try:
        return parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _inner(dtype: pl.List) -> pl.DataType:
    return dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()


Fits = Callable[[object, pl.DataType], bool]
WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
KINDS: tuple[tuple[tuple[type[pl.DataType], ...], Fits, str], ...] = (
    ((pl.String, pl.Categorical, pl.Enum), _is_text, "text (one of the words it may be, where those are fixed)"),
    ((pl.Boolean,), _is_truth, "true or false"),
    (WHOLE, _is_whole, "a whole number within its range"),
    ((pl.Float32, pl.Float64), _is_number, "a finite number"),
    ((pl.Date,), _is_date, "a date such as 2024-05-31"),
    ((pl.Datetime,), _is_moment, "a time such as 2024-05-31T12:00:00 (no zone)"),
)
