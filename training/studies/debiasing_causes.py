"""What match and notice have learnt, cause by cause: only a simulated shop can tell, for it knows why people click."""

from collections.abc import Callable

import numpy as np
import torch

from causalrec.equations import match_logit
from causalrec.weights import Weights
from training.prepare import Prepared
from training.shop import Shop
from training.shop.catalogue import Floats
from training.studies.debiasing_truth import explained, places

CAUSES = ("hidden", "shown", "shared", "personal")
"""The taste for what pictures do not show, and for what they do; the pull on everybody, and each user's own."""
BRANCHES = ("match", "notice")
AT_ONCE = 256  # users


def causes(shop: Shop) -> Floats:
    """[4, U, I]: CAUSES, each at mean 0 and variance 1 over the catalogue for every user."""
    shown = explained(shop, shop.taste)
    shared = np.broadcast_to(shop.kappa.mean(0), shop.kappa.shape)
    along = (shop.kappa * shared).sum(1, keepdims=True) / (shared * shared).sum(1, keepdims=True)
    stacked = np.stack([shop.taste - shown, shown, shared, shop.kappa - along * shared])
    standardised: Floats = (stacked - stacked.mean(2, keepdims=True)) / stacked.std(2, keepdims=True)
    return standardised


def learnt(shop: Shop, prepared: Prepared) -> Callable[[Weights], dict[str, float]]:
    """
    What is in the logits of a model's match m and notice n.

    Returns: a function of the model's weights. "match:hidden" is the mean over users of the coefficient of the hidden
        taste in the least-squares regression of m over the catalogue on all four causes: logits per standard deviation
        of the cause. "match:sd" is m's own standard deviation within users; the same of the notice.
    """
    rows, columns = places(shop, prepared)
    by_user = causes(shop)[:, rows][:, :, columns].transpose(1, 2, 0)
    by_user = by_user - by_user.mean(1, keepdims=True)  # over the items that are in the data

    def found(weights: Weights) -> dict[str, float]:
        sums: dict[str, Floats] = {branch: np.zeros(len(CAUSES) + 1) for branch in BRANCHES}
        for start in range(0, len(by_user), AT_ONCE):
            x = by_user[start : start + AT_ONCE]
            terms = weights.block_terms(torch.arange(start, start + len(x)))
            for branch, logits in zip(BRANCHES, (match_logit(terms), terms.n), strict=True):
                y = logits.double().numpy()
                y = y - y.mean(1, keepdims=True)
                inner = x.transpose(0, 2, 1)
                slopes = np.linalg.solve(inner @ x, inner @ y[:, :, None])[:, :, 0]
                sums[branch] += np.append(slopes.sum(0), y.std(1).sum())
        names = [*CAUSES, "sd"]
        return {
            f"{branch}:{name}": float(value) / len(by_user)
            for branch, values in sums.items()
            for name, value in zip(names, values, strict=True)
        }

    return found
