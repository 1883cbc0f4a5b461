"""
Trains one cornac model with early stopping and writes down its scores. Runs in cornac's environment, not in ours:

    python quality.py FOLDER

FOLDER holds job.json and the arrays named in it, as benchmarks.peer_quality writes them; result.json, and scores.npy
[λ2, U, I] where they are asked for, are written there. Scores come from cornac's own `score`, user by user; users and
items that cornac does not know, for they have no training interaction, get what cornac's `rank` gives them: users the
same score for every item, items the least of the user's scores.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ndcg import mean_ndcg  # type: ignore[import-not-found]
from numpy.typing import NDArray
from watched import Arrays, Clock, Watched, data_set, train, watched_scores  # type: ignore[import-not-found]

QUICK = ("VBPR", "AMR", "CausalRec")  # whose negatives cornac draws by a loop in Python


class Stopping:
    """
    Looks at validation NDCG@k every few epochs, keeps the best arrays, and ends training when it rises no more.

    Args:
        job: k, validate_every, patience, seconds of job.json.
        held_out: rows of users and items, in cornac's numbering.
    """

    def __init__(
        self, job: dict[str, Any], data: Watched, held_out: tuple[NDArray[np.int64], NDArray[np.int64]]
    ) -> None:
        self._job, self._data, self._held_out = job, data, held_out
        self.metrics: list[float] = []
        self.best_epoch, self.epochs = 0, 0
        self._best: Arrays = {}

    def __call__(self, found: Arrays, clock: Clock) -> bool:
        """Whether to stop; then `found` holds the best arrays again."""
        job = self._job
        self.epochs, last = clock.epochs, clock.epochs >= job["epochs"] or clock.wall >= job["seconds"]
        if clock.epochs % job["validate_every"] and not last:
            return False
        features = self._data.item_image.features
        seen = self._data.uir_tuple[0], self._data.uir_tuple[1]
        metric = mean_ndcg(watched_scores(job["model"], found, features), seen, self._held_out, job["k"])
        if metric > max(self.metrics, default=-1.0):
            self.best_epoch, self._best = clock.epochs, {name: array.copy() for name, array in found.items()}
        self.metrics.append(metric)
        waited = clock.epochs - self.best_epoch >= job["patience"] * job["validate_every"]
        if waited or last:
            for name, array in self._best.items():
                found[name][...] = array
        return bool(waited or last)


def main(folder: Path) -> None:
    """One training."""
    torch.set_num_threads(1)
    job = json.loads((folder / "job.json").read_text())
    user, item = np.load(folder / "train.npy")
    features = np.load(job["features"])
    data = data_set(user, item, features, job["seed"])
    data.quick_negatives = job["model"] in QUICK
    stopping = Stopping(job, data, _numbered(data, np.load(folder / "valid.npy")))
    settings = dict(job["settings"])
    if job["model"] == "CausalRec":
        settings["mean_feat"] = data.item_image.features.mean(0).tolist()
    with contextlib.redirect_stdout(sys.stderr):  # cornac prints when it is done
        model = train(job["model"], data, stopping, **settings, seed=job["seed"])
    if job["lambda2"]:
        _write_scores(folder / "scores.npy", model, data, job["lambda2"], (job["users"], len(features)))
    result = {
        "best": max(stopping.metrics),
        "best_epoch": stopping.best_epoch,
        "epochs": stopping.epochs,
        "seconds": data.clock.wall,
        "metrics": stopping.metrics,
    }
    (folder / "result.json").write_text(json.dumps(result))


def _numbered(data: Watched, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of rows in cornac's numbering, those it knows both of."""
    known = [
        (data.uid_map[user], data.iid_map[item])
        for user, item in pairs.T.tolist()
        if user in data.uid_map and item in data.iid_map
    ]
    user, item = np.array(known).T
    return user, item


def _write_scores(path: Path, model: Any, data: Watched, lambda2: list[float], shape: tuple[int, int]) -> None:
    rows = np.fromiter(data.iid_map, np.int64)
    written = np.lib.format.open_memmap(path, "w+", np.float32, (len(lambda2), *shape))
    for level, value in enumerate(lambda2):
        model.lambda_2 = value  # read by CausalRec's `score` alone
        for user, number in data.uid_map.items():
            scores = model.score(number)
            written[level, user] = scores.min()
            written[level, user, rows] = scores
    written.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
