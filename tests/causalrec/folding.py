"""What fold-in is held against: its loss in plain loops, for the weights of every sort of model."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from causalrec import foldin
from causalrec.equations import Form
from causalrec.foldin import FoldIn
from causalrec.model import Folded
from causalrec.weights import UserVectors, Weights
from tests.causalrec.conftest import MakeWeights

ROWS = np.array([31, 4, 17, 8], dtype=np.int64)
STRENGTHS = np.array([1.0, 0.5, 2.0, 0.25])
Loss = Callable[[list[float]], float]


class World(NamedTuple):
    """A form of CausalRec, or another model, with the way its users are folded in."""

    make: MakeWeights
    form: Form
    folded: Folded

    def weights(self, **size: int) -> Weights:
        """Untrained; of another model as its bundle would have them: no visual match, and θ = γ where it is shared."""
        if self.folded == "branches":
            return self.make(self.form, **size)
        of, biased = self.make("additive", **size), self.make("authors", **size)
        plain = replace(of, e_match=torch.zeros_like(of.e))
        if self.folded == "shared":
            return replace(plain, theta_u=of.gamma_u)
        return replace(plain, beta=biased.gamma_i[:, 0].clone(), visual_bias=biased.gamma_i[:, 1].clone())

    def fold(self, weights: Weights, prior: float = foldin.PRIOR) -> FoldIn:
        """Of users of `weights`."""
        return FoldIn(weights, self.folded, prior=prior)

    def parts(self, user: UserVectors) -> dict[str, list[float]]:
        """What is fitted by itself, by name."""
        gamma, theta = user.gamma.double().tolist(), user.theta.double().tolist()
        if self.folded == "branches":
            return {"match": gamma, "notice": theta}
        return {"whole": gamma + theta} if self.folded == "whole" else {"shared": gamma}


def history_loss(weights: Weights, part: str, start: list[float], prior: float) -> Loss:
    """The loss of FoldIn's docstring in plain loops; ln E exp of a normal variable: its mean and half its variance."""
    items, d = range(len(weights.gamma_i)), range(len(start))
    e, gamma = weights.e.tolist(), weights.gamma_i.tolist()
    e_match = e if weights.e_match is None else weights.e_match.tolist()
    beta, visual_bias = (
        [0.0] * len(gamma) if bias is None else bias.tolist() for bias in (weights.beta, weights.visual_bias)
    )
    match = [[g * (1 + v) for g, v in zip(gamma[i], e_match[i], strict=True)] for i in items]
    gamma_u, theta_u = weights.gamma_u.tolist(), weights.theta_u.tolist()
    both = [beta[i] + visual_bias[i] for i in items]
    x, bias, users = {
        "match": (match, beta, gamma_u),
        "notice": (e, visual_bias, theta_u),
        "whole": ([match[i] + e[i] for i in items], both, [g + t for g, t in zip(gamma_u, theta_u, strict=True)]),
        "shared": ([[m + v for m, v in zip(match[i], e[i], strict=True)] for i in items], both, gamma_u),
    }[part]
    trained = [i for i in items if weights.popularity[i] > 0]
    mean = [sum(user[c] for user in users) / len(users) for c in d]
    spread = [[sum((u[a] - mean[a]) * (u[b] - mean[b]) for u in users) / len(users) for b in d] for a in d]
    floor = foldin.FLOOR * sum(spread[c][c] for c in d) / len(start)
    precision = np.linalg.inv(np.array(spread) + floor * np.eye(len(start))).tolist()

    def logit(vector: list[float], item: int) -> float:
        return float(bias[item]) + float(sum(vector[c] * x[item][c] for c in d))

    def loss(vector: list[float]) -> float:
        logits = [logit(vector, item) for item in trained]
        level = sum(logits) / len(trained)
        catalogue = level + sum((value - level) ** 2 for value in logits) / len(trained) / 2
        shown = sum(s * (catalogue - logit(vector, int(h))) for h, s in zip(ROWS, STRENGTHS, strict=True))
        moved = [vector[c] - start[c] for c in d]
        return float(shown + prior / 2 * sum(moved[a] * precision[a][b] * moved[b] for a in d for b in d))

    return loss
