"""
`filter`: which items may be in an answer, as a small JSON form over the catalogue's columns.

    {"category": "shoe", "price": {"gte": 10, "lt": 50}}    every field of one object must match
    {"category": ["shoe", "hat"]}                            any of several values, as {"in": [...]}
    {"all": [...]}, {"any": [...]}, {"not": {...}}           of such objects

Operators: eq, ne, in, gt, gte, lt, lte, exists. Text is compared by code points, dates as ISO 8601 text. null matches
{"exists": false} and nothing else; `not` turns the outcome round, null included. A list matches when one of its
elements does, each operator by itself; ne means that no element is the value.
"""

import json
from collections.abc import Mapping
from functools import lru_cache, partial, reduce

import numpy as np
import polars as pl
from numpy.typing import NDArray

from causalrec.errors import RequestError
from causalrec.topk import Rows
from service.conditions import Operand, Problem, compare, operand

MAX_DEPTH = 8  # of all, any and not
MAX_CONDITIONS = 64
MAX_VALUES = 1000  # in all lists of one filter
KEPT_BYTES = 1 << 26  # masks kept, a byte per item each
FEWEST_KEPT = 8
COMBINED = ("all", "any", "not")
SHOWN = 30  # columns named in an error

Mask = NDArray[np.bool_]
TRUE, FALSE = pl.lit(value=True), pl.lit(value=False)


def check_filter(given: Mapping[str, object], schema: pl.Schema, field: str) -> None:
    """Raises: RequestError naming what of `given`, which stands at `field`, is no filter over the columns `schema`."""
    _Reader(schema).read(given, field, 0)


def check_groups(column: str, schema: pl.Schema, field: str) -> None:
    """Raises: RequestError unless items can be grouped by `column`, which stands at `field` in the request."""
    if column not in schema:
        raise RequestError(field, column, _unknown(schema))
    if schema[column].is_nested() or schema[column] == pl.Binary:
        raise RequestError(field, column, "holds lists or objects; name a field with one value per item")


class Filters:
    """
    Filters over one catalogue's attributes. Masks are kept by the filter's meaning in JSON, the last used of them.

    Args:
        frame: a row per item.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        kept = min(256, max(FEWEST_KEPT, KEPT_BYTES // max(len(frame), 1)))
        # of functions, not of methods: they would hold this object, and with it a catalogue that is served no more
        self._mask = lru_cache(maxsize=kept)(partial(_evaluated, frame))
        self._groups = lru_cache(maxsize=FEWEST_KEPT)(partial(_numbered, frame))

    def mask(self, given: Mapping[str, object]) -> Mask:
        """Which rows [R] match `given`, which passed `check_filter`; not to be written to."""
        return self._mask(json.dumps(given, sort_keys=True))

    def groups(self, column: str) -> Rows:
        """
        A number [R] per row: equal where `column`, which passed `check_groups`, is; −1 where it is null, else from 0
        without gaps.
        """
        return self._groups(column)


def _evaluated(frame: pl.DataFrame, canonical: str) -> Mask:
    matches = _Reader(frame.schema).read(json.loads(canonical), "filter", 0)
    mask: Mask = frame.with_columns(matches.alias("matches"))["matches"].to_numpy()
    return mask


def _numbered(frame: pl.DataFrame, column: str) -> Rows:
    values = frame[column]
    values = values.fill_nan(None) if values.dtype.is_float() else values
    texts = values.cast(pl.String)
    codes = texts.cast(pl.Categorical).to_physical().to_numpy()
    groups = np.full(len(texts), -1, dtype=np.int64)
    there = texts.is_not_null().to_numpy()
    groups[there] = np.unique(codes[there], return_inverse=True)[1]
    return groups


class _Reader:
    """Reads one filter into an expression that is never null, counting what it is made of."""

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self._conditions = 0
        self._values = 0

    def read(self, given: object, field: str, depth: int) -> pl.Expr:
        """The expression of `given`, which stands at `field` in the request. Raises: RequestError."""
        if not isinstance(given, Mapping):
            raise RequestError(field, given, 'should be an object, such as {"category": "shoe"}')
        if depth > MAX_DEPTH:
            raise RequestError(field, None, f"all, any and not stand more than {MAX_DEPTH} deep in each other")
        parts = [self._part(name, value, f"{field}.{name}", depth) for name, value in given.items()]
        return reduce(pl.Expr.and_, parts, TRUE)

    def _part(self, name: str, value: object, field: str, depth: int) -> pl.Expr:
        if name == "not":
            return self.read(value, field, depth + 1).not_()
        if name in COMBINED:
            if not isinstance(value, list):
                raise RequestError(field, value, "should be a list of objects")
            each = [self.read(one, f"{field}.{place}", depth + 1) for place, one in enumerate(value)]
            return reduce(pl.Expr.and_, each, TRUE) if name == "all" else reduce(pl.Expr.or_, each, FALSE)
        if name not in self._schema:
            raise RequestError(field, name, _unknown(self._schema))
        return self._field(name, value, field)

    def _field(self, name: str, value: object, field: str) -> pl.Expr:
        """All that is asked of one column."""
        asked = value if isinstance(value, dict) else {"in" if isinstance(value, list) else "eq": value}
        if not asked:
            raise RequestError(field, value, 'names no condition; give a value, or an operator such as {"gte": 10}')
        conditions = [
            self._condition(name, operator, against, f"{field}.{operator}" if asked is value else field)
            for operator, against in asked.items()
        ]
        return reduce(pl.Expr.and_, conditions)

    def _condition(self, name: str, operator: str, against: object, field: str) -> pl.Expr:
        self._conditions += 1
        self._values += len(against) if isinstance(against, list) else 1
        if self._conditions > MAX_CONDITIONS:
            raise RequestError(field, None, f"a filter may have {MAX_CONDITIONS} conditions; put values into lists")
        if self._values > MAX_CONDITIONS + MAX_VALUES:
            raise RequestError(field, None, f"the lists of a filter may have {MAX_VALUES} values in all")
        try:
            column: Operand = operand(name, self._schema[name])
            return compare(column, operator, against)
        except Problem as problem:
            where = field if problem.place is None else f"{field}.{problem.place}"
            raise RequestError(where, problem.value, problem.detail) from problem


def _unknown(schema: pl.Schema) -> str:
    names = ", ".join(list(schema)[:SHOWN]) + (", …" if len(schema) > SHOWN else "")
    return f"there is no such field; items have {names}"
