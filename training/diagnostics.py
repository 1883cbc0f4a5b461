"""The dial's diagnostics: what λ2 has to work with in a trained model, and how far it moves the lists."""

import numpy as np
import torch
from torch import Tensor

from causalrec import equations
from causalrec.manifest import Diagnostics, Quantiles
from causalrec.weights import Weights
from training.evaluate import Evaluation

DEAD_OVERLAP = 0.995
SATURATED = 0.01
SAMPLED_USERS = 2000


def diagnose(weights: Weights, evaluation: Evaluation, *, users_per_block: int = 512) -> Diagnostics:
    """
    Distribution of c_u (or m*) over users, of n within users and its saturation, overlap of the lists along λ2.

    Args:
        evaluation: of the same weights; its overlap says how far each λ2 moves the top k. Where it has none at λ2 = 1,
            the model cannot be debiased: there is no dial that could be dead.
    The notice is measured on at most 2,000 users, spread evenly.
    """
    users = np.unique(np.linspace(0, len(weights.gamma_u) - 1, SAMPLED_USERS).astype(np.int64))
    notices, spreads, best_matches = [], [], []
    for start in range(0, len(users), users_per_block):
        terms = weights.block_terms(torch.from_numpy(users[start : start + users_per_block]))
        notices.append(_thinned(terms.n))
        spreads.append(terms.n.std(1))
        best_matches.append(equations.match_value(weights.form, terms).amax(1))
    notice = torch.cat(notices).double()
    below = None
    if weights.form == "paper":
        below = float((weights.null[torch.from_numpy(users)] > torch.cat(best_matches)).double().mean())
    overlap = {str(value): float(shares.mean()) for value, shares in evaluation.overlap.items()}
    sigma = notice.sigmoid()
    beyond = (sigma < SATURATED) | (sigma > 1 - SATURATED)
    return Diagnostics(
        null=_quantiles(weights.null) if weights.form in ("paper", "authors") else None,
        notice=_quantiles(notice),
        notice_sd_within_user=float(torch.cat(spreads).double().mean()),
        notice_saturated=0.0 if weights.form == "additive" else float(beyond.double().mean()),
        null_above_best_match=below,
        overlap=overlap,
        dead=overlap.get(str(1.0), 0.0) > DEAD_OVERLAP,
    )


def _thinned(notice: Tensor) -> Tensor:
    flat = notice.flatten()
    return flat[:: max(1, len(flat) // 200_000)]


def _quantiles(values: Tensor) -> Quantiles:
    exact = values.double()
    cuts = torch.quantile(exact, torch.tensor([0.01, 0.25, 0.5, 0.75, 0.99], dtype=torch.float64)).tolist()
    return Quantiles(
        mean=float(exact.mean()),
        sd=float(exact.std(correction=0)),
        q01=cuts[0],
        q25=cuts[1],
        q50=cuts[2],
        q75=cuts[3],
        q99=cuts[4],
    )
