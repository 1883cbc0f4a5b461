"""Thompson tuning in the simulated shop: what is sold meanwhile, and whether its log can still be analysed."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.random import Generator

from benchmarks.experiments.claims import Claim, at_most
from benchmarks.experiments.world import Floats, World
from service.experiments.intervals import factor
from service.experiments.metrics import PRIMARY
from service.experiments.model import EMPTY, Config, Tuning, Variant
from service.experiments.offpolicy import weighted_mean
from service.experiments.tuning import weights

ALPHA = 0.05
GRID = (0.0, 0.4, 0.8, 1.2, 1.6)
FLOOR = 0.05
VERSIONS = 20


class Run(NamedTuple):
    """One tuned experiment; [K] by variant."""

    means: Floats
    errors: Floats
    plain: Floats
    """Unweighted means."""
    units: Floats
    truth: Floats
    """Expected purchases per unit and version."""
    regret: float
    """Purchases lost against serving the best to everybody, as a share of what equal shares lose."""


def config(shares: Floats) -> Config:
    """A version with these shares of as many λ2 of GRID."""
    variants = tuple(Variant(f"{at:g}", at, share) for at, share in zip(GRID, shares.tolist(), strict=False))
    return EMPTY._replace(kind="tuned", variants=variants, primary=PRIMARY, tuning=Tuning(FLOOR, 86_400.0))


def tuned(world: World, units: int, rng: Generator) -> Run:
    """VERSIONS days of `units` new units each. At the weekend everybody visits three times."""
    names, truth = [f"{at:g}" for at in GRID], np.array([world.sold(at) for at in GRID])
    shares, days, regret, uniform = np.full(len(GRID), 1 / len(GRID)), [], 0.0, 0.0
    log = pl.DataFrame()
    for version in range(VERSIONS):
        users, places = rng.integers(world.users, size=units), rng.random(units)
        visits = 3 if version % 7 >= 5 else 1
        arms = np.searchsorted(np.cumsum(shares)[:-1], places, side="right")
        acts = world.visited(users, world.served(users, np.array(GRID)[arms]), visits, rng)
        ids = np.arange(units) + version * units
        columns = {"unit": ids.astype(str), "variant": np.array(names)[arms], "propensity": shares[arms]}
        nothing = {"lists": np.full(units, float(visits)), "failures": np.zeros(units)}
        log = pl.concat([log, pl.DataFrame({**columns, "purchases": acts.purchases.sum(axis=1), **nothing})])
        regret, uniform = (
            regret + visits * (truth.max() - shares @ truth),
            uniform + visits * (truth.max() - truth.mean()),
        )
        days.append(visits)
        shares = np.array(list(weights(log, config(shares), rng).values()))
    return _analysed(log, names, truth * np.mean(days), regret / uniform)


def _analysed(log: pl.DataFrame, names: list[str], truth: Floats, regret: float) -> Run:
    parts = [log.filter(variant=name) for name in names]
    values = [part["purchases"].to_numpy() for part in parts]
    rows = [part["unit"].cast(pl.Int64).to_numpy() for part in parts]
    found = [
        weighted_mean(value, part["propensity"].to_numpy(), who=who)
        for value, part, who in zip(values, parts, rows, strict=True)
    ]
    return Run(
        means=np.array([one.mean for one in found]),
        errors=np.array([one.error for one in found]),
        plain=np.array([value.mean() for value in values]),
        units=np.array([len(np.unique(who)) for who in rows], dtype=np.float64),
        truth=truth,
        regret=regret,
    )


def tuning_holds(world: World, repetitions: int, units: int, rng: Generator) -> Iterator[Claim]:
    """Regret, bias and coverage where others come every day."""
    runs = [tuned(world, units, rng) for _ in range(repetitions)]
    regret = np.array([run.regret for run in runs])
    measured = f"{regret.mean():.0%}, in 95 % of runs below {np.quantile(regret, 0.95):.0%}"
    everybody = f"{VERSIONS} days of {units:,} new units"
    claim = f"purchases lost against the best λ2, as a share of what equal shares lose: {everybody}"
    yield Claim(bool(regret.mean() < 0.5), claim, measured, "50 %")
    missed, once, bias = _wrong(runs)
    for name, wrong in zip(GRID, missed.sum(axis=0).tolist(), strict=True):
        yield at_most(ALPHA, f"λ2 = {name}: interval of the weighted mean wrong", wrong, repetitions)
    told = _told(once.mean(axis=0), ".1%")
    yield Claim(None, "weighted means: wrong by ± 1.96 standard errors, by λ2", told, "about 5 %")
    yield _unbiased("weighted means: bias in standard errors, by λ2", bias, repetitions)
    plain = np.mean([run.plain - run.truth for run in runs], axis=0) / np.mean([run.errors for run in runs], axis=0)
    yield Claim(None, "plain means: bias in the same standard errors, by λ2", _told(plain, "+.2f"), "not used")


def returning_hold(repetitions: int, units: int, rng: Generator) -> Iterator[Claim]:
    """
    The same units every day, some of whom buy much more than others, and three variants that are equally good: why a
    version of a tuned experiment needs a salt of its own. Where units stay where they were, who got the eager ones by
    chance gets a larger share for it, and then has the same chance counted again.
    """
    for new in (True, False):
        _, once, bias = _wrong([_returning(units, new, rng) for _ in range(repetitions)])
        claim = f"the same {units:,} units every day, {'a new' if new else 'the same'} salt each version: bias"
        found = _unbiased(claim, bias, repetitions)
        measured = f"{found.measured} standard errors; wrong by ± 1.96 of them {once.mean():.1%}"
        yield found._replace(holds=found.holds if new else None, measured=measured)


def _returning(units: int, new: bool, rng: Generator) -> Run:
    """Three variants of which each sells one item a day to a unit."""
    pace, places, shares, days = rng.gamma(0.5, 2, units), rng.random(units), np.full(3, 1 / 3), []
    names, ids = np.array([f"{at:g}" for at in GRID[:3]]), np.arange(units).astype(str)
    for _ in range(VERSIONS):
        places = rng.random(units) if new else places
        arms = np.searchsorted(np.cumsum(shares)[:-1], places, side="right")
        bought = {
            "purchases": rng.poisson(pace).astype(np.float64),
            "lists": np.ones(units),
            "failures": np.zeros(units),
        }
        days.append(pl.DataFrame({"unit": ids, "variant": names[arms], "propensity": shares[arms], **bought}))
        log = pl.concat(days)
        shares = np.array(list(weights(log, config(shares), rng).values()))
    return _analysed(log, names.tolist(), np.ones(3), 0.0)


def _unbiased(claim: str, bias: Floats, repetitions: int) -> Claim:
    """No larger than 0.1 standard errors, and what chance makes of the largest of several."""
    allowed = 0.1 + 3 / np.sqrt(repetitions)
    return Claim(bool(np.abs(bias).max() <= allowed), claim, _told(bias, "+.2f"), f"± {allowed:.2f}")


def _wrong(runs: list[Run]) -> tuple[Floats, Floats, Floats]:
    """Intervals that miss [R, K], those of one look, and the bias [K] in standard errors."""
    means, errors, count = (np.array([getattr(run, name) for run in runs]) for name in ("means", "errors", "units"))
    off = means - np.array([run.truth for run in runs])
    missed = np.abs(off) > factor(count, ALPHA) * errors
    return missed, np.abs(off) > 1.96 * errors, off.mean(axis=0) / errors.mean(axis=0)


def _told(values: Floats, form: str) -> str:
    return "; ".join(f"{value:{form}}" for value in values)
