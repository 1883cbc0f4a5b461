"""What is asked of a catalogue and what is answered: a user's best items at every λ2 asked for, and their proof."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causalrec import equations
from causalrec.equations import Form, Terms
from causalrec.weights import UserVectors

Rows = NDArray[np.int64]
Proof = Literal["certificate", "scan", "none"]

DECIMALS = 12  # scores closer than this are ties, broken by item id


@dataclass(frozen=True)
class Query:
    """
    One user's question: the k best items outside `excluded` at each λ2, all from one pass over the catalogue.

    excluded are distinct rows. candidates: how many items one search of an index may return (at least k is used), its
    budget. full_scan: score every item where no proof was found within the budget; False answers with proof "none".
    """

    user: UserVectors
    lambda2: tuple[float, ...]
    k: int
    excluded: Rows
    candidates: int = 500
    full_scan: bool = True


@dataclass(frozen=True)
class TopK:
    """
    The best items of one user, best first; equal scores (to 12 decimals) in the order of their ids.

    rows int64 [k], scores float64 [k]; proof says why the list is exact ("certificate": the index was searched to the
    threshold; "scan": every eligible item was scored) or that it is not known to be ("none"). candidates is how many
    items were scored.
    """

    rows: Rows
    scores: NDArray[np.float64]
    proof: Proof
    candidates: int

    @property
    def exact(self) -> bool:
        """Whether no eligible item outside the list can belong in it."""
        return self.proof != "none"


def held(rows: Rows, others: Rows, items: int) -> NDArray[np.bool_]:
    """Which of `rows` are among `others`, both distinct rows below `items`; fast also where there are many others."""
    if len(others) * 8 < len(rows):
        return np.isin(rows, others)
    there = np.zeros(items, dtype=bool)
    there[others] = True
    return there[rows]


def best_first(scores: NDArray[np.float64], rows: Rows, k: int) -> Rows:
    """Positions [min(k, C)] of the best scores, best first; ties in the order of rows, which is that of ids."""
    if k <= 0 or not len(scores):
        return np.empty(0, dtype=np.int64)
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= least)
    else:
        kept = np.arange(len(scores))
    order = np.lexsort((rows[kept], -scores[kept]))[:k]
    return kept[order].astype(np.int64)


def rounded_scores(form: Form, terms: Terms, user: UserVectors, lambda2: float) -> NDArray[np.float64]:
    """`equations.score` of float64 terms, rounded to 12 decimals."""
    return np.round(equations.score(form, terms, user.null.double(), lambda2).numpy(), DECIMALS)
