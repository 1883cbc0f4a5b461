"""The study of cold users and items runs whole on a small world, and its parts do what they say."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from causalrec.foldin import PRIOR, FoldIn, recency
from causalrec.model import Folded
from tests.bundles import make_bundle
from tests.training.test_run import small_config
from tests.worlds import write_data
from training.config import as_toml
from training.data.dataset import Dataset, load_dataset
from training.metrics import Bootstrap
from training.studies import cold
from training.studies.histories import Task
from training.studies.newcomers import RIDGES, HeldOut, predicted
from training.studies.softmax import exactly
from training.studies.trials import Ledger, Timeline, fifths, fused_with_popularity, judged, trained_on


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), each=20, ratings=True)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return load_dataset(folder, small_config(folder).data, seed=0)


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
    return cold.main()


def test_the_study_reports_every_trial(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table has its rows for every form, and nothing but means over users is written down."""
    (tmp_path / "small.toml").write_text(as_toml(small_config(tmp_path)))
    out = tmp_path / "cold.md"
    arguments = ("--config", tmp_path / "small.toml", "--data", folder, "--forms", "paper", "authors", "--out", out)

    status = _run(monkeypatch, *arguments, "--seeds", 0, 1)

    text = out.read_text()
    assert status == 0
    for form in ("paper", "authors"):
        for row in ("stored vectors", "all folded in", "trained again", "cold items"):
            assert f"| {form}" in text
            assert row in text
    assert text.count("| γ* instead") == 4
    assert text.count("| ρ = ") == 10
    assert "user-0" not in text
    assert "nan" not in text


