"""A user's vectors from a history: one exact Bayes step against frozen items, where training would take many."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec.equations import ItemArrays
from causalrec.errors import ShapeError
from causalrec.model import Folded
from causalrec.topk import Rows
from causalrec.weights import UserVectors, Weights, null_term

Floats = NDArray[np.float64]

PRIOR = 1.0
HALF_LIFE = 10.0  # events
FLOOR = 1e-3  # of the users' mean variance, added to each direction, so that none is thought impossible
LEAST = ROUNDING = 1e-12
SAMPLE = 50_000  # items and users, evenly spread, that means and covariances are taken over


class FoldIn:
    """
    Users of one bundle from their histories; what depends on the items and users alone is computed once.

    Both of the model's logits are linear in the user: the match m = γᵤ·x + β with x = γᵢ + γᵢ∘eᵢ, the notice
    n = θᵤ·x + v with x = eᵢ. They are fitted as training fitted them (`ModelConfig.folded`):

        branches   m and n each by itself, as the branch losses of Eq. 23 do: g is γᵤ, then θᵤ
        whole      m + n, all that there is a loss of: g = [γᵤ; θᵤ], x = [γᵢ + γᵢ∘eᵢ; eᵢ]
        shared     m + n of a model with one vector for both: g = γᵤ = θᵤ, x = γᵢ + γᵢ∘eᵢ + eᵢ

    Below, b is what the logit has of β and v. An event with item h says that h was taken from the catalogue with odds
    exp(b + g·x), the other items being those the trainer draws its negatives from: trained items, all alike. The
    history's loss is

        Σ sₕ·(−g·xₕ + ln E exp(b + g·x)) + (ρ/2)·(g − g₀)ᵀΣ⁻¹(g − g₀)

    with sₕ the events' strengths, g₀ the user's vector so far or the mean user's, Σ the users' covariance: a prior that
    one event weighs as much as at ρ = 1. With b + g·x taken as normal over the catalogue, ln E exp is exactly
    g·μ + ½ gᵀCg + const, where C = cov(x) and μ = E x + cov(x, b), and the minimum has a closed form:

        g = g₀ + (ρΣ⁻¹ + S·C)⁻¹·(Σ sₕ·xₕ − S·(μ + C·g₀)),   S = Σ sₕ

    The bracket is what the history shows beyond what g₀ expects; a history that g₀ explains changes nothing. V with
    VᵀΣ⁻¹V = 1 and VᵀCV = diag(r) makes the inverse V·diag(1/(ρ + S·r))·Vᵀ: d² steps per user (4d² where g is both
    vectors), none of them random.
    What it gains, and how near it is to the minimum with the catalogue summed over: docs/results/cold.md.

    Args:
        weights: the bundle's; on the CPU.
        folded: `ModelConfig.folded` of the model they are of.
        prior: ρ > 0. The larger, the more events it takes to move a user.
    """

    def __init__(self, weights: Weights, folded: Folded, *, prior: float = PRIOR) -> None:
        self._form = weights.form
        self._folded = folded
        self._items = weights.items
        self._null = weights.null_item()
        self._mean_user = weights.mean_user()
        self._prior = prior
        trained = weights.popularity > 0
        self._trained = (trained if trained.any() else torch.ones_like(trained)).numpy()
        catalogue = self._items.take(_sample(torch.from_numpy(np.flatnonzero(self._trained))))
        users = united(folded, weights.gamma_u, weights.theta_u)
        self._branches = [
            _Branch.of(x, bias, each) for (x, bias), each in zip(met(folded, catalogue), users, strict=True)
        ]

    def user(self, rows: Rows, strengths: Floats, start: UserVectors | None = None) -> UserVectors:
        """
        The user after a history. A pure function: neither the order of the rows nor other users' calls change a bit.

        Args:
            rows: the history's items, int64 [n], distinct. Leave out what `start` was trained on: it would count twice.
                Items that nobody had in training are passed over: their vectors mean nothing.
            strengths: how much each counts, float64 [n], above 0; 1 is a fresh interaction (`recency`).
            start: the user so far; None: nobody known, the mean user.
        Returns: float64 vectors, the no-treatment term recomputed from the new γᵤ; `start` or the mean user as they
            are where the history says nothing.
        Raises: ShapeError when the shapes differ or a strength is not a finite number above 0.
        """
        begun = self._mean_user if start is None else start
        if rows.shape != strengths.shape or rows.ndim != 1:
            raise ShapeError(f"fold-in: rows {rows.shape} against strengths {strengths.shape}, expected [n] and [n]")
        if len(rows) and not (strengths.min() > 0 and strengths.sum() < np.inf):
            raise ShapeError(
                f"fold-in: strengths from {strengths.min()} to {strengths.max()}, expected finite ones > 0"
            )
        told = self._trained[rows]
        rows, strengths = rows[told], strengths[told]
        if not len(rows):
            return begun
        order = np.argsort(rows)
        history, shares = self._items.take(torch.from_numpy(rows[order])), strengths[order]
        moved = [
            branch.moved(before, x, shares, self._prior)
            for branch, before, (x, _) in zip(
                self._branches, united(self._folded, begun.gamma, begun.theta), met(self._folded, history), strict=True
            )
        ]
        gamma, theta = parted(self._folded, moved)
        return UserVectors(gamma, theta, null_term(self._form, gamma, self._null))


def recency(n: int, half_life: float = HALF_LIFE) -> Floats:
    """Strengths [n] of a history's events, newest first: 1, and half of it after every `half_life` events."""
    return np.exp2(-np.arange(n) / half_life)


