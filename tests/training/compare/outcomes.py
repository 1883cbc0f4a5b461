"""Hand-made cells: what was measured of each user is chosen by the test."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.compare.about import About, Planned
from training.compare.outcome import Facts, Outcome
from training.evaluate import MATCH_ALONE, POPULARITY, Evaluation, Ranking
from training.metrics import Values

ByRanking = Mapping[float, Mapping[str, Values]] | Mapping[Ranking, Mapping[str, Values]]

USERS = 200
LAMBDA2 = (0.0, 0.5, 1.0)


def noise(seed: int, users: int = USERS) -> Values:
    """What makes users differ, the same for every model of a seed."""
    return np.random.default_rng([7, seed]).uniform(0.2, 0.4, users)


def evaluation(values: ByRanking, items: int = 40) -> Evaluation:
    """Where NDCG is named MRR is half of it and HR twice; every list holds the first ten items."""
    every = {
        ranking: {
            name.removesuffix("NDCG@10") + metric: factor * found
            for name, found in by.items()
            for metric, factor in (("MRR", 0.5), ("NDCG@10", 1.0), ("HR@10", 2.0))
        }
        | {"popularity@10": np.full(len(by["NDCG@10"]), 0.3), "diversity@10": np.full(len(by["NDCG@10"]), 0.7)}
        for ranking, by in values.items()
    }
    shown = {ranking: (np.arange(items) < 10).astype(np.int64) for ranking in values}
    overlap = {at: np.full(len(by["NDCG@10"]), 1 - at / 2) for at, by in values.items() if isinstance(at, float)}
    return Evaluation(every, overlap, shown)


def outcome(
    label: str,
    seed: int,
    test: ByRanking,
    *,
    valid: ByRanking | None = None,
    users: np.ndarray[Any, np.dtype[np.int64]] | None = None,
    **facts: Any,
) -> Outcome:
    """A cell whose users' NDCG@10 is `test` by ranking; validation's is the same unless given."""
    first = test[0.0]
    rows = np.arange(len(first["NDCG@10"])) if users is None else users
    sets = {metric.rpartition(":")[0] or "clicks": rows for metric in first}
    usual: dict[str, Any] = {"identity": "by hand", "epochs": 4, "best_epoch": 3, "batch_size": 512, "seconds": 8.0}
    described = Facts(label=label, seed=seed, **usual | facts)
    return Outcome(described, evaluation(valid or test), evaluation(test), {"valid": sets, "test": sets})


def dialled(
    label: str, seed: int, base: float, clicks: float, liked: float, *, lambda2: float = 1.0, **facts: Any
) -> Outcome:
    """A model whose λ2 = 1 adds `clicks` and `liked` to every NDCG, M alone half of that; popularity is .1 below."""
    users = noise(seed) + base
    test: dict[Ranking, dict[str, Values]] = {
        at: {"NDCG@10": users + at * clicks, "liked:NDCG@10": users + at * liked} for at in LAMBDA2
    }
    test[MATCH_ALONE] = {"NDCG@10": users + clicks / 2, "liked:NDCG@10": users + liked / 2}
    test[POPULARITY] = {"NDCG@10": noise(seed) - 0.1, "liked:NDCG@10": noise(seed) - 0.1}
    return outcome(label, seed, test, lambda2=lambda2, basis="ratings", **facts)


def flat(label: str, seed: int, base: float, **facts: Any) -> Outcome:
    """A model that was judged at λ2 = 0 only."""
    users = noise(seed) + base
    return outcome(label, seed, {0.0: {"NDCG@10": users, "liked:NDCG@10": users}}, **facts)


def about(*models: Planned, seeds: tuple[int, ...] = (0, 1), **more: Any) -> About:
    """A comparison of `models`."""
    described = {"name": "A world", "command": "python -m training compare", "code": "0.1.0", "machine": "one core"}
    return About(**described | more, models=models, seeds=seeds, resamples=100)
