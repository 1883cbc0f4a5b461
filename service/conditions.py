"""One condition on one column of the catalogue: typed, and never null."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import polars as pl

Kind = Literal["text", "whole", "number", "truth"]
Test = Callable[[pl.Expr], pl.Expr]

ORDER = {"gt": pl.Expr.gt, "gte": pl.Expr.ge, "lt": pl.Expr.lt, "lte": pl.Expr.le}
OPERATORS = ("eq", "ne", "in", *ORDER, "exists")
EXPECTED = {"text": "text", "whole": "a number", "number": "a number", "truth": "true or false"}
TYPES: dict[Kind, type[pl.DataType]] = {
    "text": pl.String,
    "whole": pl.Int64,
    "number": pl.Float64,
    "truth": pl.Boolean,
}
WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)


class Problem(ValueError):
    """
    A condition that a column cannot be asked.

    Args:
        value: what was given.
        detail: what is wrong, and what would be right.
        place: of the value in a list.
    """

    def __init__(self, value: object, detail: str, place: int | None = None) -> None:
        super().__init__(detail)
        self.value = value
        self.detail = detail
        self.place = place


class Operand(NamedTuple):
    """A column as it is compared: its expression, what its values are, and whether it holds a list of them."""

    column: pl.Expr
    kind: Kind | None
    listed: bool


def operand(name: str, dtype: pl.DataType) -> Operand:
    """The column `name` as it is compared; kind None where it can only be asked whether it is there."""
    column = pl.col(name)
    if isinstance(dtype, pl.Array):
        column, dtype = column.arr.to_list(), pl.List(dtype.inner)
    if not isinstance(dtype, pl.List):
        kind = _kind(dtype)
        return Operand(_as(column, kind, dtype), kind, listed=False)
    inner = dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()
    kind = _kind(inner)
    return Operand(column.list.eval(_as(pl.element(), kind, inner)), kind, listed=True)


def compare(left: Operand, operator: str, against: object) -> pl.Expr:
    """Which rows meet the condition. Raises: Problem."""
    if operator not in OPERATORS:
        raise Problem(operator, f"there is no such operator; there are {', '.join(OPERATORS)}")
    if operator == "exists":
        if not isinstance(against, bool):
            raise Problem(against, "should be true or false")
        return left.column.is_not_null() if against else left.column.is_null()
    if left.kind is None:
        raise Problem(against, "holds values that cannot be compared; it can only be asked {'exists': true}")
    if operator == "in":
        if not isinstance(against, list):
            raise Problem(against, "should be a list of values")
        values = [_checked(left.kind, value, place) for place, value in enumerate(against)]
        return _test(left, _among(left.kind, values))
    value = _checked(left.kind, against)
    if operator in ORDER:
        if left.kind == "truth":
            raise Problem(operator, "true and false have no order; eq, ne, in and exists can be asked of them")
        literal, order = pl.lit(value, dtype=_type(left.kind, [value])), ORDER[operator]
        return _test(left, lambda column: order(column, literal))
    equal = _test(left, _among(left.kind, [value]))
    return equal if operator == "eq" else equal.not_() & left.column.is_not_null()


def _kind(dtype: pl.DataType) -> Kind | None:
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Date | pl.Datetime):
        return "text"
    if isinstance(dtype, WHOLE):
        return "whole"
    if dtype.is_numeric():
        return "number"
    return "truth" if isinstance(dtype, pl.Boolean) else None


def _as(column: pl.Expr, kind: Kind | None, dtype: pl.DataType) -> pl.Expr:
    """The column as text, Int64, Float64 without NaN, or Boolean."""
    if kind is None:
        return column
    if isinstance(dtype, pl.Date | pl.Datetime):
        return column.dt.to_string("iso:strict")
    column = column.cast(TYPES[kind])
    return column.fill_nan(None) if kind == "number" else column


def _test(left: Operand, test: Test) -> pl.Expr:
    """`test` of the value, or of any element; null is no match."""
    if left.listed:
        return left.column.list.eval(test(pl.element()).fill_null(value=False)).list.any().fill_null(value=False)
    return test(left.column).fill_null(value=False)


def _among(kind: Kind, values: Sequence[object]) -> Test:
    series = pl.Series(values, dtype=_type(kind, values), strict=False)
    numeric = pl.Float64 if series.dtype == pl.Float64 else None
    return lambda column: (column.cast(numeric) if numeric else column).is_in(series.implode())


def _type(kind: Kind, values: Sequence[object]) -> type[pl.DataType]:
    """What `values` are compared as: whole numbers as such, where all of them are."""
    whole = all(isinstance(value, int) for value in values)
    return pl.Float64 if kind == "whole" and not whole else TYPES[kind]


def _checked(kind: Kind, value: object, place: int | None = None) -> object:
    """`value` as the column's kind has it. Raises: Problem."""
    if value is None:
        raise Problem(value, 'null equals nothing; ask {"exists": false}', place)
    if kind == "truth":
        fits = isinstance(value, bool)
    elif kind == "text":
        fits = isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
    else:
        return _number(kind, value, place)
    if not fits:
        raise Problem(value, f"should be {EXPECTED[kind]}", place)
    return value


def _number(kind: Kind, value: object, place: int | None) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Problem(value, "should be a number", place)
    if kind == "whole" and isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Problem(value, "should be a finite number", place)
    return number
