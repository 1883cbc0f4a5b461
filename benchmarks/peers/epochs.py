"""
Times cornac's training of one model and says how far it got. Runs in cornac's environment, not in ours:

    python epochs.py FOLDER MODEL BATCH LEARNING_RATE EPOCHS CPU_SECONDS LAMBDA_E

FOLDER holds world.npz of benchmarks.trainer; LAMBDA_E is cornac's ridge on its visual matrices. The last line printed
is JSON: [[epochs, CPU s, wall s, AUC], …].
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from ndcg import auc  # type: ignore[import-not-found]
from numpy.typing import NDArray
from watched import Arrays, Clock, Watched, data_set, train, watched_scores  # type: ignore[import-not-found]

D, LOOKS = 32, 10  # looks at the AUC per epoch


def main(folder: str, name: str, batch: int, rate: float, epochs: int, seconds: float, lambda_e: float) -> None:
    """One training."""
    torch.set_num_threads(1)
    world = np.load(Path(folder) / "world.npz")
    features = world["features"]
    data = data_set(world["user"], world["item"], features, seed=0)
    user, better, worse = _numbered(data, world["held_out"])
    per_epoch = -(-data.num_ratings // batch)
    seen: list[tuple[float, float, float, float]] = []

    def look(found: Arrays, clock: Clock) -> bool:
        scores = watched_scores(name, found, data.item_image.features)
        reached = auc(scores[user, better], scores[user, worse])
        seen.append((clock.batches / per_epoch, clock.cpu, clock.wall, reached))
        return bool(clock.cpu > seconds)

    settings = {"k": D, "k2": D, "n_epochs": epochs, "batch_size": batch, "learning_rate": rate, "seed": 0}
    settings["lambda_e"] = lambda_e
    if name == "CausalRec":
        settings["mean_feat"] = features.mean(0).tolist()
    train(name, data, look, every=max(1, per_epoch // LOOKS), **settings)
    print(json.dumps(seen))


def _numbered(data: Watched, held_out: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of users and of two items in cornac's own numbering, those it knows."""
    maps = (data.uid_map, data.iid_map, data.iid_map)
    found = np.array(
        [[known.get(row, -1) for row in rows] for known, rows in zip(maps, held_out.tolist(), strict=True)]
    )
    return list(found[:, (found >= 0).all(0)])


if __name__ == "__main__":
    main(
        sys.argv[1],
        sys.argv[2],
        int(sys.argv[3]),
        float(sys.argv[4]),
        int(sys.argv[5]),
        float(sys.argv[6]),
        float(sys.argv[7]),
    )
