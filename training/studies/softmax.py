"""The fold-in's loss minimised without its one approximation: what the closed form is measured against."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec.foldin import FLOOR
from causalrec.topk import Rows
from causalrec.weights import UserVectors, Weights, null_term

Floats = NDArray[np.float64]
STEPS = 20
SHORTEST = 1e-6  # of a Newton step: where even that is too long, the minimum is reached


def exactly(
    weights: Weights,
    histories: Sequence[Rows],
    strengths: Sequence[Floats],
    starts: Sequence[UserVectors],
    prior: float,
) -> list[UserVectors]:
    """
    Every user's minimum of the loss in `causalrec.foldin.FoldIn`, its ln E exp a sum over the whole catalogue.

    By damped Newton steps, which cost the catalogue each: for studies, not for serving.
    """
    items = weights.items.double()
    trained = (weights.popularity > 0).numpy()
    worlds = []
    for x, bias, users in (
        (items.gamma + items.gamma * items.e_match, items.beta, weights.gamma_u),
        (items.e, items.visual_bias, weights.theta_u),
    ):
        covariance = np.cov(users.double().numpy().T, bias=True)
        covariance += np.eye(len(covariance)) * FLOOR * covariance.trace() / len(covariance)
        level = np.zeros(len(x)) if bias is None else bias.numpy()
        worlds.append((x.numpy(), np.where(trained, level, -np.inf), prior * np.linalg.inv(covariance)))
    found = []
    for history, shares, start in zip(histories, strengths, starts, strict=True):
        gamma, theta = (
            torch.from_numpy(_minimum(x, level, precision, history, shares, begun.double().numpy()))
            for (x, level, precision), begun in zip(worlds, (start.gamma, start.theta), strict=True)
        )
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
