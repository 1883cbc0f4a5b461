"""
One inner product that finds the top of the debiased score, and the threshold that proves nothing was missed.

A Bound is a plane over the logits (a, b, n) with weights w and, for any τ, a number such that every item scoring at
least τ has w·(a, b, n) at or above it. Items searched by that inner product in falling order may stop there.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec.equations import Form, Terms

Doubles = NDArray[np.float64]

LEAST = 1e-12  # h − s below which no tangent is taken
CELLS = 512  # of the notice axis in the authors' form: finer is tighter, any number is rigorous
LOGIT_LIMIT = 60.0  # σ is 1 or 0 in float64 beyond it
BISECTIONS = 36
_STEEP = torch.logspace(-2.5, 1, 24, dtype=torch.float64)
SLOPES = torch.cat([-_STEEP.flip(0), torch.zeros(1, dtype=torch.float64), _STEEP])  # values of w_n tried


@dataclass(frozen=True)
class Point:
    """Where the plane touches: one item's logits, or the mean of a few good items'."""

    a: float
    b: float
    n: float


class Bound(Protocol):
    """Weights (w_a, w_b, w_n) of the three logits, and what they prove."""

    @property
    def weights(self) -> tuple[float, float, float]: ...

    def threshold(self, tau: float) -> float:
        """Every item with y ≥ tau has w_a·a + w_b·b + w_n·n at or above this; −inf where nothing can be said."""
        ...


@dataclass(frozen=True)
class Plane:
    """The additive form: the score is the inner product, so the threshold is τ itself."""

    weights: tuple[float, float, float]

    def threshold(self, tau: float) -> float:
        return tau


@dataclass(frozen=True)
class Tangent:
    """
    The paper's form where h = σ(a)σ(b) > s: log y is concave in (a, b, n), so its tangent lies above it.

    log y ≤ log y₀ + w·((a, b, n) − (a₀, b₀, n₀)) with w_a = h₀(1−σ(a₀))/(h₀−s), w_b likewise, w_n = 1−σ(n₀).
    offset is w·(a₀, b₀, n₀) − log y₀.
    """

    weights: tuple[float, float, float]
    offset: float

    def threshold(self, tau: float) -> float:
        return math.log(tau) + self.offset if tau > 0 else -math.inf


@dataclass(frozen=True)
class Slope:
    """The gradient of y where no tangent of log y exists: a direction to search in, proves nothing."""

    weights: tuple[float, float, float]

    def threshold(self, tau: float) -> float:  # noqa: ARG002 - the protocol's signature
        return -math.inf


@dataclass(frozen=True)
class Boundary:
    """
    The authors' form: y rises with m for every n, so {y ≥ τ} is {m ≥ g(n)}, and any weights (1, 1, w_n) give a bound.

    n_range must cover every item's notice logit; the narrower, the tighter.
    """

    weights: tuple[float, float, float]
    null: float
    lambda2: float
    n_range: tuple[float, float]

    def threshold(self, tau: float) -> float:
        if tau <= 0:
            return -math.inf
        frontier = Frontier.of(tau, self.null, self.lambda2, self.n_range)
        return float(frontier.thresholds(torch.tensor([self.weights[2]], dtype=torch.float64)))


@dataclass(frozen=True)
class Frontier:
    """
    g(n), the least m with which an item of notice n reaches τ, from below on cells [left, right] of n, each [cells].

    On a cell, y ≤ σ(r)σ(m)σ(m+r) − λ2·σ(m*)σ(l)σ(m*+l); least is the lower end of a bisection for the m at which this
    reaches τ. Cells in which nothing reaches it are left out.
    """

    left: Tensor
    right: Tensor
    least: Tensor

    @classmethod
    def of(cls, tau: float, null: float, lambda2: float, n_range: tuple[float, float]) -> "Frontier":
        """The frontier of τ > 0 for one user's m* and λ2."""
        edges = torch.linspace(*n_range, CELLS + 1, dtype=torch.float64)
        left, right = edges[:-1], edges[1:]
        star = torch.tensor(null, dtype=torch.float64)
        needed = tau + lambda2 * star.sigmoid() * left.sigmoid() * (star + left).sigmoid()
        reachable = right.sigmoid() >= needed  # the most it can be, with m beyond every bound
        left, right, needed = left[reachable], right[reachable], needed[reachable]
        low, high = torch.full_like(left, -LOGIT_LIMIT), torch.full_like(left, LOGIT_LIMIT)
        sigma = right.sigmoid()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            enough = sigma * middle.sigmoid() * (middle + right).sigmoid() >= needed
            high = torch.where(enough, middle, high)
            low = torch.where(enough, low, middle)
        return cls(left, right, low)

    def thresholds(self, slopes: Tensor) -> Tensor:
        """For each w_n in `slopes` [S]: what m + w_n·n is at least, wherever y ≥ τ; +∞ where that is nowhere."""
        if not len(self.least):
            return torch.full_like(slopes, torch.inf)
        w_n = slopes[:, None]
        lowest = (self.least + torch.minimum(w_n * self.left, w_n * self.right)).amin(1)
        return lowest - 1e-9  # float64 rounding of the sums above

    def best_slope(self, cloud: Terms) -> float:
        """The w_n that leaves fewest items of `cloud`, a sample of the catalogue, at or above its threshold."""
        m, n = (cloud.a + cloud.b).double(), cloud.n.double()
        left_over = (m + SLOPES[:, None] * n >= self.thresholds(SLOPES)[:, None]).sum(1)
        fewest = (left_over == left_over.min()).nonzero().squeeze(1)
        return float(SLOPES[fewest[len(fewest) // 2]])


def bound(
    form: Form, point: Point, tau: float, null: float, lambda2: float, n_range: tuple[float, float], cloud: Terms
) -> Bound:
    """
    The plane to search with for one user and λ2.

    Args:
        form: any but sum, which no index serves (`causalrec.index.check_kind`).
        point: where the paper's tangent touches.
        tau: a guess of the score to beat; it tightens the bound and never makes it wrong.
        null: the user's c_u (paper) or m* (authors).
        n_range: lower and upper limit of the user's notice logit over the catalogue.
        cloud: the user's terms with a sample of the catalogue.
    """
    if form == "additive":
        return Plane((1.0, 1.0, 1.0 - lambda2))
    if form == "authors":
        if tau > 0:
            slope = Frontier.of(tau, null, lambda2, n_range).best_slope(cloud)
            return Boundary((1.0, 1.0, slope), null, lambda2, n_range)
        return Boundary(_authors_gradient(point, null, lambda2), null, lambda2, n_range)
    (weights,), (offset,) = tangents(np.array([[point.a, point.b, point.n]]), np.array([lambda2 * null]))
    if offset > -math.inf:
        return Tangent((float(weights[0]), float(weights[1]), float(weights[2])), float(offset))
    removed = lambda2 * null
    sigma_a, sigma_b, sigma_n = (_sigmoid(logit) for logit in (point.a, point.b, point.n))
    h = sigma_a * sigma_b
    return Slope(_unit((h * (1 - sigma_a), h * (1 - sigma_b), (1 - sigma_n) * (h - removed))))


def tangents(points: Doubles, removed: Doubles) -> tuple[Doubles, Doubles]:
    """
    `Tangent`s of the paper's form: weights [P, 3] and offsets [P], −inf where h ≤ s and there is none.

    Args:
        points: [P, 3], the logits a, b, n that each touches at.
        removed: [P], s = λ2·c_u.
    """
    sigma = 1 / (1 + np.exp(-np.clip(points, -LOGIT_LIMIT, LOGIT_LIMIT)))
    h = sigma[:, 0] * sigma[:, 1]
    there = h - removed > LEAST
    left = np.where(there, h - removed, 1.0)
    weights = 1 - sigma
    weights[:, :2] *= (h / left)[:, None]
    offsets = (weights * points).sum(1) - np.log(sigma[:, 2] * left)
    return weights, np.where(there, offsets, -np.inf)


def _authors_gradient(point: Point, null: float, lambda2: float) -> tuple[float, float, float]:
    """∂y/∂(m, m, n), divided by its first part."""
    m, n = point.a + point.b, point.n
    kept = _sigmoid(m + n) * _sigmoid(m) * _sigmoid(n)
    taken = lambda2 * _sigmoid(null + n) * _sigmoid(null) * _sigmoid(n)
    by_m = kept * (_sigmoid(-m - n) + _sigmoid(-m))
    by_n = kept * (_sigmoid(-m - n) + _sigmoid(-n)) - taken * (_sigmoid(-null - n) + _sigmoid(-n))
    return 1.0, 1.0, by_n / max(by_m, 1e-12)


def _unit(slope: tuple[float, float, float]) -> tuple[float, float, float]:
    length = math.hypot(*slope) or 1.0
    return slope[0] / length, slope[1] / length, slope[2] / length


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1.0 + math.exp(logit))
