"""The variants of an experiment beside each other: each by itself, against the control, and over λ2."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from service.experiments.adjustment import Adjusted, adjusted
from service.experiments.dose import LEAST_DOSES, dose_response
from service.experiments.estimates import Estimates, estimates
from service.experiments.intervals import PLANNED, factor, interval, p_value, ratio
from service.experiments.metrics import METRICS, Metric
from service.experiments.model import Config
from service.experiments.moments import Moments
from service.experiments.multiplicity import holm
from service.experiments.planning import units_until
from service.experiments.report import Comparison, DoseResponse, Estimate, VariantResult

CLICKS: Final = "click_through"
"""Stands beside every primary metric, whether asked for or not: more clicks are no better shop."""
NOTHING: Final = Estimate(value=None, low=None, high=None)


def metrics_of(config: Config) -> tuple[Metric, ...]:
    """The primary metric, then what stands beside it."""
    return tuple(METRICS[name] for name in dict.fromkeys((config.primary, *config.secondary, CLICKS)))


class Pair(NamedTuple):
    """A variant against the control: means and variances (control first) as compared, adjusted where that helps."""

    means: tuple[float, float]
    variances: tuple[float, float]
    shared: float
    reduction: float
    units: float
    enough: bool

    @property
    def difference(self) -> float:
        """Variant minus control."""
        return self.means[1] - self.means[0]

    @property
    def error(self) -> float:
        """Its standard error; NaN where too little is known, or nothing varies at all."""
        return float(np.sqrt(sum(self.variances))) or np.nan if self.enough else np.nan


class Arms:
    """
    The variants of `config` and the moments of their units.

    Intervals are narrowest at the planned number of units; a comparison's share of it is that of its two variants.
    Shares are taken to be equal where they move, since ρ must not follow the data.
    """

    def __init__(self, config: Config, moments: Moments) -> None:
        self.config, self.moments = config, moments
        self._metrics = metrics_of(config)
        named = {variant.name: variant for variant in config.variants}
        self._lambda2 = {name: named[name].lambda2 if name in named else None for name in moments.variants}
        equal = 1 / len(moments.variants)
        alone = config.kind != "split"
        self._shares = {name: equal if alone else named[name].weight for name in moments.variants}

    def planned(self, *variants: str) -> float:
        """Units of these variants together at which their intervals are narrowest."""
        total = self.config.planned_units
        return PLANNED if total is None else max(1.0, total * sum(self._shares[name] for name in variants))

    def others(self) -> list[str]:
        """Every variant but the control; none where there is no control."""
        names = self.moments.variants
        return [name for name in names if name != self.config.control] if self.config.control in names else []

    def results(self) -> list[VariantResult]:
        """Every variant by every metric, as it is."""
        found = []
        for metric in self._metrics:
            of = estimates(self.moments, metric, ())
            alone = [estimates(self.moments.of(name), metric, ()) for name in self.moments.variants]
            found += [
                VariantResult(
                    variant=name,
                    lambda2=self._lambda2[name],
                    metric=metric.name,
                    units=int(of.units[row]),
                    estimate=self._alone(of, row, bool(alone[row].enough())),
                )
                for row, name in enumerate(self.moments.variants)
            ]
        return found

    def comparisons(self) -> list[Comparison]:
        """Every variant against the control by every metric, corrected for their number."""
        wanted = [(metric, name) for metric in self._metrics for name in self.others()]
        pairs = [self.pair(metric, name) for metric, name in wanted]
        p_values = [self._p_value(pair, name) for pair, (_, name) in zip(pairs, wanted, strict=True)]
        rows = zip(wanted, pairs, p_values, holm(p_values), strict=True)
        return [self._comparison(metric, name, pair, p, corrected) for (metric, name), pair, p, corrected in rows]

    def pair(self, metric: Metric, variant: str) -> Pair:
        """A variant against the control by one metric."""
        of = estimates(self.moments.of(self.config.control, variant), metric)
        best = adjusted(of)
        (control, other), (of_control, of_other) = best.means.tolist(), best.variances.tolist()
        return Pair(
            (control, other),
            (of_control, of_other),
            float(best.shared),
            float(best.reduction),
            float(of.units.sum()),
            bool(of.enough()),
        )

    def dose_responses(self) -> list[DoseResponse]:
        """The primary metric and clicks over λ2, where at least three are compared."""
        doses = [value for value in self._lambda2.values() if value is not None]
        if len(set(doses)) < LEAST_DOSES:
            return []
        return [self._dose_response(METRICS[name]) for name in dict.fromkeys((self.config.primary, CLICKS))]

    def more(self, comparisons: Sequence[Comparison]) -> dict[str, float | None]:
        """By variant: units of the whole experiment in addition until the primary metric would be clear."""
        found = {}
        config, level = self.config, self.config.alpha / max(len(comparisons), 1)
        total = float(self.moments.units().sum())
        for name in self.others():
            pair = self.pair(METRICS[config.primary], name)
            planned = self.planned(config.control, name)
            until = units_until(pair.difference, pair.error, pair.units, config.alpha, planned, level)
            found[name] = None if until is None else (until / pair.units - 1) * total
        return found

    def _alone(self, of: Estimates, row: int, enough: bool) -> Estimate:
        error = float(np.sqrt(of.covariance[row, 0, 0])) if enough else np.nan
        planned = self.planned(self.moments.variants[row])
        return interval(float(of.values[row, 0]), error, float(of.units[row]), self.config.alpha, planned)

    def _p_value(self, pair: Pair, variant: str) -> float | None:
        if not pair.error > 0:
            return None
        planned = self.planned(self.config.control, variant)
        return float(p_value(pair.difference / pair.error, pair.units, self.config.alpha, planned))

    def _comparison(
        self, metric: Metric, variant: str, pair: Pair, p: float | None, corrected: float | None
    ) -> Comparison:
        config, planned = self.config, self.planned(self.config.control, variant)
        difference = interval(pair.difference, pair.error, pair.units, config.alpha, planned)
        (control, other), (of_control, of_other) = pair.means, pair.variances
        reach = float(factor(max(pair.units, 1.0), config.alpha, planned)) if pair.enough else np.inf
        return Comparison(
            metric=metric.name,
            variant=variant,
            control=config.control,
            role="primary" if metric.name == config.primary else "secondary",
            difference=difference,
            lift=ratio((other, control), (of_other + pair.shared, of_control + pair.shared), pair.shared, reach),
            p_value=p,
            adjusted_p_value=corrected,
            significant=corrected is not None and corrected <= config.alpha,
            variance_reduction=pair.reduction,
        )

    def _dose_response(self, metric: Metric) -> DoseResponse:
        of: Adjusted = adjusted(estimates(self.moments, metric))
        lambda2 = [np.nan if value is None else value for value in self._lambda2.values()]
        units, total = int(of.units.sum()), self.config.planned_units
        planned = float(PLANNED if total is None else total)
        return dose_response(metric.name, lambda2, of.means, np.sqrt(of.variances), units, self.config.alpha, planned)
