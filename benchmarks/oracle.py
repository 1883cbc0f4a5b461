"""The ranking an answer is judged by: float64, plain numpy, from the stored arrays and the written formulas alone."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from causalrec.weights import Weights

DECIMALS = 12  # scores equal to 12 decimals are ties, and stand in the order of rows, which is that of ids

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Logits(NamedTuple):
    """One user's match a, visual match b and notice n with every item, each [I]."""

    a: Floats
    b: Floats
    n: Floats


class Truth:
    """
    Float64 rankings of one model, by the formulas of the paper and of the authors' code; shares no code with causalrec.

    Args:
        form: of the score.
        arrays: a model's stored arrays, by the names they have in weights.safetensors.
    """

    def __init__(self, form: str, arrays: dict[str, NDArray[np.float32]]) -> None:
        self.form = form
        self.w: dict[str, Floats] = {name: array.astype(np.float64) for name, array in arrays.items()}
        self.items, self.users = len(self.w["gamma_i"]), len(self.w["gamma_u"])
        self._products = self.w["gamma_i"] * self.w.get("e_match", self.w["e"])

    @classmethod
    def of(cls, weights: Weights) -> "Truth":
        """From a model in memory."""
        return cls(weights.form, {name: tensor.numpy() for name, tensor in weights.tensors().items()})

    @classmethod
    def read(cls, bundle: Path) -> "Truth":
        """From a bundle's files."""
        form = json.loads((bundle / "manifest.json").read_bytes())["form"]
        return cls(form, load_file(bundle / "weights.safetensors"))

    def logits(self, user: int) -> Logits:
        """Of the user in row `user` with every item."""
        w, gamma_u, theta_u = self.w, self.w["gamma_u"][user], self.w["theta_u"][user]
        a: Floats = w["gamma_i"] @ gamma_u + w.get("beta", 0.0)
        n: Floats = w["e"] @ theta_u + w.get("visual_bias", 0.0)
        return Logits(a, self._products @ gamma_u, n)

    def scores(self, user: int, lambda2: float, logits: Logits | None = None) -> Floats:
        """Every item's debiased score [I] for the user in row `user`; `logits` where they are known already."""
        a, b, n = self.logits(user) if logits is None else logits
        if self.form == "paper":
            c = self.w["M_null"][user] * self.w["MV_null"][user]
            paper: Floats = sigmoid(a) * sigmoid(b) * sigmoid(n) - lambda2 * c * sigmoid(n)
            return paper
        if self.form == "authors":
            m, star = a + b, self.w["m_null"][user]
            return sigmoid(m + n) * sigmoid(m) * sigmoid(n) - lambda2 * sigmoid(star + n) * sigmoid(star) * sigmoid(n)
        if self.form == "sum":
            return sigmoid(a) + sigmoid(b) + (1 - lambda2) * sigmoid(n)
        additive: Floats = a + b + (1 - lambda2) * n
        return additive

    def top(self, user: int, lambda2: float, k: int, excluded: Rows, logits: Logits | None = None) -> Rows:
        """The rows of the user's k best items outside `excluded`, best first."""
        return best(np.round(self.scores(user, lambda2, logits), DECIMALS), k, excluded)


def best(scores: Floats, k: int, excluded: Rows) -> Rows:
    """Positions of the k largest of `scores` outside `excluded`, largest first; ties in the order of positions."""
    allowed = np.ones(len(scores), dtype=bool)
    allowed[excluded] = False
    rows = np.flatnonzero(allowed)
    if k < len(rows):
        kept = scores[rows]
        rows = rows[kept >= np.partition(kept, len(kept) - k)[len(kept) - k]] if k else rows[:0]
    order: Rows = rows[np.lexsort((rows, -scores[rows]))][:k]
    return order


def sigmoid(logit: Floats | float) -> Floats:
    """σ, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(logit, dtype=np.float64))))
