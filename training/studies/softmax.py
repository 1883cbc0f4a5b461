"""The fold-in's loss minimised without its one approximation: what the closed form is measured against."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec.foldin import FLOOR, met, parted, united
from causalrec.model import Folded
from causalrec.topk import Rows
from causalrec.weights import UserVectors, Weights, null_term

Floats = NDArray[np.float64]
STEPS = 20
SHORTEST = 1e-6  # of a Newton step: where even that is too long, the minimum is reached


def exactly(
    weights: Weights,
    folded: Folded,
    histories: Sequence[Rows],
    strengths: Sequence[Floats],
    starts: Sequence[UserVectors],
    prior: float,
) -> list[UserVectors]:
    """
    Every user's minimum of the loss in `causalrec.foldin.FoldIn`, its ln E exp a sum over the whole catalogue.

    By damped Newton steps, which cost the catalogue each: for studies, not for serving.
    """
    trained = (weights.popularity > 0).numpy()
    worlds = []
    for (x, bias), users in zip(
        met(folded, weights.items), united(folded, weights.gamma_u, weights.theta_u), strict=True
    ):
        covariance = np.cov(users.double().numpy().T, bias=True)
        covariance += np.eye(len(covariance)) * FLOOR * covariance.trace() / len(covariance)
        worlds.append((x, np.where(trained, bias, -np.inf), prior * np.linalg.inv(covariance)))
    found = []
    for history, shares, start in zip(histories, strengths, starts, strict=True):
        begun = united(folded, start.gamma.double(), start.theta.double())
        moved = [
            torch.from_numpy(_minimum(x, level, precision, history, shares, before.numpy()))
            for (x, level, precision), before in zip(worlds, begun, strict=True)
        ]
        gamma, theta = parted(folded, moved)
        found.append(UserVectors(gamma, theta, null_term(weights.form, gamma, weights.null_item())))
    return found


def _minimum(x: Floats, level: Floats, precision: Floats, history: Rows, strengths: Floats, start: Floats) -> Floats:
    total, shown = strengths.sum(), strengths @ x[history]

    def loss(vector: Floats) -> float:
        logits = level + x @ vector
        highest, moved = logits.max(), vector - start
        whole = highest + np.log(np.exp(logits - highest).sum())
        return float(total * whole - shown @ vector + moved @ precision @ moved / 2)

    vector = start
    for _ in range(STEPS):
        logits = level + x @ vector
        share = np.exp(logits - logits.max())
        share /= share.sum()
        mean = share @ x
        curvature = precision + total * ((x.T * share) @ x - np.outer(mean, mean))
        step = np.linalg.solve(curvature, shown - total * mean - precision @ (vector - start))
        length, before = 1.0, loss(vector)
        while loss(vector + length * step) > before and length > SHORTEST:
            length /= 2
        if length <= SHORTEST:
            break
        vector = vector + length * step
    return vector
