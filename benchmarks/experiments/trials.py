"""Experiments in process: units of a shop's traffic, split as the service splits them, reported at several looks."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from numpy.random import Generator
from tqdm import tqdm

from benchmarks.experiments.shop import Traffic, Values
from service.experiments.analysis import analyse, look
from service.experiments.metrics import PRIMARY
from service.experiments.model import EMPTY, Book, Config, Experiment, Kind, Variant
from service.experiments.report import Look, Report

ALPHA: Final = 0.05
LAMBDA2: Final = (0.0, 0.4, 0.8, 1.2, 1.6)
BETWEEN: Final = (0.0, 1.5)
Run = list[Report]
"""What one experiment's looks said."""


class Study(NamedTuple):
    """Units at every look; visits of each of them before, and as many after its exposure."""

    traffic: Traffic
    looks: Sequence[int] = (1_500, 3_000, 6_000, 12_000, 24_000)
    visits: int = 30

    def told(self, values: Sequence[object] | Values, form: str = "{:.2f}") -> str:
        """One value per look."""
        pairs = zip(self.looks, values, strict=True)
        return "; ".join(f"{count:,}: {form.format(value)}" for count, value in pairs)


def experiments(study: Study, kind: Kind, count: int, rng: Generator) -> list[Run]:
    """So many independent ones, of kind split or random."""
    numbers = tqdm(range(count), desc=f"{kind} experiments", unit="experiment", disable=None)
    return [experiment(study, kind, number, rng) for number in numbers]


def experiment(study: Study, kind: Kind, number: int, rng: Generator) -> Run:
    """One, with a salt of its own."""
    mine = config(kind, f"salt {number}", study.looks[-1])
    book = Book(1, experiments={mine.key: Experiment(mine.key, "running", (mine,), 1, 0.0)})
    names = [f"unit-{number}-{unit}" for unit in range(study.looks[-1])]
    units = study.traffic.units(book, names, study.visits, rng)
    timeline: list[Look] = []
    run = []
    for count in study.looks:
        found = analyse(mine, "running", units.head(count), {}, timeline, at=float(count), source="live")
        timeline.append(look(found))
        run.append(found)
    return run


def config(kind: Kind, salt: str, planned: int) -> Config:
    """An experiment on purchases per user, as the service would make it."""
    plain = EMPTY._replace(key="ab", version=1, series=1, kind=kind, salt=salt, actor="benchmark")
    plain = plain._replace(primary=PRIMARY, secondary=("click_through",), alpha=ALPHA, planned_units=planned)
    if kind != "split":
        return plain._replace(between=BETWEEN)
    variants = tuple(Variant(f"{value:g}", value, 1 / len(LAMBDA2)) for value in LAMBDA2)
    return plain._replace(variants=variants, control="0")
