"""The shop's items: attributes a picture shows, attributes it hides, and their encoding as unit-variance vectors."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.shop.garments import CUTS, GARMENTS
from training.shop.pictures import COLOURS, PATTERNS, Look

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

RHO = 0.3
"""Correlation of each shown attribute with the hidden one beside it in SHOWN and HIDDEN."""
SHOWN = {
    "garment": tuple(GARMENTS),
    "colour": tuple(COLOURS),
    "pattern": tuple(PATTERNS),
    "cut": tuple(CUTS),
}
"""Shown attribute → its classes, in the order that the correlation follows."""
BRANDS = ("Alder", "Brook", "Cove", "Dune", "Ember", "Fjord", "Grove", "Heath")
MATERIALS = ("viscose", "cotton", "linen", "denim", "wool", "leather")
HIDDEN = {"price": (), "brand": BRANDS, "material": MATERIALS, "durability": ()}
"""Hidden attribute → its classes; none for a continuous one."""
MEDIAN_PRICE, PRICE_SPREAD = 40.0, 0.5


@dataclass(frozen=True, eq=False)
class Items:
    """The catalogue: one row per item in every array, row order = order of the ids."""

    classes: dict[str, Rows]
    """Attribute → class of each item, for the shown ones, brand and material."""
    price: Floats
    """In the shop's currency, rounded to cents; log-normal around MEDIAN_PRICE."""
    durability: Floats
    """Standard normal; written nowhere."""
    shown: Floats
    """[I, S]: shown attributes encoded by `encode`."""
    hidden: Floats
    """[I, H]: hidden attributes encoded by `encode`."""

    def __len__(self) -> int:
        return len(self.price)

    def look(self, row: int) -> Look:
        """What the picture of the item in `row` shows."""
        return Look(*(SHOWN[name][self.classes[name][row]] for name in SHOWN))

    def title(self, row: int) -> str:
        """What the item in `row` is called: "Red striped slim shirt"."""
        look = self.look(row)
        return f"{look.colour} {look.pattern} {look.cut} {look.garment}".capitalize()


def draw_items(count: int, rng: Generator) -> Items:
    """
    `count` items. Shown classes are uniform and independent; each hidden attribute has a normal latent
    RHO·z + √(1−RHO²)·ε, z the normal score of its shown partner, which a brand or material cuts at equal shares.

    The cutting takes 3 to 4 % off RHO for brand and material.
    """
    classes = {name: rng.integers(len(names), size=count) for name, names in SHOWN.items()}
    latent: dict[str, Floats] = {}
    for shown, hidden in zip(SHOWN, HIDDEN, strict=True):
        score = normal_scores(len(SHOWN[shown]))[classes[shown]]
        latent[hidden] = RHO * score + np.sqrt(1 - RHO**2) * rng.standard_normal(count)
        if HIDDEN[hidden]:
            classes[hidden] = np.searchsorted(_thresholds(len(HIDDEN[hidden])), latent[hidden])

    def block(name: str) -> Floats:
        return encode(np.eye(len(HIDDEN[name]))[classes[name]] if HIDDEN[name] else latent[name][:, None])

    return Items(
        classes=classes,
        price=np.round(MEDIAN_PRICE * np.exp(PRICE_SPREAD * latent["price"]), 2),
        durability=latent["durability"],
        shown=np.hstack([encode(np.eye(len(names))[classes[name]]) for name, names in SHOWN.items()]),
        hidden=np.hstack([block(name) for name in HIDDEN]),
    )


def encode(columns: Floats) -> Floats:
    """`columns` [I, C] of one attribute, centred and scaled to a total variance of 1: attributes weigh alike."""
    centred = columns - columns.mean(axis=0)
    code: Floats = centred / np.sqrt(np.square(centred).sum(axis=1).mean())
    return code


def normal_scores(count: int) -> Floats:
    """A score per class of `count` equally likely ones: the normal mean of its quantile bin, scaled to variance 1."""
    edges = np.array([0.0, *(NormalDist().pdf(edge) for edge in _thresholds(count)), 0.0])
    means = edges[:-1] - edges[1:]
    scores: Floats = means / np.sqrt(np.square(means).mean())
    return scores


def _thresholds(count: int) -> Floats:
    return np.array([NormalDist().inv_cdf(share / count) for share in range(1, count)])
