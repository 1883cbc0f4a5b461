"""cornac beside a comparison: what it is given, what its scores are, what becomes of them. Needs its environment."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.catalogue import FOLDER
from benchmarks.peer_jobs import PEERS, Job, Peer, exported, tried
from benchmarks.peer_quality import Peers, search
from benchmarks.peers.ndcg import auc, mean_ndcg
from causalrec.bundle import Seen
from causalrec.errors import DataError
from tests.worlds import write_data
from training.compare import outcome
from training.compare.config import CompareConfig, SearchConfig, read_compare
from training.compare.found import Found, save_found
from training.metrics import Relevant, judge, mask
from training.prepare import prepare

PYTHON = FOLDER / "cornac-train" / "bin" / "python"
needs_cornac = pytest.mark.skipif(
    not PYTHON.exists(), reason="cornac's environment is made by the first run of benchmarks.trainer or .peer_quality"
)

CONFIG = """
name = "small"
seeds = [3, 4]
[search]
trials = 1
[data]
k_core = 2
[model]
dim = 4
[fit]
epochs = 2
[evaluate]
k = 10
lambda2 = [0.0, 0.5, 1.0]
"""

# Trains CausalRec in cornac's environment, then asks for users' scores twice, in two orders.
TWICE = """
import sys
import numpy as np
from watched import data_set, train
given = np.load(sys.argv[1])
data = data_set(given["user"], given["item"], given["features"], 0)
mean = data.item_image.features.mean(0) + 1
given = dict(k=3, k2=3, n_epochs=3, learning_rate=.05, mean_feat=mean.tolist(), seed=0)
model = train("CausalRec", data, lambda *_: False, **given)
model.lambda_2 = .7
users = range(data.num_users)
first = np.stack([model.score(user) for user in users])
again = np.stack([model.score(user) for user in reversed(users)])[::-1]
names = ("beta_item", "gamma_user", "gamma_item", "theta_user", "emb_matrix", "beta_prime", "emb_dir_matrix")
kept = {name: getattr(model, name) for name in names}
np.savez(sys.argv[2], first=first, again=again, features=data.item_image.features, mean=mean, **kept)
"""


@pytest.fixture
def compared(tmp_path: Path) -> tuple[CompareConfig, Path]:
    (tmp_path / "compare.toml").write_text(CONFIG)
    return read_compare(tmp_path / "compare.toml"), write_data(tmp_path / "data")


def pairs(array: NDArray[np.int64]) -> set[tuple[int, int]]:
    return set(map(tuple, array.T.tolist()))


def test_the_split_given_to_the_peer_is_ours(compared: tuple[CompareConfig, Path], tmp_path: Path) -> None:
    """Its training pairs are what we train on and mask, its validation pairs our held-out clicks; same features."""
    config, data = compared
    prepared = prepare(config.base(4), data)
    Peer(config, prepared, tmp_path, PYTHON)

    train, valid = np.load(tmp_path / "train.npy"), np.load(tmp_path / "valid.npy")

    users = range(len(prepared.dataset.users))
    assert pairs(train) == {(user, item) for user in users for item in prepared.seen.items(user).tolist()}
    clicks = prepared.valid["clicks"]
    assert pairs(valid) == {
        (user, item) for user in clicks.users.tolist() for item in clicks.pairs.items(user).tolist()
    }
    assert not pairs(train) & pairs(valid)
    assert np.array_equal(np.load(tmp_path / "features.npy"), prepared.features.numpy())
    assert exported(prepare(config.base(3), data))["train"].tolist() != train.tolist()


def test_the_metric_watched_is_the_metric_reported() -> None:
    """mean_ndcg in NumPy is the mean of `training.metrics.judge`, training positives masked."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(9, 30)).astype(np.float32)
    seen, held_out = rng.permuted(np.tile(np.arange(30), (9, 1)), axis=1)[:, :12].reshape(2, 9, 6)
    user = np.repeat(np.arange(9), 6)
    relevant = Relevant.of(user, held_out.ravel(), 9)
    hidden = mask(Seen.of(user, seen.ravel(), 9), np.arange(9), 30)
    ranked = torch.from_numpy(scores).masked_fill(hidden, -torch.inf)

    ours = judge(ranked, ranked.topk(5, 1).indices, relevant.matrix(np.arange(9), 30), 5)["NDCG@5"].mean()

    assert mean_ndcg(scores, (user, seen.ravel()), (user, held_out.ravel()), 5) == pytest.approx(ours, abs=1e-12)


def test_auc_counts_ties_by_half() -> None:
    """Two of four pairs in order, one equal."""
    assert auc(np.array([1.0, 2.0, 3.0, 0.0]), np.array([0.0, 2.0, 1.0, 5.0])) == pytest.approx(0.625)


def test_the_search_begins_with_cornacs_defaults() -> None:
    """Then its grid, as many settings as are allowed, none twice."""
    found = tried("VBPR", 12)

    assert found[0] == {"learning_rate": 0.005, "lambda_w": 0.01, "lambda_e": 0.0}
    assert 8 <= len(found) <= 12
    assert len({tuple(settings.items()) for settings in found}) == len(found)
    assert tried("VBPR", 3) == found[:3]


