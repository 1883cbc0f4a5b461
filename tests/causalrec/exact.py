"""What a search must have found: every item's score in float64."""

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec.topk import Rows, rounded_scores
from causalrec.weights import UserVectors, Weights


def exact_scores(weights: Weights, user: UserVectors, lambda2: float, rows: Rows) -> NDArray[np.float64]:
    """Debiased scores [C] of `rows`, rounded to 12 decimals so that ties are ties everywhere."""
    return rounded_scores(weights.form, weights.terms(user, torch.from_numpy(rows)), user, lambda2)
