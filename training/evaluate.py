"""The sweep: every metric at every λ2 over the whole catalogue, blockwise, beside M alone and popularity."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from causalrec import equations
from causalrec.bundle import Seen
from causalrec.equations import Terms
from causalrec.manifest import SweepRow
from causalrec.weights import Weights
from training.metrics import Bootstrap, Relevant, Values, judge, mask

MATCH_ALONE, POPULARITY = "match_alone", "popularity"
Ranking = float | str  # a λ2, or the name of a reference ranking


@dataclass
class Evaluation:
    """
    Per-user metrics by ranking and metric name, and how far λ2 moves the list.

    values[ranking]["NDCG@50"] is over the users of the set "clicks"; other sets' metrics are "SET:NDCG@50".
    overlap[λ2] [users] is the share of the top k also in the top k at λ2 = 0.
    """

    values: dict[Ranking, dict[str, Values]] = field(default_factory=dict)
    overlap: dict[float, Values] = field(default_factory=dict)

    def mean(self, ranking: Ranking, metric: str) -> float:
        """The mean over users."""
        return float(self.values[ranking][metric].mean())


def evaluate(
    weights: Weights,
    seen: Seen,
    sets: dict[str, Relevant],
    lambda2: tuple[float, ...],
    k: int,
    *,
    references: bool = True,
    users_per_block: int = 512,
    quiet: bool = False,
) -> Evaluation:
    """
    Judges every ranking on every set of held-out items, training positives masked.

    Args:
        sets: name → relevant items; "clicks" are held-out interactions, "purchases" and "liked" what people wanted.
        lambda2: the values to rank by, rising from 0.0, which overlap is measured against.
        references: judge M alone and popularity too.
        users_per_block: memory is users_per_block × items, never users × items.
    """
    users = np.unique(np.concatenate([relevant.users for relevant in sets.values()]))
    rankings: list[Ranking] = [*lambda2, *((MATCH_ALONE, POPULARITY) if references else ())]
    collected: dict[Ranking, dict[str, list[Values]]] = {ranking: {} for ranking in rankings}
    overlap: dict[float, list[Values]] = {value: [] for value in lambda2}
    items = len(weights.gamma_i)
    k = min(k, items)
    blocks = range(0, len(users), users_per_block)
    for start in tqdm(blocks, desc="evaluate", unit="block", disable=quiet or len(blocks) < 3):
        block = users[start : start + users_per_block]
        terms = weights.block_terms(torch.from_numpy(block))
        masked = mask(seen, block, items)
        at_zero: Tensor | None = None
        for ranking in rankings:
            scores = _scores(weights, terms, ranking, block).masked_fill(masked, -torch.inf)
            top = scores.topk(k, 1).indices
            for name, relevant in sets.items():
                judged = np.flatnonzero(np.isin(block, relevant.users))
                chosen = torch.from_numpy(judged)
                matrix = relevant.matrix(block[judged], items)
                for metric, values in judge(scores[chosen], top[chosen], matrix, k).items():
                    key = metric if name == "clicks" else f"{name}:{metric}"
                    collected[ranking].setdefault(key, []).append(values)
            if isinstance(ranking, float):
                at_zero = top if at_zero is None else at_zero
                overlap[ranking].append(_overlap(top, at_zero, items))
    return Evaluation(
        {ranking: {key: np.concatenate(parts) for key, parts in by.items()} for ranking, by in collected.items()},
        {value: np.concatenate(parts) for value, parts in overlap.items()},
    )


def sweep_rows(valid: Evaluation, test: Evaluation, bootstrap: Bootstrap) -> tuple[SweepRow, ...]:
    """The manifest's sweep: every ranking's metrics on validation and test with 95 % intervals."""
    rows = []
    for ranking in valid.values:
        names = {MATCH_ALONE, POPULARITY}
        rows.append(
            SweepRow(
                ranking=str(ranking) if ranking in names else "debiased",
                lambda2=ranking if isinstance(ranking, float) else None,
                valid={key: bootstrap.interval(values) for key, values in valid.values[ranking].items()},
                test={key: bootstrap.interval(values) for key, values in test.values[ranking].items()},
            )
        )
    return tuple(rows)


def popularity_order(popularity: Tensor) -> Tensor:
    """Scores [I] that rank by popularity, equal counts by row."""
    order = torch.sort(popularity, descending=True, stable=True).indices
    scores = torch.empty(len(order))
    scores[order] = -torch.arange(len(order), dtype=torch.float32)
    return scores


def _scores(weights: Weights, terms: Terms, ranking: Ranking, block: NDArray[np.int64]) -> Tensor:
    if ranking == MATCH_ALONE:
        return match_alone(weights, terms)
    if ranking == POPULARITY:
        return popularity_order(weights.popularity).expand(len(block), -1)
    null = weights.null[torch.from_numpy(block)][:, None]
    return equations.score(weights.form, terms, null, float(ranking))


def match_alone(weights: Weights, terms: Terms) -> Tensor:
    """Scores [B, I] of the match M by itself, the baseline every λ2 has to beat."""
    return equations.match_value(weights.form, terms)


def _overlap(top: Tensor, at_zero: Tensor, items: int) -> Values:
    member = torch.zeros(len(top), items, dtype=torch.bool).scatter_(1, at_zero, True)
    share: Values = member.gather(1, top).double().mean(1).numpy()
    return share
