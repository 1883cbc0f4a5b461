"""What experiments say of variants against the control, held against the truth: intervals, power, verdicts."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.experiments.claims import Claim, at_most
from benchmarks.experiments.trials import ALPHA, LAMBDA2, Run, Study
from service.experiments.report import Comparison, Estimate, Report


def outside(found: Estimate, truth: float) -> bool:
    """Whether there is an interval, and it leaves the truth out."""
    below = found.low is not None and truth < found.low - 1e-9
    return below or (found.high is not None and truth > found.high + 1e-9)


def compared_claims(study: Study, runs: Sequence[Run]) -> Iterator[Claim]:
    """Everything that is compared with λ2 = 0."""
    traffic = study.traffic
    truths = {"purchases_per_user": traffic.purchases * study.visits, "click_through": traffic.clicks}
    for metric, truth in truths.items():
        for value in LAMBDA2[1:]:
            difference = float(truth[traffic.row(value)] - truth[traffic.row(0.0)])
            wrong = sum(any(outside(_difference(at, metric, value), difference) for at in run) for run in runs)
            claim = f"{metric}, λ2 = {value:g} against 0 ({difference:+.3f}): interval wrong at any look"
            yield at_most(ALPHA, claim, wrong, len(runs))
    yield _power(study, runs)
    yield from _shipped(study, runs)
    yield _apart(study, runs)
    saved = np.array([[compared.variance_reduction for compared in _primary(run[-1])] for run in runs])
    told = f"{saved.mean():.0%} on average, {saved.min():.0%} at least"
    yield Claim(bool(saved.min() >= 0), "variance that CUPED takes out of purchases per user", told, "adds none")
    alarms = sum(any(at.sample_ratio is not None and at.sample_ratio.failed for at in run) for run in runs)
    yield at_most(ALPHA, "sample ratio: false alarm at any look", alarms, len(runs))


def _primary(report: Report) -> list[Comparison]:
    return [compared for compared in report.comparisons if compared.role == "primary"]


def _difference(report: Report, metric: str, lambda2: float) -> Estimate:
    name = f"{lambda2:g}"
    return next(each.difference for each in report.comparisons if (each.metric, each.variant) == (metric, name))


def _best_variant(study: Study) -> tuple[float, float, float]:
    """λ2 of the variant that sells most, by how much more than at 0, and how clicks change."""
    sold, clicks, row = study.traffic.purchases, study.traffic.clicks, study.traffic.row
    best = max(LAMBDA2, key=lambda value: float(sold[row(value)]))
    more, clicked = (float(curve[row(best)] / curve[row(0.0)] - 1) for curve in (sold, clicks))
    return best, more, clicked


def _power(study: Study, runs: Sequence[Run]) -> Claim:
    best, more, _ = _best_variant(study)

    def won(report: Report) -> bool:
        return any(each.significant and (each.difference.low or 0.0) > 0 for each in _primary(report))

    power = np.mean([[won(report) for report in run] for run in runs], axis=0)
    claim = f"a variant is shown to be better than λ2 = 0 (truth: {best:g}, {more:+.1%}): power, by units"
    return Claim(bool(power[-1] >= 0.8), claim, study.told(power, "{:.0%}"), f"≥ 80 % at {study.looks[-1]:,}")


def _shipped(study: Study, runs: Sequence[Run]) -> Iterator[Claim]:
    """What the λ2 that verdicts say to use are worth."""
    traffic = study.traffic

    def sells(lambda2: float) -> float:
        return float(np.interp(lambda2, traffic.lambda2, traffic.purchases))

    said = [[at.verdict.lambda2 for at in run if at.verdict.decision == "ship"] for run in runs]
    worth = [[sells(value) for value in values if value is not None] for values in said]
    harm = sum(any(value <= sells(0.0) for value in values) for values in worth)
    yield at_most(ALPHA, "ships a λ2 that sells no more than the control, at any look", harm, len(runs))
    top = sells(traffic.best(LAMBDA2[0], LAMBDA2[-1]))
    every = np.array([value for values in worth for value in values] or [np.nan]) / top
    fifth = float(np.quantile(every, 0.05))
    claim = f"purchases at the λ2 that {len(every):,} verdicts ship, of those at the best"
    told = f"{every.mean():.1%} on average, {fifth:.1%} at the 5th percentile"
    yield Claim(fifth >= 0.97, claim, told, "≥ 97 % in 95 % of them")


def _apart(study: Study, runs: Sequence[Run]) -> Claim:
    best, more, clicked = _best_variant(study)
    said = np.mean([[report.disagreement is not None for report in run] for run in runs], axis=0)
    claim = f"says that clicks ({clicked:+.1%} at {best:g}) and purchases ({more:+.1%}) disagree"
    return Claim(bool(said[-1] >= 0.8), claim, study.told(said, "{:.0%}"), f"≥ 80 % at {study.looks[-1]:,}")
