"""Experiments and books as tests need them."""

import hashlib
from collections.abc import Sequence
from typing import Any

from service.experiments.assignment import decide
from service.experiments.changes import created, started
from service.experiments.checks import Range
from service.experiments.model import EMPTY, Book, Config, Experiment, Holdout, Variant

LIMITS = Range(0.0, 3.0)


def variants(*lambda2: float, weights: Sequence[float] = ()) -> tuple[Variant, ...]:
    """Variants without names, with equal shares unless there are weights."""
    return tuple(
        Variant("", each, weight) for each, weight in zip(lambda2, weights or [0.0] * len(lambda2), strict=True)
    )


def config(key: str = "dial", **changes: Any) -> Config:
    """What a caller says of a split of two, as far as nothing else is."""
    said = EMPTY._replace(key=key, variants=variants(0.0, 0.8), created=1000.0, actor="ann")
    return said._replace(**changes)


def drawn(key: str = "slice", **changes: Any) -> Config:
    """λ2 at random."""
    return config(key, **{"kind": "random", "variants": (), "between": (0.0, 1.6), **changes})


def put(book: Book, experiment: Experiment) -> Book:
    """The book with it, as the store makes it."""
    return book._replace(revision=book.revision + 1, experiments={**book.experiments, experiment.key: experiment})


def running(*configs: Config, holdout: float = 0.0) -> Book:
    """A book in which all of them run."""
    book = Book(holdout=Holdout(holdout))
    for each in configs:
        book = put(book, created(book, each, LIMITS))
        book = put(book, started(book, each.key, None, 2000.0))
    return book


def several() -> Book:
    """A holdout, overrides, and experiments of every kind in two layers."""
    return running(
        config("a", layer="one", segment=(0.0, 0.5), variants=variants(0.0, 0.4, 0.8), overrides={"vip": "0.8"}),
        drawn("b", layer="one", segment=(0.5, 0.8), allocation=0.5),
        config("c", layer="two", segment=(0.1, 0.7), kind="interleaving", overrides={"vip": "0", "boss": "0.8"}),
        config("d", layer="two", segment=(0.7, 1.0), allocation=0.9, variants=variants(0.1, 0.2, weights=[0.9, 0.1])),
        holdout=0.05,
    )


def digest(book: Book) -> str:
    """Of what 2,000 units get."""
    units = ["vip", "boss", *(f"user-{number}" for number in range(2000))]
    return hashlib.sha256(repr([decide(book, unit) for unit in units]).encode()).hexdigest()
