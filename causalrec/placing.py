"""A new item placed from its picture alone: where it is noticed is known, whom it matches is guessed from that."""

from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec.equations import ItemArrays
from causalrec.errors import ShapeError
from causalrec.visual import Visual
from causalrec.weights import Weights

Floats = NDArray[np.float64]

SAMPLE = 50_000  # items, evenly spread, that the guess is fitted to
RIDGES: Final = tuple(10.0**power for power in range(-6, 5))  # times the mean eigenvalue of e's scatter


class Placer:
    """
    Items without a history, as the score sees them.

        eᵢ = Eᵀφ(V),  (γᵢ, βᵢ) = (γ̅, β̅) + W·(eᵢ − e̅)

    φ is the bundle's centring and scaling. Nobody has matched a new item yet. The match of no item in particular, γ*,
    would leave a paper's score at λ2 = 1 with hardly more than noise to rank by, and below nearly every trained item
    at any λ2 (docs/results/cold.md). So γᵢ is what trained items with such a picture have: W is the ridge regression of
    γ (and β) on e over them, with the ridge of least generalised cross-validation error (Golub, Heath and Wahba 1979).
    An item whose picture says nothing gets the mean γ of the trained items.

    Args:
        weights, visual: of one bundle; on the CPU.
    """

    def __init__(self, weights: Weights, visual: Visual) -> None:
        self._weights = weights
        self._visual = visual

    def place(self, features: Tensor) -> ItemArrays:
        """
        The items of raw features [n, F] of the backbone named in `visual`; n may be 0.

        Returns: float32 arrays of n rows; e_match, beta and visual_bias where the form has them.
        Raises: ShapeError naming both shapes, also for features that are not finite.
        """
        if features.ndim != 2:
            raise ShapeError(f"features {tuple(features.shape)}: expected [n, {self._visual.scaling.mean.shape[0]}]")
        e, e_match, visual_bias = self._visual.place(features)
        if not bool((e + e_match).isfinite().all()):
            raise ShapeError(f"features {tuple(features.shape)}: hold NaN, infinity or values too large to embed")
        guess = torch.from_numpy(self._guess.of(e.double().numpy())).float()
        d = self._weights.gamma_i.shape[1]
        beta = None if self._weights.beta is None else guess[:, d].contiguous()
        return ItemArrays(guess[:, :d].contiguous(), e, e_match, beta, visual_bias)

    @cached_property
    def _guess(self) -> "_Ridge":
        """Fitted by the first item that is placed."""
        weights = self._weights
        trained = (weights.popularity > 0).nonzero().squeeze(1)
        rows = trained if len(trained) else torch.arange(len(weights.gamma_i))
        rows = rows[:: max(1, -(-len(rows) // SAMPLE))]
        own = weights.gamma_i[rows]
        if weights.beta is not None:
            own = torch.cat([own, weights.beta[rows, None]], 1)
        return _Ridge.fit(weights.e[rows].double().numpy(), own.double().numpy())


class _Ridge(NamedTuple):
    """y ≈ mean + (x − origin)·slopes."""

    origin: Floats
    mean: Floats
    slopes: Floats

    @classmethod
    def fit(cls, x: Floats, y: Floats) -> "_Ridge":
        """From rows x [n, d] and y [n, c]."""
        origin, mean = x.mean(0), y.mean(0)
        centred, sought = x - origin, y - mean
        squares, turned = np.linalg.eigh(centred.T @ centred)
        squares = np.maximum(squares, 0.0)
        products = turned.T @ (centred.T @ sought)
        told = squares > 1e-12 * max(squares.max(), 1e-300)
        explained = np.square(products[told]).sum(1) / squares[told]  # of the squares of y, by direction
        rest = float(np.square(sought).sum() - explained.sum())

        def error(ridge: float) -> float:
            kept = ridge / (squares[told] + ridge)
            freedom = max(len(x) - 1 - told.sum() + kept.sum(), 1e-9)
            return float((rest + (np.square(kept) * explained).sum()) / freedom**2)

        ridge = min((power * squares.mean() for power in RIDGES), key=error) if told.any() else 1.0
        return cls(origin, mean, turned @ (products / (squares + ridge)[:, None]))

    def of(self, x: Floats) -> Floats:
        """The guesses [n, c] for rows x [n, d]; each by itself, whatever stands beside it."""
        return np.stack([self.mean + (row - self.origin) @ self.slopes for row in x]) if len(x) else self.mean[None][:0]
