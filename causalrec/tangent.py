"""
One inner product that finds the top of the debiased score, and the threshold that proves nothing was missed.

A Bound is a plane over the logits (a, b, n) with weights w and, for any τ, a number such that every item scoring at
least τ has w·(a, b, n) at or above it. Items searched by that inner product in falling order may stop there.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from causalrec.equations import Form

CELLS = 1024  # of the notice axis in the authors' form: finer is tighter, any number is rigorous
LOGIT_LIMIT = 60.0  # σ is 1 or 0 in float64 beyond it
BISECTIONS = 36


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
    The authors' form: y rises with m for every n, so {y ≥ τ} is {m ≥ g(n)}; g is bounded from below on cells of n.

    On a cell [l, r], y ≤ σ(r)σ(m)σ(m+r) − λ2·σ(m*)σ(l)σ(m*+l); the m at which this reaches τ, by bisection and its
    lower end taken, gives the cell's smallest w_m·m + w_n·n. n_range must cover every item's notice logit.
    """

    weights: tuple[float, float, float]
    null: float
    lambda2: float
    n_range: tuple[float, float]

    def threshold(self, tau: float) -> float:
        if tau <= 0:
            return -math.inf
        w_m, _, w_n = self.weights
        edges = torch.linspace(*self.n_range, CELLS + 1, dtype=torch.float64)
        left, right = edges[:-1], edges[1:]
        null = torch.tensor(self.null, dtype=torch.float64)
        needed = tau + self.lambda2 * null.sigmoid() * left.sigmoid() * (null + left).sigmoid()
        low = torch.full_like(left, -LOGIT_LIMIT)
        high = torch.full_like(left, LOGIT_LIMIT)
        reachable = self._most(high, right) >= needed
        if not reachable.any():
            return math.inf
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            enough = self._most(middle, right) >= needed
            high = torch.where(enough, middle, high)
            low = torch.where(enough, low, middle)
        least = w_m * low + torch.minimum(w_n * left, w_n * right)
        return float(least[reachable].min()) - 1e-9  # float64 rounding of the sums above

    @staticmethod
    def _most(m: Tensor, right: Tensor) -> Tensor:
        return right.sigmoid() * m.sigmoid() * (m + right).sigmoid()


def bound(form: Form, point: Point, null: float, lambda2: float, n_range: tuple[float, float]) -> Bound:
    """
    The plane to search with at `point` for one user and λ2.

    Args:
        null: the user's c_u (paper) or m* (authors).
        n_range: lower and upper limit of the user's notice logit over the catalogue.
    """
    if form == "additive":
        return Plane((1.0, 1.0, 1.0 - lambda2))
    if form == "authors":
        return Boundary(_authors_slope(point, null, lambda2), null, lambda2, n_range)
    removed = lambda2 * null
    sigma_a, sigma_b, sigma_n = (_sigmoid(logit) for logit in (point.a, point.b, point.n))
    h = sigma_a * sigma_b
    if h - removed <= 1e-12:
        slope = (h * (1 - sigma_a), h * (1 - sigma_b), (1 - sigma_n) * (h - removed))
        return Slope(_unit(slope))
    steep = h / (h - removed)
    weights = (steep * (1 - sigma_a), steep * (1 - sigma_b), 1 - sigma_n)
    at_point = weights[0] * point.a + weights[1] * point.b + weights[2] * point.n
    return Tangent(weights, at_point - math.log(sigma_n) - math.log(h - removed))


def _authors_slope(point: Point, null: float, lambda2: float) -> tuple[float, float, float]:
    m, n = point.a + point.b, point.n
    kept = _sigmoid(m + n) * _sigmoid(m) * _sigmoid(n)
    taken = lambda2 * _sigmoid(null + n) * _sigmoid(null) * _sigmoid(n)
    by_m = kept * (_sigmoid(-m - n) + _sigmoid(-m))
    by_n = kept * (_sigmoid(-m - n) + _sigmoid(-n)) - taken * (_sigmoid(-null - n) + _sigmoid(-n))
    w_m, _, w_n = _unit((max(by_m, 1e-300), 0.0, by_n))
    w_m = max(w_m, 1e-6)  # Boundary needs w_m > 0
    return w_m, w_m, w_n


def _unit(slope: tuple[float, float, float]) -> tuple[float, float, float]:
    length = math.hypot(*slope) or 1.0
    return slope[0] / length, slope[1] / length, slope[2] / length


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1.0 + math.exp(logit))
