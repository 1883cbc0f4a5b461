"""Many experiments at once whose truth is known, looked at after every batch of units: [E experiments, L looks]."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from service.experiments.adjustment import adjusted
from service.experiments.estimates import estimates
from service.experiments.intervals import factor, p_value
from service.experiments.metrics import Metric
from service.experiments.moments import COVARIATES, Moments

Values = NDArray[np.float64]
Found = NDArray[np.bool_]
Draw = Callable[[Generator, tuple[int, ...], Sequence[str], float], Mapping[str, Values]]
"""Draws the wanted columns of so many units; purchases and clicks times 1 + the lift."""

ALPHA: Final = 0.05
AT_ONCE: Final = 50  # experiments in memory together
DEVIATION: Final = 1.5  # of the logarithm of a price: the variance of revenue is 9 times that of equal prices


class Design(NamedTuple):
    """Units of either variant per look, how many looks, the true lift, what is compared, and with which covariates."""

    draw: Draw
    metric: Metric
    batch: tuple[int, int] = (50, 50)
    looks: int = 60
    lift: float = 0.0
    covariates: Sequence[str] = ()
    planned: float | None = None  # None: all units of the last look

    @property
    def horizon(self) -> float:
        return self.planned or float(sum(self.batch) * self.looks)

    @property
    def columns(self) -> tuple[str, ...]:
        own = (self.metric.numerator, *([self.metric.denominator] if self.metric.denominator else []))
        return ("one", "weight", *own, *self.covariates)


class Looks(NamedTuple):
    """
    At every look [E, L]: the difference, its standard error, the always-valid p-value of none, whether there were
    enough units, and how many. variances: of both means; reduction: share that CUPED took away.
    """

    difference: Values
    error: Values
    p: Values
    enough: Found
    units: Values
    means: Values
    variances: Values
    reduction: Values

    def called(self) -> Found:
        """[E]: at some look a difference was called, where there were enough units to."""
        return _ever((self.p <= ALPHA) & self.enough)

    def called_early(self) -> Found:
        """The same without a minimum of units."""
        return _ever(self.p <= ALPHA)

    def called_by_one_look(self) -> Found:
        """What the test for one look at the end calls, looked at as often."""
        return _ever((np.abs(self.difference) > 1.96 * self.error) & self.enough)

    def missed(self, truth: float, planned: float) -> Found:
        """[E]: at some look the interval did not hold the truth."""
        reach = factor(self.units, ALPHA, planned) * self.error
        return _ever((np.abs(self.difference - truth) > reach) & self.enough)


def _ever(at: Found) -> Found:
    found: Found = np.any(at, axis=1)
    return found


def shoppers(
    rng: Generator, shape: tuple[int, ...], columns: Sequence[str], lift: float, rate: float = 0.05
) -> Mapping[str, Values]:
    """
    Users with a pace (gamma, mean 1, variance 1) at which they come, buy and did so before; 0.2 clicks per list and
    `rate` purchases per user on average.
    """
    pace = rng.standard_exponential(shape)
    found: dict[str, Any] = {}
    if {"lists", "clicks"} & set(columns):
        found["lists"] = 1.0 + rng.poisson(3 * pace)
    if "clicks" in columns:
        found["clicks"] = rng.binomial(found["lists"].astype(np.int64), 0.2 * (1 + lift)).astype(np.float64)
    if {"purchases", "revenue"} & set(columns):
        found["purchases"] = rng.poisson(rate * (1 + lift) * pace).astype(np.float64)
    if "revenue" in columns:
        found["revenue"] = found["purchases"] * np.exp(DEVIATION * rng.standard_normal(shape))
    if set(COVARIATES) & set(columns):
        known = rng.random(shape) < 0.9
        found["unknown"] = 1.0 - known
        for name, often in zip(COVARIATES, (8, 2, 1, 0.5), strict=False):
            found[name] = known * rng.poisson(often * pace)
    return found


def frequent(rng: Generator, shape: tuple[int, ...], columns: Sequence[str], lift: float) -> Mapping[str, Values]:
    """The same users, who buy twenty times as often: then their past says a lot."""
    return shoppers(rng, shape, columns, lift, rate=1.0)


def strangers(rng: Generator, shape: tuple[int, ...], columns: Sequence[str], lift: float) -> Mapping[str, Values]:
    """Users whose past, skewed as it is, says nothing of what they do after."""
    past = [name for name in columns if name in COVARIATES]
    found = dict(shoppers(rng, shape, [name for name in columns if name not in COVARIATES], lift))
    return found | {name: rng.poisson(rng.standard_exponential(shape)).astype(np.float64) for name in past}


def grams(design: Design, experiments: int, rng: Generator) -> Values:
    """Moments of everybody who came up to each look: [E, L, 2, C, C]."""
    both = []
    for batch, lift in zip(design.batch, (0.0, design.lift), strict=True):
        shape = (experiments, design.looks, batch)
        drawn = design.draw(rng, shape, design.columns, lift)
        z = np.stack([np.ones(shape), np.ones(shape), *(drawn[name] for name in design.columns[2:])], axis=-1)
        both.append((np.swapaxes(z, -1, -2) @ z).cumsum(axis=1))
    return np.stack(both, axis=2)


def returning(design: Design, experiments: int, rng: Generator, *, at_once: bool = False) -> Values:
    """
    The same where users go on after their first visit: everybody who has come acts again between any two looks.

    at_once: all of them come before the first look, and from then on only act: the statistics change while the number
    of units does not.
    """
    units, found = design.batch[0] * design.looks, []
    pace = np.ones((experiments, 2, units)) if at_once else rng.standard_exponential((experiments, 2, units))
    done: dict[str, Any] = {name: np.zeros_like(pace) for name in design.columns[2:]}
    for look in range(design.looks):
        here = units if at_once else design.batch[0] * (look + 1)
        for name, often in {"lists": 0.5, "clicks": 0.1, "purchases": 0.02}.items():
            if name in done:
                done[name][..., :here] += rng.poisson(often * pace[..., :here])
        ones = np.ones((experiments, 2, here))
        z = np.stack([ones, ones, *(done[name][..., :here] for name in done)], axis=-1)
        found.append(np.swapaxes(z, -1, -2) @ z)
    return np.stack(found, axis=1)


def looked(design: Design, gram: Values) -> Looks:
    """What the analysis says at every look."""
    of = estimates(Moments(("a", "b"), design.columns, gram), design.metric, design.covariates)
    best = adjusted(of)
    difference, error = best.means[..., 1] - best.means[..., 0], np.sqrt(best.variances.sum(axis=-1))
    units = of.units.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.nan_to_num(difference / error)
    p = p_value(z, units, ALPHA, design.horizon)
    return Looks(difference, error, p, of.enough(), units, best.means, best.variances, best.reduction)


def chunks(experiments: int) -> Iterator[int]:
    """Sizes of parts that fit into memory."""
    for start in range(0, experiments, AT_ONCE):
        yield min(AT_ONCE, experiments - start)
