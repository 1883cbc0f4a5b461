"""What else is judged at every look: sample ratios, many comparisons together, guardrails; a split that loses units."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import chi2

from benchmarks.experiments.looks import ALPHA, shoppers
from service.experiments.analysis import analyse
from service.experiments.estimates import estimates
from service.experiments.guardrails import guardrail
from service.experiments.intervals import p_value
from service.experiments.metrics import METRICS, PRIMARY, UNITS
from service.experiments.model import EMPTY, Guardrail, Variant
from service.experiments.moments import Moments
from service.experiments.multiplicity import holm
from service.experiments.report import Look, Report
from service.experiments.sample_ratio import LEVEL, log_evidence

Found = NDArray[np.bool_]

BATCH: Final = 500
LOST: Final = 0.05
"""Share of one variant's exposures that a broken split loses."""


def split(
    rng: Generator, experiments: int, looks: int, shares: Sequence[float], kept: Sequence[float] | None = None
) -> NDArray[np.int64]:
    """Units of every variant up to each look, [E, L, V]; of variant j only a share `kept` arrives."""
    arriving = np.asarray(shares) * (1.0 if kept is None else np.asarray(kept))
    return rng.multinomial(BATCH, arriving / arriving.sum(), size=(experiments, looks)).cumsum(axis=1)


def alarmed(counts: NDArray[np.int64], shares: Sequence[float], level: float = LEVEL) -> Found:
    """[E, L]: the sequential test has raised the alarm at this look or before."""
    found: Found = np.maximum.accumulate(log_evidence(counts, shares) >= -np.log(level), axis=1)
    return found


def alarmed_by_one_look(counts: NDArray[np.int64], shares: Sequence[float], level: float = LEVEL) -> Found:
    """The same of the chi-square test, which is made for one look."""
    expected = counts.sum(axis=-1, keepdims=True) * np.asarray(shares)
    statistic = ((counts - expected) ** 2 / expected).sum(axis=-1)
    found: Found = np.maximum.accumulate(chi2.sf(statistic, len(shares) - 1) <= level, axis=1)
    return found


def several(rng: Generator, looks: int, batch: int, variants: int = 5) -> bool:
    """One A/A experiment of several variants by three metrics: whether Holm calls any of them at any look."""
    names = tuple(f"dial-{number}" for number in range(variants))
    columns = ("one", "weight", "lists", "clicks", "purchases", "revenue")
    shape = (looks, variants, batch)
    drawn = shoppers(rng, shape, columns, 0.0)
    z = np.stack([np.ones(shape), np.ones(shape), *(drawn[name] for name in columns[2:])], axis=-1)
    gram = (np.swapaxes(z, -1, -2) @ z).cumsum(axis=0)
    p_values = []
    for name in ("purchases_per_user", "click_through", "revenue_per_user"):
        for other in names[1:]:
            of = estimates(Moments(names, columns, gram).of(names[0], other), METRICS[name], ())
            with np.errstate(divide="ignore", invalid="ignore"):
                error = np.sqrt(of.covariance[..., 0, 0].sum(axis=-1))
                z_values = np.nan_to_num((of.values[:, 1, 0] - of.values[:, 0, 0]) / error)
            p = p_value(z_values, of.units.sum(axis=-1), ALPHA, 2.0 * batch * looks)
            p_values.append(np.where(of.enough(), p, 1.0))
    return any((found or 1.0) <= ALPHA for look in np.array(p_values).T.tolist() for found in holm(look))


def breached(rng: Generator, looks: int, batch: int, most: float = 0.1) -> bool:
    """One experiment whose variant is exactly as much slower as allowed: whether any look stops it."""
    shape = (looks, 2, batch)
    lists = 1.0 + rng.poisson(3 * rng.standard_exponential(shape))
    seconds = lists * rng.gamma(4, 0.005, shape) * np.array([1.0, 1 + most])[:, None]
    z = np.stack([np.ones(shape), np.ones(shape), lists, seconds], axis=-1)
    gram = (np.swapaxes(z, -1, -2) @ z).cumsum(axis=0)
    rule = Guardrail("latency", most)
    columns = ("one", "weight", "lists", "seconds")
    return any(
        guardrail(Moments(("a", "b"), columns, at), "b", "a", rule, ALPHA, 2.0 * batch * looks).breached for at in gram
    )


CONFIG: Final = EMPTY._replace(
    key="aa",
    version=1,
    series=1,
    variants=(Variant("dial-0", 0.0, 0.5), Variant("dial-0.8", 0.8, 0.5)),
    control="dial-0",
    primary=PRIMARY,
    alpha=ALPHA,
)


def lossy(rng: Generator, units: int, lost: float = LOST) -> pl.DataFrame:
    """The unit frame of an A/A experiment as CONFIG says, of whose second variant a share of the exposures is lost."""
    chosen = rng.integers(2, size=units)
    gone = (chosen == 1) & (rng.random(units) < lost)
    columns: dict[str, Any] = {name: np.zeros(units) for name, kind in UNITS.items() if kind == pl.Float64}
    columns |= {name: rng.poisson(1.0, units).astype(float) for name in ("lists", "clicks", "purchases")}
    columns |= {"unit": [f"user-{row}" for row in range(units)], "version": np.ones(units, dtype=np.int64)}
    columns |= {"variant": [CONFIG.variants[row].name for row in chosen], "propensity": np.full(units, 0.5)}
    columns |= {"exposed": np.where(gone, np.nan, np.arange(units, dtype=float))}
    frame = pl.DataFrame({name: columns[name] for name in UNITS}, schema=UNITS)
    return frame.with_columns(pl.col("exposed").fill_nan(None))


def watched(rng: Generator, units: int, every: int) -> Report:
    """The report of a broken split at the first look that raises the alarm, or at the last."""
    frame = lossy(rng, units)
    looks: list[Look] = []
    for count in range(every, units + 1, every):
        report = analyse(CONFIG, "running", frame[:count], {}, looks, at=float(count), source="live")
        if report.sample_ratio is not None and report.sample_ratio.failed:
            break
    return report
