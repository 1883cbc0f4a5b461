"""Metrics against an independent library, intervals against theory."""

import ir_measures
import numpy as np
import pytest
import torch
from ir_measures import RR, R, Success, nDCG

from training.metrics import Bootstrap, Relevant, judge, mask

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
