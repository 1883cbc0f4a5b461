"""Experiments whose λ2 is drawn for every unit: what follows from the draws alone."""

from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.experiments.dose import dose_response_drawn
from service.experiments.intervals import PLANNED
from service.experiments.metrics import BEFORE, METRICS, Metric
from service.experiments.model import Config
from service.experiments.offpolicy import off_policy
from service.experiments.report import DoseResponse, OffPolicyPoint

Values = NDArray[np.float64]

PARTS: Final = 10
"""Equal parts of the range of λ2, which should get as many units each; and steps between the points asked for."""


def doses_drawn(config: Config, units: pl.DataFrame, names: tuple[str, ...]) -> list[DoseResponse]:
    """The metrics of these names over λ2."""
    lambda2, planned = units["lambda2"].to_numpy(), float(config.planned_units or PLANNED)
    return [
        dose_response_drawn(name, lambda2, outcome(units, METRICS[name]), config.alpha, planned, config.between)
        for name in names
    ]


def points_drawn(config: Config, units: pl.DataFrame) -> list[OffPolicyPoint]:
    """What each of a grid of λ2 would have done, by the primary metric."""
    if config.between is None:
        return []
    targets = np.linspace(*config.between, PARTS + 1).tolist()
    known = units.select(pl.col(BEFORE).fill_null(0.0)).to_numpy()
    unknown = units.select(pl.any_horizontal(pl.col(BEFORE).is_null())).to_numpy()
    return off_policy(
        units["lambda2"].to_numpy(),
        units["propensity"].to_numpy(),
        outcome(units, METRICS[config.primary]),
        targets,
        config.alpha,
        between=config.between,
        known=np.hstack([np.log1p(known), unknown]),
        planned=config.planned_units or PLANNED,
    )


def parts_drawn(config: Config, units: pl.DataFrame) -> tuple[dict[str, float], dict[str, int]]:
    """Shares and counts of equal parts of the range, for the sample ratio."""
    low, high = config.between or (0.0, 1.0)
    edges = np.linspace(low, high, PARTS + 1)
    counts, _ = np.histogram(units["lambda2"].to_numpy(), edges)
    names = [f"{start:.2f} to {end:.2f}" for start, end in pairwise(edges.tolist())]
    return dict.fromkeys(names, 1 / PARTS), dict(zip(names, counts.tolist(), strict=True))


def outcome(units: pl.DataFrame, metric: Metric) -> Values:
    """
    The metric per unit [n]; of a ratio what is linear in the unit, R + (y − R·d)/d̄: its mean over any group is the
    group's ratio but for what is small against its error (the delta method).
    """
    columns = units.with_columns((pl.col("lists") + pl.col("failures")).alias("answers"))
    y: Values = columns[metric.numerator].to_numpy()
    if metric.denominator is None:
        return y
    d: Values = columns[metric.denominator].to_numpy()
    if not d.sum() > 0:
        return np.zeros_like(y)
    whole = y.sum() / d.sum()
    linear: Values = whole + (y - whole * d) / d.mean()
    return linear