def met(folded: Folded, items: ItemArrays) -> list[tuple[Floats, Floats]]:
    """What each g of `FoldIn` meets of the items: x [n, d or 2d] and b [n]."""
    gamma, e = items.gamma.double().numpy(), items.e.double().numpy()
    match = gamma + gamma * items.e_match.double().numpy()
    beta, visual_bias = _or_zeros(items.beta, len(gamma)), _or_zeros(items.visual_bias, len(gamma))
    if folded == "branches":
        return [(match, beta), (e, visual_bias)]
    return [(np.hstack([match, e]) if folded == "whole" else match + e, beta + visual_bias)]


def united(folded: Folded, gamma: Tensor, theta: Tensor) -> list[Tensor]:
    """Each g of `FoldIn`, of one user [d] or of several [U, d]."""
    if folded == "branches":
        return [gamma, theta]
    return [torch.cat([gamma, theta], -1) if folded == "whole" else gamma]


def parted(folded: Folded, vectors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """γᵤ and θᵤ, each [d], of what `united` made of them."""
    if folded == "whole":
        gamma, theta = vectors[0].chunk(2)
        return gamma, theta
    return vectors[0], vectors[-1]


class _Branch(NamedTuple):
    """One logit's world: μ [d], C [d, d], and the basis V [d, m] with its rates r [m], as in `FoldIn`."""

    centre: Floats
    spread: Floats
    basis: Floats
    rates: Floats

    @classmethod
    def of(cls, x: Floats, bias: Floats, users: Tensor) -> "_Branch":
        """From the trained items' x [n, d] and biases [n], and the users' vectors [U, d]."""
        centred = x - x.mean(0)
        spread = centred.T @ centred / len(x)
        tilt = (bias - bias.mean()) @ centred / len(x)
        basis, rates = _jointly_diagonal(spread, _covariance(users))
        return cls(x.mean(0) + tilt, spread, basis, rates)

    def moved(self, start: Tensor, history: Floats, strengths: Floats, prior: float) -> Tensor:
        """`start` [d] after the items whose x are the rows of `history` [n, d]."""
        begun, total = start.double().numpy(), strengths.sum()
        surprise = (strengths / total) @ history - self.centre - self.spread @ begun
        step = self.basis @ ((surprise @ self.basis) / (prior / total + self.rates))
        return torch.from_numpy(begun + step)


def _or_zeros(bias: Tensor | None, n: int) -> Floats:
    return np.zeros(n) if bias is None else bias.double().numpy()


def _sample(rows: Tensor) -> Tensor:
    """At most SAMPLE of `rows`, evenly spread."""
    return rows[:: max(1, -(-len(rows) // SAMPLE))]


def _covariance(users: Tensor) -> Floats:
    """Σ [d, d] of the users' vectors [U, d], a little wider in every direction (FLOOR)."""
    vectors = _sample(users).double().numpy()
    centred = vectors - vectors.mean(0)
    covariance: Floats = centred.T @ centred / len(vectors)
    covariance += np.eye(len(covariance)) * max(FLOOR * covariance.diagonal().mean(), LEAST)
    return covariance


def _jointly_diagonal(spread: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """
    V [d, m] and r [m] with VᵀΣ⁻¹V = 1 and VᵀCV = diag(r).

    Directions in which the catalogue's items do not differ are left out: no history can say anything about them.
    """
    root = np.linalg.cholesky(covariance)
    rates, turned = np.linalg.eigh(root.T @ spread @ root)
    told = rates > ROUNDING * max(rates.max(initial=0.0), LEAST)
    return root @ turned[:, told], rates[told]
