"""How the shares of a tuned experiment move: towards the λ2 that is probably best, and never below the floor."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from causalrec.errors import RequestError
from service.experiments.metrics import METRICS
from service.experiments.model import Config
from service.experiments.offpolicy import Weighted, weighted_mean

MINIMUM: Final = 100
"""Units that every variant needs before the first move: below that a normal posterior is a guess."""
DRAWS: Final = 10_000
"""From the posterior: a probability of being best is known to about half a percent."""
UNIT: Final = 10**6
"""Shares are whole millionths."""

Floats = NDArray[np.float64]


def weights(units: pl.DataFrame, config: Config, rng: Generator) -> Mapping[str, float]:
    """
    The next shares of the variants: Thompson sampling in batches, mixed with the floor.

        share = floor + (1 − K·floor) · P(variant is best | data)

    Where every unit drew a variant from its own posterior sample, a variant would get the share P(it is best): the
    same in distribution, but with a propensity that is known and logged. The floor keeps 1/p bounded, without which
    the log could not be analysed (see offpolicy.weighted_mean).
    Posterior: normal, around the propensity-weighted mean over all versions; prior: normal around the mean of all
    variants, as wide as one unit, so that it weighs as much as one unit does. No variant's mean counts as better known
    than the spread of all units allows: where nobody has bought yet, that nobody will is not known.
    Source: Russo et al. 2018, "A tutorial on Thompson sampling"; the floor: Hadad et al. 2021.

    Args:
        units: rows of metrics.UNITS of all versions.
        config: the version in force; its variants, tuning.floor and primary metric count.
        rng: drawn from; the same state gives the same shares.
    Returns: variant → share, in whole millionths (equal shares of a full floor apart), none below the floor, of sum 1;
        as in `config` while a variant has fewer than MINIMUM units.
    Raises: RequestError if config has no tuning, or a floor that is not above 0 or more than 1/K.
    """
    floor = _floor(config)
    counted = units.filter(pl.col("propensity").is_not_null())
    parts = [counted.filter(variant=variant.name) for variant in config.variants]
    if min(len(part) for part in parts) < MINIMUM:
        return {variant.name: variant.weight for variant in config.variants}
    means, errors = posterior(parts, config.primary)
    draws = means + errors * rng.standard_normal((DRAWS, len(parts)))
    best = np.bincount(draws.argmax(axis=1), minlength=len(parts)) / DRAWS
    return dict(zip((variant.name for variant in config.variants), shares(best, floor), strict=True))


def posterior(parts: list[pl.DataFrame], metric: str) -> tuple[Floats, Floats]:
    """
    Mean and standard deviation [K] of what is believed of the metric of each variant, whose units are `parts`; of a
    metric that is better when lower, the negative. Where all units are alike, of every variant the same.
    """
    means, error, effective = np.array([_measured(part, metric) for part in parts]).T
    known = np.isfinite(error)
    if not (error[known] > 0).any():
        return np.zeros(len(parts)), np.ones(len(parts))
    variance = error**2 * effective  # of one unit of each variant
    everybody = float(np.average(means[known], weights=effective[known]))
    spread = float(np.average(variance[known], weights=effective[known]))
    precision = np.where(known, effective / np.maximum(variance, spread), 0.0)
    means = np.where(known, means, 0.0)
    return (everybody / spread + means * precision) / (1 / spread + precision), 1 / np.sqrt(1 / spread + precision)


def shares(best: Floats, floor: float) -> list[float]:
    """
    floor + (1 − K·floor)·best for every probability of `best` [K], rounded down to millionths; the largest takes what
    rounding left, so that the sum is 1.
    """
    least = int(np.ceil(floor * UNIT - 1e-6))
    spare = UNIT - least * len(best)
    if spare <= 0:  # the floor takes everything: a third is no whole number of millionths
        return [1 / len(best)] * len(best)
    parts = least + np.floor(spare * best).astype(np.int64)
    parts[best.argmax()] += UNIT - parts.sum()
    return [int(part) / UNIT for part in parts]


def _measured(units: pl.DataFrame, metric: str) -> Weighted:
    _, numerator, denominator, better, _ = METRICS[metric]
    frame = units.with_columns(answers=pl.col("lists") + pl.col("failures"))
    values = frame[numerator].to_numpy() * (1.0 if better == "higher" else -1.0)
    per = None if denominator is None else frame[denominator].to_numpy()
    who = frame["unit"].rank("dense").to_numpy().astype(np.int64)
    return weighted_mean(values, frame["propensity"].to_numpy(), per, who)


def _floor(config: Config) -> float:
    if config.tuning is None:
        raise RequestError("kind", config.kind, "its shares do not move; make an experiment of kind tuned")
    floor, count = config.tuning.floor, len(config.variants)
    if not 0 < floor * count <= 1 + 1e-9:
        raise RequestError("tuning.floor", floor, f"{count} variants share 1: a floor above 0, at most {1 / count:.4f}")
    return floor
