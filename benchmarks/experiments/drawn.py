"""Off-policy estimates from units of the simulated shop whose λ2 was drawn: do the intervals hold, at every look?"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from benchmarks.experiments.claims import Claim, at_most
from benchmarks.experiments.world import HIGH, LOW, Floats, World
from service.experiments.intervals import factor
from service.experiments.offpolicy import off_policy
from service.experiments.report import Estimate

ALPHA = 0.05
TARGETS = (0.0, 0.1, 0.4, 0.8, 1.4, 2.0)
ESTIMATES = {"snips": ("SNIPS", 0.4), "doubly_robust": ("doubly robust", 0.2)}
"""What they are called, and the bias that may be, in standard errors: smoothing takes h²·m″/10 off a peak."""
PAST = 0.4
"""λ2 of what the units saw before."""


class Log(NamedTuple):
    """Units of a log, [n]; known [n, 2]: clicks and purchases of an earlier visit."""

    lambda2: Floats
    density: Floats
    reward: Floats
    known: Floats


def logged(world: World, units: int, rng: Generator) -> Log:
    """Units that draw λ2 with a density that falls in a line from 1.5 to 0.5 times the mean, and visit once."""
    users = rng.integers(world.users, size=units)
    scaled = 1.5 - np.sqrt(2.25 - 2 * rng.random(units))  # of the density 1.5 − x on [0, 1]
    lambda2 = LOW + (HIGH - LOW) * scaled
    before = world.visited(users, world.served(users, np.full(units, PAST)), 1, rng)
    now = world.visited(users, world.served(users, lambda2), 1, rng)
    known = np.column_stack([before.clicks.sum(axis=1), before.purchases.sum(axis=1)])
    return Log(lambda2, (1.5 - scaled) / (HIGH - LOW), now.purchases.sum(axis=1), known)


class Seen(NamedTuple):
    """Of every repetition, look, target and estimate, [R, looks, T, 2]."""

    values: Floats
    halves: Floats
    effective: Floats
    """[looks, T], of the last repetition."""


def looked(world: World, repetitions: int, looks: list[int], rng: Generator) -> Seen:
    """Logs of as many units as the last look has; what is not estimated is NaN."""
    values, halves, effective = [], [], np.empty((len(looks), len(TARGETS)))
    for _ in range(repetitions):
        log, found = logged(world, looks[-1], rng), []
        for look, count in enumerate(looks):
            lambda2, density, reward, known = (column[:count] for column in log)
            points = off_policy(lambda2, density, reward, TARGETS, ALPHA, (LOW, HIGH), known, looks[-1])
            found.append([[_pair(getattr(point, name)) for name in ESTIMATES] for point in points])
            effective[look] = [point.effective_units for point in points]
        both = np.array(found)
        values.append(both[..., 0])
        halves.append(both[..., 1])
    return Seen(np.array(values), np.array(halves), effective)


def off_policy_holds(world: World, repetitions: int, units: int, rng: Generator) -> Iterator[Claim]:
    """Coverage at the end and at all of ten looks, bias and width, at λ2 inside and at the ends of the range."""
    looks = [units * part // 10 for part in range(1, 11)]
    seen = looked(world, repetitions, looks, rng)
    truth = np.array([world.sold(target) for target in TARGETS])[:, None]
    missed = np.abs(seen.values - truth) > seen.halves
    errors = seen.halves / factor(looks, ALPHA, units)[:, None, None]
    last, spread = seen.values[:, -1], np.nanstd(seen.values[:, -1], axis=0)
    once = np.abs(last - truth) > 1.96 * errors[:, -1]
    bias = (np.nanmean(last, axis=0) - truth) / np.nanmean(errors[:, -1], axis=0)
    for column, (words, most) in enumerate(ESTIMATES.values()):
        for row, target in enumerate(TARGETS):
            any_look = int(missed[:, :, row, column].any(axis=1).sum())
            yield at_most(ALPHA, f"{words}, λ2 = {target}: wrong at any of 10 looks", any_look, repetitions)
        at_ends = "; ".join(f"{once[:, row, column].mean():.1%}" for row in range(len(TARGETS)))
        yield Claim(None, f"{words}: wrong by ± 1.96 standard errors, at the end, by λ2", at_ends, "about 5 %")
        worst = float(np.abs(bias[:, column]).max())
        told = "; ".join(f"{value:+.2f}" for value in bias[:, column])
        allowed = most + 3 / np.sqrt(repetitions)
        yield Claim(worst <= allowed, f"{words}: bias in standard errors, by λ2", told, f"± {allowed:.2f}")
    ratio = float((spread[:, 1] / spread[:, 0]).mean())
    claim = "standard error of the doubly robust estimate as a share of SNIPS's"
    yield Claim(ratio < 1.1, claim, f"{ratio:.2f}", "1.1: it may not help, but never hurts")
    told = "; ".join(f"{count:,.0f}" for count in seen.effective[-1])
    yield Claim(None, f"effective units of {units:,}, by λ2 = {TARGETS}", told, "")


def _pair(estimate: Estimate) -> tuple[float, float]:
    """Value and half width; NaN where there is none."""
    if estimate.value is None or estimate.high is None:
        return np.nan, np.nan
    return estimate.value, estimate.high - estimate.value
