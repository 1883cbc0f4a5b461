"""What is measured on: bundles on disk, synthetic catalogues in memory, and random questions about either."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.catalogue import synthetic
from benchmarks.oracle import Rows
from causalrec.bundle import read_bundle
from causalrec.equations import Form
from causalrec.errors import ConfigError
from causalrec.index import Kind, check_kind
from causalrec.topk import Query
from causalrec.weights import Weights

LAMBDA2 = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 2.0)
LARGEST_LAMBDA2 = 3.0


@dataclass(frozen=True)
class Model:
    """A model with the rows each user has seen (synthetic users: drawn)."""

    name: str
    weights: Weights
    seen: tuple[Rows, ...]

    @classmethod
    def read(cls, path: Path) -> "Model":
        """Of a bundle."""
        bundle = read_bundle(path)
        seen = tuple(bundle.seen.items(row) for row in range(len(bundle.users)))
        return cls(
            f"{bundle.manifest.name} ({bundle.manifest.form}, {len(bundle.items):,} items)", bundle.weights, seen
        )

    @classmethod
    def synthetic(cls, items: int, form: Form) -> "Model":
        """Of `benchmarks.catalogue`."""
        weights, rng = synthetic(items, form), np.random.default_rng(1)
        seen = tuple(np.unique(rng.integers(0, items, rng.integers(20, 200))) for _ in range(len(weights.gamma_u)))
        return cls(f"synthetic ({form}, {items:,} items)", weights, seen)


@dataclass(frozen=True)
class Asked:
    """A question, and the row of the user it is about."""

    row: int
    query: Query


def add_arguments(parser: argparse.ArgumentParser, items: tuple[int, ...] = (50_000, 500_000)) -> None:
    """The arguments that `chosen` reads."""
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE", help="bundles to measure on")
    parser.add_argument("--items", type=int, nargs="*", default=list(items), help="sizes of synthetic catalogues")
    parser.add_argument("--forms", nargs="+", choices=get_args(Form), default=["paper"], help="their forms")


def chosen(options: argparse.Namespace) -> Iterator[Model]:
    """The models asked for on the command line, one at a time in memory."""
    for path in options.bundles:
        yield Model.read(path)
    for items in options.items:
        for form in options.forms:
            yield Model.synthetic(items, form)


def serving(kinds: Sequence[Kind], model: Model) -> Iterator[Kind]:
    """Those of `kinds` that can serve the model's form."""
    for kind in kinds:
        with suppress(ConfigError):
            check_kind(model.weights.form, kind)
            yield kind


def random_questions(model: Model, count: int, seed: int = 0) -> list[Asked]:
    """
    `count` questions by random users: 1 to 3 values of λ2 in [0, 3] (some 0, some the largest), k from 1 to 200, and
    nothing, what they have seen, a few or very many items excluded.
    """
    rng = np.random.default_rng(seed)
    items = len(model.weights.gamma_i)
    asked = []
    for _ in range(count):
        row = int(rng.integers(len(model.weights.gamma_u)))
        drawn = np.round(rng.uniform(0, LARGEST_LAMBDA2, rng.integers(1, 4)), int(rng.integers(1, 16)))
        lambda2 = tuple(float(rng.choice([value, value, value, value, 0.0, LARGEST_LAMBDA2])) for value in drawn)
        k = int(rng.choice([1, 10, 50, 50, 200]))
        others = rng.choice(items, int(rng.choice([1, 10, items // 3])), replace=False)
        excluded = (np.empty(0, np.int64), model.seen[row], np.sort(others), np.union1d(model.seen[row], others))
        asked.append(Asked(row, Query(model.weights.user(row), lambda2, k, excluded[rng.integers(4)])))
    return asked
