"""
The interval of the best λ2 in many shops: curves that rise slowly, fall off a cliff, are nearly flat or end at their
top. Purchases per list of five λ2 are drawn from the normal distribution around the truth, at several numbers of units.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.random import Generator
from tqdm import tqdm

from benchmarks.experiments.claims import Claim
from benchmarks.experiments.shop import Place, Traffic, Values, trained
from service.experiments.dose import dose_response

DOSES: Final = np.array([0.0, 0.4, 0.8, 1.2, 1.6])
ALPHA: Final = 0.05
SPREAD: Final = 1.0
"""Standard deviation of a unit's purchases per list: of users with a few visits each."""
LOOKS: Final = (2_000, 10_000, 50_000, 250_000)
FITTED: Final = (
    Place("authors", 1, 1000),
    Place("authors", 2, 1000),
    Place("additive", 2, 1000),
    Place("paper", 1, 1000),
)
"""Among those on which the curve's prior was chosen."""
FRESH: Final = (
    Place("authors", 1, 1000, 6),
    Place("authors", 2, 1000, 7),
    Place("authors", 3, 1000, 8),
    Place("additive", 1, 1000, 9),
    Place("additive", 2, 1000, 10),
    Place("paper", 2, 1000, 11),
)
"""Looked at once, after everything was fixed."""


def anywhere(folder: Path, count: int, rng: Generator) -> Iterator[Claim]:
    """Of every shop whether the interval contains the best λ2 and how wide it is; then what holds over the fresh."""
    held = []
    for place in (*FITTED, *FRESH):
        traffic = trained(folder, place)
        missed, widths, conclusive = looked(traffic, count, rng)
        fresh = place in FRESH
        held += [1 - missed.mean(axis=0)] if fresh else []
        words = f"{place.form}, pull {place.pull:g}, seed {place.seed}{' (fresh)' if fresh else ''}: "
        words += f"best {traffic.best(DOSES[0], DOSES[-1]):g}; contains it, median width, conclusive by units"
        rows = zip(LOOKS, 1 - missed.mean(axis=0), np.median(widths, axis=0), conclusive.mean(axis=0), strict=True)
        told = "; ".join(f"{units:,}: {share:.0%}, {width:.2f}, {sure:.0%}" for units, share, width, sure in rows)
        yield Claim(None, words, told, "")
    means = np.mean(held, axis=0)
    told = "; ".join(f"{units:,}: {share:.1%}" for units, share in zip(LOOKS, means, strict=True))
    yield Claim(
        bool(means.min() >= 0.93), "interval contains the best λ2, over the fresh shops", told, "≥ 93 % at each"
    )
    worst = float(np.min(held))
    yield Claim(None, "the fresh shop and number of units where it does least often", f"{worst:.1%}", "")


def looked(traffic: Traffic, count: int, rng: Generator) -> tuple[Values, Values, Values]:
    """Whether the truth was missed, how wide the interval was, whether it was conclusive: [R, looks] each."""
    truth = traffic.best(DOSES[0], DOSES[-1])
    means = traffic.purchases[[traffic.row(value) for value in DOSES]]
    result = np.empty((3, count, len(LOOKS)))
    for run in tqdm(range(count), desc="one shop", unit="experiment", disable=None):
        total, before = np.zeros(len(DOSES)), 0.0
        for look, units in enumerate(LOOKS):
            each = units / len(DOSES)
            total += (each - before) * means + SPREAD * np.sqrt(each - before) * rng.standard_normal(len(DOSES))
            before = each
            errors = np.full(len(DOSES), SPREAD / np.sqrt(each))
            found = dose_response("purchases_per_user", DOSES, total / each, errors, units, ALPHA)
            low, high = found.best.low or 0.0, found.best.high or 0.0
            result[:, run, look] = not low - 1e-9 <= truth <= high + 1e-9, high - low, found.conclusive
    missed, widths, conclusive = result
    return missed.astype(bool), widths, conclusive.astype(bool)
