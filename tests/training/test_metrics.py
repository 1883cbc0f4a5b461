"""Metrics against an independent library, intervals against theory."""

from itertools import combinations

import ir_measures
import numpy as np
import pytest
import torch
from ir_measures import RR, R, Success, nDCG

from causalrec.bundle import Seen
from training.metrics import Bootstrap, Relevant, judge, list_metrics, mask

K = 10


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_an_independent_library(seed: int) -> None:
    """MRR, NDCG@k, HR@k and Recall@k of random rankings equal ir-measures', user by user, masked items left out."""
    rng = np.random.default_rng(seed)
    users, items = 20, 60
    scores = torch.from_numpy(rng.permuted(np.tile(np.linspace(-1, 1, items), (users, 1)), axis=1))
    relevant = torch.from_numpy(rng.random((users, items)) < 0.1)
    relevant[torch.arange(users), torch.from_numpy(rng.integers(0, items, users))] = True
    masked = torch.from_numpy(rng.random((users, items)) < 0.2) & ~relevant
    scores = scores.masked_fill(masked, -torch.inf)
    qrels = [ir_measures.Qrel(str(u), str(i), 1) for u, i in relevant.nonzero().tolist()]
    run = [ir_measures.ScoredDoc(str(u), str(i), float(scores[u, i])) for u, i in (~masked).nonzero().tolist()]

    found = judge(scores, scores.topk(K, 1).indices, relevant, K)

    measures = {"MRR": RR, f"NDCG@{K}": nDCG @ K, f"HR@{K}": Success @ K, f"Recall@{K}": R @ K}
    for expected in ir_measures.iter_calc(list(measures.values()), qrels, run):
        name = next(name for name, measure in measures.items() if measure == expected.measure)
        assert found[name][int(expected.query_id)] == pytest.approx(expected.value)


def test_ties_are_broken_by_row() -> None:
    """Among four equal scores below a better one, the relevant item in the second row ranks third."""
    scores = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.9]])

    found = judge(scores, torch.tensor([[4, 0, 1]]), torch.tensor([[False, True, False, False, False]]), 3)

    assert found["MRR"].tolist() == [1 / 3]


def test_a_masked_relevant_item_cannot_be_found() -> None:
    """A relevant item that is masked counts as never reached."""
    scores = torch.tensor([[-torch.inf, 0.5]])

    found = judge(scores, torch.tensor([[1]]), torch.tensor([[True, False]]), 1)

    assert [found[name].tolist() for name in ("MRR", "HR@1")] == [[0.0], [0.0]]


def test_relevant_keeps_only_users_who_have_any() -> None:
    """Users without held-out items are not judged."""
    relevant = Relevant.of(np.array([4, 1, 4]), np.array([0, 2, 1]), users=6)

    assert relevant.users.tolist() == [1, 4]
    assert mask(relevant.pairs, relevant.users, 3).tolist() == [[False, False, True], [True, True, False]]


def test_intervals_are_those_of_the_normal_approximation() -> None:
    """For many users the 95 % percentile interval is the mean ± 1.96 standard errors."""
    values = np.random.default_rng(0).normal(3.0, 2.0, 2000)

    interval = Bootstrap(4000, seed=0).interval(values)

    error = values.std() / np.sqrt(2000)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=error / 8)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=error / 8)


def test_the_same_resamples_serve_every_metric() -> None:
    """Two metrics that differ by a constant have intervals that differ by exactly that."""
    values = np.random.default_rng(0).random(50)
    bootstrap = Bootstrap(200, seed=1)

    first, second = bootstrap.interval(values), bootstrap.interval(values + 1)

    assert second.low - first.low == pytest.approx(1.0)
    assert Bootstrap(200, seed=1).interval(values) == first


def test_resampled_means_of_columns_are_those_of_each_alone() -> None:
    """Many metrics at once get the resamples that each would get by itself."""
    values = np.random.default_rng(0).random((50, 3))
    bootstrap = Bootstrap(200, seed=1)

    together = bootstrap.means(values)

    assert together.shape == (200, 3)
    assert together[:, 1] == pytest.approx(bootstrap.means(values[:, 1]))


def test_popularity_and_diversity_are_those_of_plain_loops() -> None:
    """Mean share of users per item; mean 1 − cosine over pairs, where an item without features is unlike all."""
    rng = np.random.default_rng(0)
    seen = Seen.of(rng.integers(0, 9, 60), rng.integers(0, 12, 60), 9)
    features = torch.from_numpy(rng.normal(size=(12, 5)))
    features[3] = 0.0
    top = torch.from_numpy(np.stack([rng.permutation(12)[:4] for _ in range(6)] + [np.array([3, 1, 5, 3 + 4])]))

    found, shown = list_metrics(seen, features)(torch.zeros(7, 12), top)

    for row, items in enumerate(top.tolist()):
        share = np.mean([sum(item in seen.items(user) for user in range(9)) / 9 for item in items])
        apart = [1 - _cosine(features[a], features[b]) for a, b in combinations(items, 2)]
        assert found["popularity@4"][row] == pytest.approx(share)
        assert found["diversity@4"][row] == pytest.approx(np.mean(apart))
    assert shown.tolist() == [sum(item in items for items in top.tolist()) for item in range(12)]


def test_a_masked_item_that_fills_up_a_list_counts_for_nothing() -> None:
    """Of three items two are masked: the list of three holds one, which has no pair."""
    seen = Seen.of(np.array([0, 1, 1]), np.array([0, 0, 2]), 2)
    scores = torch.tensor([[1.0, -torch.inf, -torch.inf]])

    found, shown = list_metrics(seen, torch.eye(3))(scores, torch.tensor([[0, 1, 2]]))

    assert (found["popularity@3"].tolist(), found["diversity@3"].tolist()) == ([1.0], [0.0])
    assert shown.tolist() == [1, 0, 0]


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    lengths = float(a.norm() * b.norm())
    return float(a @ b) / lengths if lengths else 0.0
