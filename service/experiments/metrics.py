"""What is measured of a unit, and the metrics made of it: a mean per unit, or a ratio of two sums."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import polars as pl

UNITS: Final = pl.Schema(
    {
        "unit": pl.String,
        "variant": pl.String,
        "version": pl.Int64,
        "lambda2": pl.Float64,  # of an interleaving: null
        "propensity": pl.Float64,
        "exposed": pl.Float64,  # seconds since 1970; null without an exposure on record: such a unit is not analysed
        "before_clicks": pl.Float64,  # acts known of at the exposure; null where nothing was known
        "before_carts": pl.Float64,
        "before_purchases": pl.Float64,
        "before_ratings": pl.Float64,
        "lists": pl.Float64,
        "empty": pl.Float64,  # lists without an item
        "failures": pl.Float64,  # answers that were errors
        "seconds": pl.Float64,  # to answer, summed over the lists
        "clicks": pl.Float64,
        "carts": pl.Float64,
        "purchases": pl.Float64,
        "ratings": pl.Float64,
        "rating_sum": pl.Float64,
        "revenue": pl.Float64,  # sum of the values of purchases
        "clicks_a": pl.Float64,  # interleaving: on items that the first variant put there
        "clicks_b": pl.Float64,
        "purchases_a": pl.Float64,
        "purchases_b": pl.Float64,
    }
)
"""The unit frame: a row per unit of a series, from its first exposure, what it did after that within the window."""

BEFORE: Final = ("before_clicks", "before_carts", "before_purchases", "before_ratings")


class Metric(NamedTuple):
    """Σ numerator / Σ denominator over units; denominator None: per unit. words: as a report calls it."""

    name: str
    numerator: str
    denominator: str | None
    better: Literal["higher", "lower"]
    words: str


METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("purchases_per_user", "purchases", None, "higher", "purchases per user"),
        Metric("revenue_per_user", "revenue", None, "higher", "revenue per user"),
        Metric("clicks_per_user", "clicks", None, "higher", "clicks per user"),
        Metric("carts_per_user", "carts", None, "higher", "carts per user"),
        Metric("rating_sum_per_user", "rating_sum", None, "higher", "sum of ratings per user"),
        Metric("lists_per_user", "lists", None, "higher", "lists per user"),
        Metric("click_through", "clicks", "lists", "higher", "clicks per list"),
        Metric("purchases_per_list", "purchases", "lists", "higher", "purchases per list"),
        Metric("purchases_per_click", "purchases", "clicks", "higher", "purchases per click"),
        Metric("mean_rating", "rating_sum", "ratings", "higher", "mean rating"),
        Metric("latency", "seconds", "lists", "lower", "seconds per answer"),
        Metric("empty_lists", "empty", "lists", "lower", "share of empty lists"),
        Metric("failures", "failures", "answers", "lower", "share of failed answers"),  # answers = lists + failures
    )
}
COVERAGE: Final = "coverage"
"""A guardrail that is no sum over units: distinct items in the lists of a variant, against the control's."""
PRIMARY: Final = "purchases_per_user"
BESIDE: Final = ("click_through", "revenue_per_user", "purchases_per_click")
"""What stands beside the primary metric where nobody says otherwise: clicks are shown, never decided by."""
