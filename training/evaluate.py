"""The sweep: every metric at every λ2 over the whole catalogue, blockwise, beside M alone and popularity."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from causalrec import equations
from causalrec.bundle import Seen
from causalrec.equations import Terms
from causalrec.errors import DataError
from causalrec.manifest import SweepRow
from causalrec.weights import Weights
from training.metrics import Bootstrap, Relevant, Values, judge, list_metrics, mask

MATCH_ALONE, POPULARITY = "match_alone", "popularity"
Ranking = float | str  # a λ2, or the name of a reference ranking
Scores = Callable[[NDArray[np.int64]], Iterable[tuple[Ranking, Tensor]]]


@dataclass
class Evaluation:
    """
    Per-user metrics by ranking and metric name, and how far λ2 moves the list.

    values[ranking]["NDCG@50"] is over the users of the set "clicks"; other sets' metrics are "SET:NDCG@50".
    overlap[λ2] [users] is the share of the top k also in the top k at λ2 = 0. shown[ranking] [I] counts the lists each
    item is in, among those of the users of "clicks"; it is there only where features were given.
    """

    values: dict[Ranking, dict[str, Values]] = field(default_factory=dict)
    overlap: dict[float, Values] = field(default_factory=dict)
    shown: dict[Ranking, NDArray[np.int64]] = field(default_factory=dict)

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
    features: Tensor | None = None,
    users_per_block: int = 512,
    quiet: bool = False,
) -> Evaluation:
    """
    Judges every ranking of a model on every set of held-out items, training positives masked.

    Args:
        sets: name → relevant items; "clicks" are held-out interactions, "purchases" and "liked" what people wanted.
        lambda2: the values to rank by, rising from 0.0, which overlap is measured against.
        references: judge M alone and popularity too.
        features: [I, F] centred and scaled; with them the lists themselves are judged too (`evaluate_scores`).
        users_per_block: memory is users_per_block × items, never users × items.
    """
    by_popularity = popularity_order(weights.popularity)

    def scores(block: NDArray[np.int64]) -> Iterator[tuple[Ranking, Tensor]]:
        rows = torch.from_numpy(block)
        terms, null = weights.block_terms(rows), weights.null[rows][:, None]
        for value in lambda2:
            yield value, equations.score(weights.form, terms, null, value)
        if references:
            yield MATCH_ALONE, match_alone(weights, terms)
            yield POPULARITY, by_popularity.expand(len(block), -1)

    return evaluate_scores(scores, seen, sets, k, features=features, users_per_block=users_per_block, quiet=quiet)


def evaluate_scores(
    scores: Scores,
    seen: Seen,
    sets: dict[str, Relevant],
    k: int,
    *,
    features: Tensor | None = None,
    users_per_block: int = 512,
    quiet: bool = False,
) -> Evaluation:
    """
    Judges anybody's scores as `evaluate` does a model's: blockwise, training positives masked, equal scores by row.

    Args:
        scores: a block of user rows [B], rising → each ranking's name and its scores [B, I] over the whole catalogue,
            in the same order for every block. Overlap is measured against the ranking 0.0, which comes first of the λ2.
        sets: name → relevant items; values[ranking] of a set are over `sets[name].users`, in that order.
        features: [I, F] centred and scaled; with them the users of "clicks" also get "popularity@k" and "diversity@k"
            (`training.metrics.list_metrics`), and shown counts the lists that hold each item.
    Raises: DataError when a score is not a number.
    """
    users = np.unique(np.concatenate([relevant.users for relevant in sets.values()]))
    found = _Collected(None if features is None else list_metrics(seen, features))
    blocks = range(0, len(users), users_per_block)
    for start in tqdm(blocks, desc="evaluate", unit="block", disable=quiet or len(blocks) < 3):
        block = users[start : start + users_per_block]
        masked, at_zero, wanted = None, None, dict[str, _Wanted]()
        for ranking, given in scores(block):
            items = given.shape[1]
            if masked is None:
                masked, wanted = mask(seen, block, items), _wanted(sets, block, items)
            ranked = _numbers(given, ranking, block).masked_fill(masked, -torch.inf)
            top = ranked.topk(min(k, items), 1).indices
            found.add(ranking, _metrics(ranked, top, wanted))
            if "clicks" in wanted:
                found.add_lists(ranking, *(part[wanted["clicks"][0]] for part in (ranked, top)))
            if isinstance(ranking, float):
                at_zero = top if at_zero is None else at_zero
                found.overlap.setdefault(ranking, []).append(_overlap(top, at_zero, items))
    return found.evaluation()


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


def match_alone(weights: Weights, terms: Terms) -> Tensor:
    """Scores [B, I] of the match M by itself, the baseline every λ2 has to beat."""
    return equations.match_value(weights.form, terms)


def _overlap(top: Tensor, at_zero: Tensor, items: int) -> Values:
    member = torch.zeros(len(top), items, dtype=torch.bool).scatter_(1, at_zero, True)
    share: Values = member.gather(1, top).double().mean(1).numpy()
    return share


_Wanted = tuple[Tensor, Tensor]  # places within the block of the users who want something, and what: bool [., I]


def _wanted(sets: dict[str, Relevant], block: NDArray[np.int64], items: int) -> dict[str, _Wanted]:
    found = {}
    for name, relevant in sets.items():
        places = np.flatnonzero(np.isin(block, relevant.users))
        if len(places):
            found[name] = torch.from_numpy(places), relevant.matrix(block[places], items)
    return found


def _metrics(ranked: Tensor, top: Tensor, wanted: dict[str, _Wanted]) -> dict[str, Values]:
    found = {}
    for name, (rows, matrix) in wanted.items():
        for metric, values in judge(ranked[rows], top[rows], matrix, top.shape[1]).items():
            found[metric if name == "clicks" else f"{name}:{metric}"] = values
    return found


def _numbers(scores: Tensor, ranking: Ranking, block: NDArray[np.int64]) -> Tensor:
    """The scores as they are, if they are numbers."""
    if bool(scores.isnan().any()):
        user = int(block[int(scores.isnan().any(1).nonzero()[0])])
        raise DataError(
            f"the ranking {ranking!r} of the user in row {user}: a score is not a number; did training diverge?"
        )
    return scores


@dataclass
class _Collected:
    """What was found of the blocks so far; `lists` judges the lists themselves, where that is wanted."""

    lists: Callable[[Tensor, Tensor], tuple[dict[str, Values], NDArray[np.int64]]] | None
    values: dict[Ranking, dict[str, list[Values]]] = field(default_factory=dict)
    overlap: dict[float, list[Values]] = field(default_factory=dict)
    shown: dict[Ranking, NDArray[np.int64]] = field(default_factory=dict)

    def add(self, ranking: Ranking, metrics: dict[str, Values]) -> None:
        for metric, values in metrics.items():
            self.values.setdefault(ranking, {}).setdefault(metric, []).append(values)

    def add_lists(self, ranking: Ranking, ranked: Tensor, top: Tensor) -> None:
        if self.lists is not None:
            metrics, shown = self.lists(ranked, top)
            self.add(ranking, metrics)
            self.shown[ranking] = self.shown[ranking] + shown if ranking in self.shown else shown

    def evaluation(self) -> Evaluation:
        return Evaluation(
            {ranking: {key: np.concatenate(parts) for key, parts in by.items()} for ranking, by in self.values.items()},
            {value: np.concatenate(parts) for value, parts in self.overlap.items()},
            self.shown,
        )
