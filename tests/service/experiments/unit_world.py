"""Units of experiments whose truth is known: users with habits, seen before and after their exposure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.random import Generator

from service.experiments.metrics import BEFORE, PRIMARY, UNITS
from service.experiments.model import EMPTY, Config, Kind, Variant


def config(lambda2: Sequence[float] = (0.0, 0.8), kind: Kind = "split", **fields: Any) -> Config:
    """An experiment of these λ2 in equal shares, the first of which is the control."""
    variants = tuple(Variant(f"dial-{value:g}", value, 1 / len(lambda2)) for value in lambda2)
    plain = EMPTY._replace(key="dial", version=1, series=1, kind=kind, salt="salt", primary=PRIMARY, actor="ann")
    if kind == "random":
        plain = plain._replace(between=(0.0, 1.6))
    else:
        plain = plain._replace(variants=variants, control=variants[0].name)
    return plain._replace(**fields)


def frame(columns: Mapping[str, Any]) -> pl.DataFrame:
    """A unit frame: what is not given is 0, and a past that is NaN is unknown."""
    size = len(next(iter(columns.values())))
    plain: dict[str, Any] = {name: np.zeros(size) for name, kind in UNITS.items() if kind == pl.Float64}
    plain |= {"unit": [f"user-{row}" for row in range(size)], "version": np.ones(size, dtype=np.int64)}
    plain |= {"variant": ["dial-0"] * size, "propensity": np.full(size, 0.5), "lists": np.ones(size)}
    made = pl.DataFrame({name: (plain | dict(columns))[name] for name in UNITS}, schema=UNITS)
    return made.with_columns(pl.col(*BEFORE, "exposed").fill_nan(None))


def shoppers(
    rng: Generator,
    size: int,
    *,
    of: Config | None = None,
    lifts: Mapping[str, float] = {},
    click_lifts: Mapping[str, float] = {},
    rate: float = 0.2,
    unknown: float = 0.1,
) -> pl.DataFrame:
    """
    Users of whom each has a pace (gamma, mean 1) that sets how much they do before and after, split by the weights of
    `of`. A list brings 1 click in 5, a user `rate` purchases, times 1 + the lift of their variant.
    """
    of = of or config()
    names = np.array([variant.name for variant in of.variants])
    weights = np.array([variant.weight for variant in of.variants])
    chosen = rng.choice(len(names), size=size, p=weights)
    bought, clicked = (np.array([1 + table.get(name, 0.0) for name in names])[chosen] for table in (lifts, click_lifts))
    pace = rng.gamma(2, 0.5, size)
    lists = 1 + rng.poisson(3 * pace)
    purchases = rng.poisson(rate * pace * bought).astype(float)
    hidden = np.where(rng.random(size) < unknown, np.nan, 1.0)
    before = {name: hidden * rng.poisson(often * pace) for name, often in zip(BEFORE, (8, 2, 2, 1), strict=True)}
    own = {
        "variant": names[chosen],
        "propensity": weights[chosen],
        "lambda2": np.array([variant.lambda2 for variant in of.variants])[chosen],
        "exposed": np.arange(size, dtype=float),
        "lists": lists.astype(float),
        "seconds": lists * rng.gamma(20, 0.001, size),
        "clicks": rng.binomial(lists, np.minimum(0.2 * clicked, 1)).astype(float),
        "purchases": purchases,
        "revenue": purchases * rng.lognormal(3, 1, size),
    }
    return frame(own | before)
