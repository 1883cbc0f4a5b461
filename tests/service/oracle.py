"""What the service must answer, by plain loops in float64 over a bundle's files: shares no code with causalrec."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import load_file

Ranking = list[tuple[str, float]]


class Oracle:
    """Scores and rankings of the bundle in `folder`, one item at a time."""

    def __init__(self, folder: Path) -> None:
        self.form: str = json.loads((folder / "manifest.json").read_text())["form"]
        self.users = (folder / "users.txt").read_text().splitlines()
        self.items: list[str] = pl.read_parquet(folder / "items.parquet")["item_id"].to_list()
        w: dict[str, Any] = {
            name: array.astype(np.float64).tolist() for name, array in load_file(folder / "weights.safetensors").items()
        }
        self._w = w
        seen = load_file(folder / "seen.safetensors")
        starts, indices = seen["starts"], seen["indices"]
        self.seen = {
            user: {self.items[item] for item in indices[starts[row] : starts[row + 1]]}
            for row, user in enumerate(self.users)
        }

    def score(self, user: str, item: str, lambda2: float) -> float:
        """The debiased score of one pair."""
        row = self.users.index(user)
        if self.form == "paper":
            null = self._w["M_null"][row] * self._w["MV_null"][row]
        else:
            null = self._w["m_null"][row] if self.form == "authors" else 0.0
        return self._score(self._w["gamma_u"][row], self._w["theta_u"][row], null, self.items.index(item), lambda2)

    def best(self, user: str, lambda2: float, k: int, excluded: set[str]) -> Ranking:
        """The user's k best outside `excluded`; ties to 12 decimals by id."""
        scores = [(item, self.score(user, item, lambda2)) for item in self.items if item not in excluded]
        return _sorted(scores)[:k]

    def cold(self, lambda2: float, k: int, excluded: set[str]) -> Ranking:
        """Reciprocal rank fusion of the mean user's ranking and popularity."""
        gamma, theta = (
            [math.fsum(column) / len(self.users) for column in zip(*self._w[name], strict=True)]
            for name in ("gamma_u", "theta_u")
        )
        match = _dot(gamma, self._w["null_gamma"]) + self._w["null_beta"]
        visual = _dot(gamma, self._w["null_gamma_e"])
        null = _sigma(match) * _sigma(visual) if self.form == "paper" else match + visual
        debiased = _sorted(
            [(item, self._score(gamma, theta, null, row, lambda2)) for row, item in enumerate(self.items)]
        )
        popular = _sorted(list(zip(self.items, self._w["popularity"], strict=True)))
        fused: dict[str, float] = dict.fromkeys(self.items, 0.0)
        for ranking in (debiased, popular):
            for rank, (item, _) in enumerate(ranking, start=1):
                fused[item] += 1 / (60 + rank)
        return [pair for pair in _sorted(list(fused.items())) if pair[0] not in excluded][:k]

    def _score(self, gamma: list[float], theta: list[float], null: float, item: int, lambda2: float) -> float:
        w = self._w
        e_match = w.get("e_match", w["e"])[item]
        a = _dot(gamma, w["gamma_i"][item]) + w.get("beta", {item: 0.0})[item]
        b = sum(u * i * e for u, i, e in zip(gamma, w["gamma_i"][item], e_match, strict=True))
        n = _dot(theta, w["e"][item]) + w.get("visual_bias", {item: 0.0})[item]
        if self.form == "paper":
            return _sigma(a) * _sigma(b) * _sigma(n) - lambda2 * null * _sigma(n)
        if self.form == "authors":
            m = a + b
            direct = _sigma(null + n) * _sigma(null) * _sigma(n)
            return _sigma(m + n) * _sigma(m) * _sigma(n) - lambda2 * direct
        if self.form == "sum":
            return _sigma(a) + _sigma(b) + (1 - lambda2) * _sigma(n)
        if self.form == "sum":
            return _sigma(a) + _sigma(b) + (1 - lambda2) * _sigma(n)
        total: float = a + b + (1 - lambda2) * n
        return total


def _sorted(scores: Ranking) -> Ranking:
    return sorted(scores, key=lambda pair: (-round(pair[1], 12), pair[0]))


def _dot(left: list[float], right: list[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


def _sigma(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
