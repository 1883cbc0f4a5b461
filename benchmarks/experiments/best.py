"""What experiments say of the best λ2, held against the truth: coverage, width, how many units it would take."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from benchmarks.experiments.claims import Claim
from benchmarks.experiments.shop import Values
from benchmarks.experiments.trials import Run, Study

LEAST: Final = 0.93
TIMES_OFF: Final = 3.0
"""units_needed may be so many times too large or too small, after the first look."""


def best_claims(study: Study, runs: Sequence[Run], span: tuple[float, float], words: str) -> Iterator[Claim]:
    """Of the primary metric's dose-response, at every look."""
    truth = study.traffic.best(*span)
    low, high, value = (_best(runs, end) for end in ("low", "high", "value"))
    missed = (low > truth + 1e-9) | (high < truth - 1e-9)
    conclusive = np.array([[report.dose_response[0].conclusive for report in run] for run in runs])
    held = 1 - missed.mean(axis=0)
    claim = f"{words}: the interval of the best λ2 contains the truth ({truth:g}), by units"
    yield Claim(bool(held.min() >= LEAST), claim, study.told(held, "{:.1%}"), f"≥ {LEAST:.0%} at each")
    always = 1 - float(missed.any(axis=1).mean())
    yield Claim(always >= LEAST, f"{words}: contains it at all looks of a run", f"{always:.1%}", f"≥ {LEAST:.0%}")
    both = float((conclusive & ~missed)[:, -1].mean())
    claim = f"{words}: narrower than 0.5 and containing it, at {study.looks[-1]:,} units"
    yield Claim(both >= LEAST, claim, f"{both:.1%}", f"≥ {LEAST:.0%}")
    widths = [" / ".join(f"{width:.2f}" for width in np.quantile(at, [0.1, 0.5, 0.9])) for at in (high - low).T]
    yield Claim(None, f"{words}: width, 10 % / median / 90 %", study.told(widths, "{}"), "")
    yield Claim(None, f"{words}: conclusive", study.told(conclusive.mean(axis=0), "{:.0%}"), "")
    error = np.abs(value - truth).mean(axis=0)
    yield Claim(None, f"{words}: mean distance of the best λ2 from the truth", study.told(error), "")
    yield _needed(study, runs, conclusive.mean(axis=0), words)


def _best(runs: Sequence[Run], end: str) -> Values:
    found = [[getattr(report.dose_response[0].best, end) for report in run] for run in runs]
    return np.array(found, dtype=np.float64)  # an interval that is not there would fail the claims as NaN


def _needed(study: Study, runs: Sequence[Run], conclusive: Values, words: str) -> Claim:
    """units_needed where it was not conclusive, against the units at which half of the runs are."""
    half = float(np.exp(np.interp(0.5, conclusive, np.log(study.looks))))
    told, close = [], []
    for place, count in enumerate(study.looks):
        doses = [run[place].dose_response[0] for run in runs]
        guesses = [np.inf if dose.units_needed is None else dose.units_needed for dose in doses if not dose.conclusive]
        if len(guesses) < len(runs) / 4:
            continue
        median = float(np.quantile(guesses, 0.5, method="nearest"))
        told.append(f"{count:,}: {median:,.0f} (in {np.isinf(guesses).mean():.0%} none would do)")
        close.append(half / TIMES_OFF <= median <= half * TIMES_OFF)
    claim = f"{words}: median units_needed where not conclusive; half of the runs are at {half:,.0f}"
    allowed = f"within {TIMES_OFF:g} times, after the first look"
    return Claim(bool(conclusive[-1] >= 0.5) and all(close[1:]), claim, "; ".join(told), allowed)