def test_the_study_needs_times(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without timestamps it says so in one line, status 2."""
    data = write_data(tmp_path / "data")
    log = data / "interactions.parquet"
    pl.read_parquet(log).drop("timestamp").write_parquet(log)
    (tmp_path / "small.toml").write_text(as_toml(small_config(tmp_path)))

    status = _run(monkeypatch, "--config", tmp_path / "small.toml", "--data", data, "--out", tmp_path / "cold.md")

    assert status == 2
    assert "timestamp" in capsys.readouterr().err


def test_histories_are_in_order_of_time(dataset: Dataset) -> None:
    """Each user's chosen events, newest first, by plain sorting."""
    timeline, events = Timeline.of(dataset), dataset.interactions
    times = events.timestamp
    assert times is not None
    chosen = np.random.default_rng(0).random(len(events)) < 0.5
    users = np.array([3, 11, 40])

    found = timeline.newest_first(chosen, users)

    for user, items in zip(users, found, strict=True):
        rows = [row for row in range(len(events)) if chosen[row] and events.user[row] == user]
        rows.sort(key=lambda row: (-times[row], -events.item[row]))
        assert items.tolist() == [events.item[row] for row in rows]


def test_what_is_not_known_is_not_asked(dataset: Dataset) -> None:
    """Untrained items are neither offered, nor told, nor sought; a user with nothing to find is left out."""
    timeline, weights = Timeline.of(dataset), make_bundle(users=60, items=len(dataset.items)).weights
    weights.popularity[::4] = 0
    passed, trained = timeline.passed, weights.popularity > 0
    sought = (passed >= 0.8) & (dataset.interactions.user != 5)

    task = Task.of(timeline, weights, np.arange(60), passed < 0.5, sought, passed < 0.5)

    assert 5 not in task.users
    assert bool(task.masked[:, ~trained].all())
    assert not bool(task.relevant[:, ~trained].any())
    assert bool(task.relevant.any(1).all())
    assert not bool((task.relevant & task.masked).any())
    assert all(bool(trained[torch.from_numpy(history)].all()) for history in task.histories)


def test_a_model_of_some_users_has_only_them(dataset: Dataset, tmp_path: Path) -> None:
    """Users without a chosen event have no row and no part in the mean user; items without one have no popularity."""
    events = dataset.interactions
    chosen = (events.user >= 20) & (events.item != 3)

    trained = trained_on(small_config(tmp_path), dataset, chosen)

    assert trained.weights.gamma_u.shape[0] == 40
    assert float(trained.weights.popularity[3]) == 0
    assert trained.lambda2 in small_config(tmp_path).evaluate.lambda2


def test_what_is_held_out_is_not_learnt(dataset: Dataset) -> None:
    """No event of a held-out user or with a held-out item is left to learn from; each turn has other ones."""
    timeline, events = Timeline.of(dataset), dataset.interactions

    first, second = HeldOut.of(timeline, 0), HeldOut.of(timeline, 1)

    tuning = set(np.flatnonzero(fifths(60) == 0).tolist())
    assert set(first.users.tolist()) & set(second.users.tolist()) == tuning
    assert not set(first.items.tolist()) & set(second.items.tolist())
    for held in (first, second):
        assert (len(held.users), len(held.items)) == (24, 8)
        for row in range(len(events)):
            away = events.user[row] in held.users or events.item[row] in held.items
            assert bool(held.learnt[row]) != away


def test_the_fusion_is_that_of_reciprocal_ranks() -> None:
    """1/(60 + place by score) + 1/(60 + place by popularity), by sorting each user's items; ties by row."""
    weights = make_bundle("authors", users=8, items=30).weights
    ranked = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))

    fused = fused_with_popularity(weights, ranked)

    for row in range(2):
        by_score = sorted(range(30), key=lambda item: (-float(ranked[row, item]), item))
        by_popularity = sorted(range(30), key=lambda item: (-float(weights.popularity[item]), item))
        for item in range(30):
            expected = 1 / (61 + by_score.index(item)) + 1 / (61 + by_popularity.index(item))
            assert float(fused[row, item]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("folded", get_args(Folded))
def test_the_exact_fold_in_is_the_softmax_minimum(folded: Folded) -> None:
    """Of the notice, of the sum, or of one vector for both: what an optimiser finds with the sum over all items."""
    made = make_bundle("authors", users=30, items=60).weights
    weights = replace(made, theta_u=made.gamma_u) if folded == "shared" else made
    history, strengths, start = np.array([4, 17, 33]), np.array([1.0, 2.0, 0.5]), weights.user(2)

    (user,) = exactly(weights, folded, [history], [strengths], [start], 0.8)

    items, trained = weights.items.double(), (weights.popularity > 0).numpy()
    assert items.beta is not None
    assert items.visual_bias is not None
    match, both = items.gamma * (1 + items.e_match), (items.beta + items.visual_bias).numpy()
    x, bias, users, found = {
        "branches": (items.e, items.visual_bias.numpy(), weights.theta_u, user.theta),
        "whole": (
            torch.cat([match, items.e], 1),
            both,
            torch.cat([weights.gamma_u, weights.theta_u], 1),
            torch.cat([user.gamma, user.theta]),
        ),
        "shared": (match + items.e, both, weights.gamma_u, user.gamma),
    }[folded]
    covariance = np.cov(users.double().numpy().T, bias=True)
    precision = 0.8 * np.linalg.inv(covariance + 1e-3 * covariance.trace() / len(covariance) * np.eye(len(covariance)))
    begun = users[2].double().numpy()

    def loss(vector: np.ndarray) -> float:
        logits = bias + x.numpy() @ vector
        moved = vector - begun
        return float(strengths @ (logsumexp(logits[trained]) - logits[history]) + moved @ precision @ moved / 2)

    best = minimize(loss, begun, method="BFGS", options={"gtol": 1e-8})
    assert found.tolist() == pytest.approx(best.x.tolist(), abs=1e-5)


def test_the_closed_form_is_near_the_exact_one(dataset: Dataset, tmp_path: Path) -> None:
    """On a trained model the two move a user to nearly the same place."""
    trained = trained_on(small_config(tmp_path), dataset, np.ones(len(dataset.interactions), dtype=np.bool_))
    weights, history = trained.weights, np.flatnonzero(trained.weights.popularity.numpy() > 0)[[2, 9, 30]]
    start = weights.user(7)

    closed = FoldIn(weights, "branches").user(history, recency(3), start)
    (exact,) = exactly(weights, "branches", [history], [recency(3)], [start], PRIOR)

    moved, away = exact.gamma - start.gamma, exact.gamma - closed.gamma
    assert float(away.norm()) < 0.25 * float(moved.norm())


def test_a_predicted_match_is_the_ridge_regressions() -> None:
    """γ and β of held-out items from their features, by the normal equations, at the ridge of least GCV error."""
    weights = make_bundle("authors", items=120).weights
    rng = np.random.default_rng(3)
    features, rows = rng.normal(size=(120, 10)), np.array([1, 5, 50])

    found = predicted(weights, features, rows)

    trained = (weights.popularity > 0).numpy()
    assert weights.beta is not None
    own = np.column_stack([weights.gamma_i.double(), weights.beta.double()])
    origin, mean = features[trained].mean(0), own[trained].mean(0)
    x, y = features[trained] - origin, own[trained] - mean
    errors, guesses = [], []
    for ridge in RIDGES:
        solved = np.linalg.solve(x.T @ x + ridge * np.eye(10), x.T)
        hat = x @ solved
        errors.append(((y - hat @ y) ** 2).sum() / np.trace(np.eye(len(x)) - hat) ** 2)
        guesses.append(mean + (features[rows] - origin) @ solved @ y)
    best = guesses[int(np.argmin(errors))]
    assert found.gamma.numpy() == pytest.approx(best[:, :-1], abs=1e-5)
    assert found.beta is not None
    assert found.beta.numpy() == pytest.approx(best[:, -1], abs=1e-5)


def test_the_ledger_averages_over_trials_and_pairs_gains() -> None:
    """A user judged twice counts once, with the mean; gains are differences of the same users."""
    ledger, bootstrap = Ledger(), Bootstrap(100, 0)
    ledger.add(("a",), np.array([1, 2]), np.array([0.2, 0.4]))
    ledger.add(("a",), np.array([2, 0]), np.array([0.6, 1.0]))
    ledger.add(("b",), np.array([0, 1, 2]), np.array([0.5, 0.1, 0.5]))

    gain = ledger.gain(("a",), ("b",), bootstrap)

    assert ledger.values(("a",)).tolist() == [1.0, 0.2, 0.5]
    assert gain.mean == pytest.approx((0.5 + 0.1 + 0.0) / 3)
    assert 0.0 <= gain.low <= gain.high <= 0.5


def test_lists_leave_masked_items_out() -> None:
    """NDCG of a list whose best item is masked is that of the list without it."""
    ranked = torch.tensor([[0.9, 0.8, 0.7, 0.1]])
    masked = torch.tensor([[True, False, False, False]])
    relevant = torch.tensor([[False, False, True, False]])

    value = judged(ranked, masked, relevant, 2)

    assert value.tolist() == [pytest.approx(1 / np.log2(3))]


def test_every_user_is_in_one_fifth() -> None:
    """Of equal sizes, and the same whenever asked."""
    counts = np.bincount(fifths(611))

    assert counts.tolist() == [123, 122, 122, 122, 122]
    assert (fifths(611) == fifths(611)).all()
