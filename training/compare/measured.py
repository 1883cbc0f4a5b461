"""The cells of one model: what was measured of it, seed by seed and averaged over seeds."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from causalrec.errors import DataError
from causalrec.manifest import Interval
from training.compare.outcome import Outcome
from training.compare.pairs import Sample, average, relative
from training.compare.schema import CHOSEN, Figure
from training.evaluate import Evaluation, Ranking
from training.metrics import ENDS, Bootstrap, Values

Half = Literal["valid", "test"]
Column = tuple[str, str]  # ranking, metric


class Measured:
    """
    One model's outcomes by seed.

    Raises: DataError when a seed is there twice, or its λ2 was not among those judged.
    """

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self.outcomes: dict[int, Outcome] = {}
        for outcome in outcomes:
            facts = outcome.facts
            if facts.seed in self.outcomes:
                raise DataError(f"{facts.label}, seed {facts.seed}: two cells hold it; remove one and report again")
            if facts.lambda2 not in outcome.test.values:
                raise DataError(f"{facts.label}, seed {facts.seed}: λ2 = {facts.lambda2} was chosen but never judged")
            self.outcomes[facts.seed] = outcome
        self.outcomes = dict(sorted(self.outcomes.items()))
        self.facts = next(iter(self.outcomes.values())).facts

    def sample(self, ranking: str, metric: str, half: Half = "test") -> Sample:
        """Per seed, the users and their values; seeds that were not judged so are left out."""
        found = {}
        for seed, outcome in self.outcomes.items():
            values = self._values(outcome, half).get(ranking, {})
            if metric in values:
                found[seed] = (outcome.users[half][_set(metric)], values[metric])
        return found

    def columns(self, name: str, half: Half) -> list[Column]:
        """(ranking, metric) of the set `name`, those that every seed has; "chosen" after the λ2."""
        per_seed = [
            [(ranking, metric) for ranking, by in self._values(outcome, half).items() for metric in by]
            for outcome in self.outcomes.values()
        ]
        shared = set.intersection(*map(set, per_seed))
        return [column for column in per_seed[0] if column in shared and _set(column[1]) == name]

    def figures(self, name: str, bootstrap: Bootstrap) -> dict[Column, Figure]:
        """Every test metric of the set `name`, with intervals over users."""
        columns = self.columns(name, "test")
        if not columns:
            return {}
        sample = self._matrix(columns, name, "test")
        _, values = average(sample)
        means = bootstrap.means(values)
        lows, highs = np.quantile(means, ENDS, axis=0).tolist()
        found = {}
        for place, (ranking, metric) in enumerate(columns):
            found[ranking, metric] = Figure(
                mean=float(values[:, place].mean()),
                low=lows[place],
                high=highs[place],
                seeds={seed: float(by[:, place].mean()) for seed, (_, by) in sample.items()},
                change=_change(means, values, place, columns),
            )
        return found

    def valid_means(self, name: str) -> dict[Column, float]:
        """Every validation metric of the set `name`."""
        columns = self.columns(name, "valid")
        if not columns:
            return {}
        _, values = average(self._matrix(columns, name, "valid"))
        return dict(zip(columns, values.mean(0).tolist(), strict=True))

    def _matrix(self, columns: list[Column], name: str, half: Half) -> Sample:
        found = {}
        for seed, outcome in self.outcomes.items():
            values = self._values(outcome, half)
            stacked = np.stack([values[ranking][metric] for ranking, metric in columns], 1)
            found[seed] = (outcome.users[half][name], stacked)
        return found

    def _values(self, outcome: Outcome, half: Half) -> dict[str, dict[str, Values]]:
        evaluation: Evaluation = getattr(outcome, half)
        chosen = {CHOSEN: evaluation.values[outcome.facts.lambda2]}
        lambda2 = {name_of(at): by for at, by in evaluation.values.items() if isinstance(at, float)}
        return lambda2 | chosen | {at: by for at, by in evaluation.values.items() if isinstance(at, str)}


def name_of(ranking: Ranking) -> str:
    """ "0.6" of the λ2 .6; references keep their names."""
    return repr(ranking) if isinstance(ranking, float) else ranking


def _set(metric: str) -> str:
    return metric.partition(":")[0] if ":" in metric else "clicks"


def _change(means: Values, values: Values, place: int, columns: list[Column]) -> Interval | None:
    zero = ("0.0", columns[place][1])
    if zero not in columns:
        return None
    base = columns.index(zero)
    return relative(means[:, place], means[:, base], float(values[:, place].mean()), float(values[:, base].mean()))