@needs_cornac
def test_scores_of_fixed_causalrec_are_the_plain_formula(tmp_path: Path) -> None:
    """D1-D6 in float64, of trained arrays, at λ2 = .7; and the same in whatever order users are asked for."""
    rng = np.random.default_rng(1)
    user, item = np.repeat(np.arange(6), 4), rng.integers(0, 9, 24)
    np.savez(tmp_path / "given.npz", user=user, item=item, features=rng.normal(size=(9, 5)).astype(np.float32))

    subprocess.run(
        [PYTHON.absolute(), "-W", "ignore", "-c", TWICE, tmp_path / "given.npz", tmp_path / "found.npz"],
        check=True,
        cwd=PEERS,
    )

    found = np.load(tmp_path / "found.npz")
    assert np.array_equal(found["first"], found["again"])
    np.testing.assert_allclose(found["first"], plain(found, 0.7), atol=2e-6)


def plain(arrays: Any, lambda2: float) -> NDArray[np.float64]:
    """cornac's debiased score of every user and item, one pair at a time."""
    x, mean, E, E_ind = arrays["features"], arrays["mean"], arrays["emb_matrix"], arrays["emb_dir_matrix"]
    beta, bias, gamma = arrays["beta_item"], arrays["beta_prime"][:, 0], arrays["gamma_item"]
    scores = np.zeros((len(arrays["gamma_user"]), len(x)))
    for u, (gamma_u, theta_u) in enumerate(zip(arrays["gamma_user"], arrays["theta_user"], strict=True)):
        null = beta.mean() + gamma_u @ gamma.mean(0) + gamma_u @ (gamma.mean(0) * (mean @ E_ind))
        for i in range(len(x)):
            m = beta[i] + gamma_u @ gamma[i] + gamma_u @ (gamma[i] * (x[i] @ E_ind))
            n = theta_u @ (x[i] @ E) + x[i] @ bias
            scores[u, i] = sigmoid(m + n) * sigmoid(m) * sigmoid(n)
            scores[u, i] -= lambda2 * sigmoid(null + n) * sigmoid(null) * sigmoid(n)
    return scores


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


@needs_cornac
def test_a_peers_cell_lies_where_the_report_looks(
    compared: tuple[CompareConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CausalRec at every λ2, judged on our users as well as cornac saw itself; a second call trains nothing again."""
    config, data = compared
    seen: list[dict[str, Any]] = []
    train = Peer.run

    def run(peer: Peer, job: Job) -> dict[str, Any]:
        seen.append(train(peer, job))
        return seen[-1]

    monkeypatch.setattr(Peer, "run", run)
    save_found(Found("cornac CausalRec", "", {"learning_rate": 0.02}), tmp_path / "other" / "peers")
    peers = Peers(config, data, tmp_path, tmp_path / "other")
    peers.compare(["CausalRec"], (4,))

    found = outcome.load(outcome.cell_path(tmp_path, "cornac CausalRec", 4, peer=True))

    test = prepare(config.base(4), data).test["clicks"]
    assert list(found.test.values) == [0.0, 0.5, 1.0]
    assert (found.facts.peer, found.facts.undebiasable, found.facts.epochs) == (True, None, 2)
    assert found.facts.settings == {"cornac.learning_rate": 0.02}
    assert np.array_equal(found.users["test"]["clicks"], test.users)
    assert found.valid.mean(0.0, "NDCG@10") == pytest.approx(seen[0]["best"], rel=0.02)
    assert found.test.overlap[1.0].mean() < 1
    monkeypatch.setattr(Peer, "run", lambda *_: pytest.fail("trained again"))
    peers.compare(["CausalRec"], (4,))


def test_the_search_keeps_its_trials_and_its_budget(
    compared: tuple[CompareConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the third trial it goes on there; the best is taken; no trial starts when the time is over."""
    config, data = compared
    config = config.model_copy(update={"search": SearchConfig(trials=6, minutes=4)})
    peer = Peer(config, prepare(config.base(3), data), tmp_path, PYTHON)
    asked: list[Job] = []

    def run(_: Peer, job: Job) -> dict[str, Any]:
        if len(asked) == 2 and not (tmp_path / "second").exists():
            raise KeyboardInterrupt
        asked.append(job)
        return {"best": 0.5 if len(asked) == 2 else 0.1, "seconds": 50.0, "epochs": 2, "best_epoch": 1}

    monkeypatch.setattr(Peer, "run", run)
    with pytest.raises(KeyboardInterrupt):
        search(peer, "BPR", tmp_path)
    (tmp_path / "second").touch()

    found = search(peer, "BPR", tmp_path)

    assert [job.settings for job in asked] == tried("BPR", 5)
    assert [job.seconds for job in asked] == [240, 190, 140, 90, 40]
    assert [trial.cut for trial in found.trials] == [False, False, False, False, True]
    assert found.settings == tried("BPR", 2)[1]
    assert search(peer, "BPR", tmp_path) == found


def test_a_peer_that_fails_is_a_clear_error(compared: tuple[CompareConfig, Path], tmp_path: Path) -> None:
    """What it said on stderr is in the message."""
    config, data = compared
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such thing >&2\nexit 3\n")
    broken.chmod(0o755)
    peer = Peer(config, prepare(config.base(3), data), tmp_path, broken)

    with pytest.raises(DataError, match=r"(?s)cornac AMR failed.*no such thing"):
        peer.run(peer.job("AMR", {}, seed=3))


def test_a_model_without_lambda2_says_so(compared: tuple[CompareConfig, Path], tmp_path: Path) -> None:
    """Its scores are asked for at λ2 = 0 alone; CausalRec's at every one of the comparison; none for the search."""
    config, data = compared
    peer = Peer(config, prepare(config.base(3), data), tmp_path, PYTHON)

    assert peer.job("VBPR", {}, seed=3, scored=True).lambda2 == (0.0,)
    assert peer.job("CausalRec", {}, seed=3, scored=True).lambda2 == (0.0, 0.5, 1.0)
    assert peer.job("CausalRec", {}, seed=3).lambda2 == ()
