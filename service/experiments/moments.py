"""Sums over units from which every mean, every ratio and their adjustment follow, however many units there are."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.experiments.metrics import BEFORE, METRICS

Values = NDArray[np.float64]

OUTCOMES: Final = tuple(
    sorted({name for metric in METRICS.values() for name in (metric.numerator, metric.denominator) if name})
)
UNKNOWN: Final = "unknown"
"""Column that is 1 for units of whose past nothing was known; their `before` columns count as 0 beside it."""
COVARIATES: Final = (*BEFORE, UNKNOWN)
COLUMNS: Final = ("one", "weight", *OUTCOMES, *COVARIATES)


class Moments(NamedTuple):
    """
    Per variant the Gram matrix Σ zᵢ·zᵢᵀ of its units' columns, [V, C, C] or with further axes before. Of z, the column
    "one" is 1 and every other is multiplied with the unit's weight; the column "weight" is that itself.
    """

    variants: tuple[str, ...]
    columns: tuple[str, ...]
    gram: Values

    def units(self) -> Values:
        """How many units, [..., V]."""
        return self.gram[..., 0, 0]

    def total(self, column: str) -> Values:
        """Sum of a column, [..., V]."""
        return self.gram[..., 0, self.columns.index(column)]

    def of(self, *variants: str) -> "Moments":
        """Only these variants, in this order."""
        return self._replace(variants=variants, gram=self.gram[..., [self.variants.index(v) for v in variants], :, :])


def moments(units: pl.DataFrame, variants: Sequence[str], weighted: bool = False) -> Moments:
    """
    The moments of a unit frame (metrics.UNITS).

    weighted: units count 1/propensity, and what one unit did in several versions is one observation: of a tuned
    experiment, whose shares moved (see offpolicy.weighted_mean for why).
    """
    grams = [_gram(units.filter(pl.col("variant") == variant), weighted) for variant in variants]
    return Moments(tuple(variants), COLUMNS, np.array(grams).reshape(len(variants), len(COLUMNS), len(COLUMNS)))


def _gram(units: pl.DataFrame, weighted: bool) -> Values:
    weight = 1 / pl.col("propensity") if weighted else pl.lit(1.0)
    known = units.with_columns(
        weight.alias("weight"),
        (pl.col("lists") + pl.col("failures")).alias("answers"),
        pl.any_horizontal(pl.col(BEFORE).is_null()).cast(pl.Float64).alias(UNKNOWN),
    )
    columns = known.select("unit", "weight", pl.col(COLUMNS[2:]).fill_null(0.0) * pl.col("weight"))
    if weighted:
        columns = columns.group_by("unit", maintain_order=True).sum()
    z = np.column_stack([np.ones(len(columns)), columns.drop("unit").to_numpy()])
    product: Values = z.T @ z
    return product
