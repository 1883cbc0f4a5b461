"""cornac's trainings for a comparison: which settings are tried, and how its environment is asked for one."""

import json
import math
import os
import subprocess
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalrec.errors import DataError
from training.compare.config import CompareConfig
from training.prepare import Prepared

PEERS = Path(__file__).parent / "peers"
Settings = dict[str, bool | int | float | str]
LATENT = {"lambda_w": (0.01, 0.1), "lambda_e": (0.0, 0.01)}
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "BPR": {"learning_rate": (0.01, 0.03, 0.1), "lambda_reg": (0.001, 0.01, 0.03)},
    "VBPR": {"learning_rate": (0.0005, 0.002), **LATENT},
    "AMR": {"learning_rate": (0.001, 0.005), **LATENT},
    "CausalRec": {"learning_rate": (0.0005, 0.002), **LATENT},
}
"""Tried after cornac's defaults, in this order: 8 or 9 settings each, and with the defaults within a search's 12."""
DEFAULTS: dict[str, Settings] = {
    "BPR": {"learning_rate": 0.001, "lambda_reg": 0.01},
    **{name: {"learning_rate": 0.005, "lambda_w": 0.01, "lambda_e": 0.0} for name in ("VBPR", "AMR", "CausalRec")},
}
BATCH = {"BPR": 1, "VBPR": 100, "AMR": 1024, "CausalRec": 100}
EPOCHS = {"BPR": 10}  # of an SGD that takes a tenth of a second each, per epoch of the others
FOREVER = 1e9  # JSON has no infinity


@dataclass(frozen=True)
class Job:
    """One training of cornac's."""

    model: str
    settings: Settings
    seed: int
    k: int
    epochs: int
    validate_every: int
    patience: int
    seconds: float
    """Training ends at the first epoch that ends later."""
    lambda2: tuple[float, ...]
    """At which scores are written; () writes none."""


def label(model: str) -> str:
    """What the report calls it."""
    return f"cornac {model}"


def tried(model: str, most: int) -> list[Settings]:
    """The settings that the search tries, in order, `most` at most."""
    grid = GRIDS[model]
    combinations: list[Settings] = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return [DEFAULTS[model], *combinations][:most]


def exported(prepared: Prepared) -> dict[str, NDArray[np.int64]]:
    """The training and validation interactions as rows of users and items, [2, n] each: the comparison's own split."""
    interactions, parts = prepared.dataset.interactions, prepared.split
    return {
        name: np.stack([interactions.user[chosen], interactions.item[chosen]])
        for name, chosen in (("train", parts.train), ("valid", parts.valid))
    }


class Peer:
    """cornac in an environment of its own, for one comparison."""

    def __init__(self, config: CompareConfig, prepared: Prepared, folder: Path, python: Path) -> None:
        self.config, self.prepared, self._folder, self._python = config, prepared, folder, python
        for name, pairs in exported(prepared).items():
            np.save(folder / f"{name}.npy", pairs)
        np.save(folder / "features.npy", prepared.features.numpy())

    def job(self, model: str, settings: Settings, *, seed: int, scored: bool = False, seconds: float = math.inf) -> Job:
        """A training of `model`; scored: for its scores, not for the search."""
        fit, scale = self.config.fit, EPOCHS.get(model, 1)
        return Job(
            model=model,
            settings=settings,
            seed=seed,
            k=self.config.evaluate.k,
            epochs=fit.epochs * scale,
            validate_every=fit.validate_every * scale,
            patience=fit.patience,
            seconds=seconds,
            lambda2=() if not scored else self.config.evaluate.lambda2 if model == "CausalRec" else (0.0,),
        )

    def run(self, job: Job) -> dict[str, Any]:
        """What cornac's training of `job` says. Raises: DataError when it fails."""
        d = self.config.model.dim
        sizes = {"k": d, "max_iter": job.epochs} if job.model == "BPR" else {"k": d, "k2": d, "n_epochs": job.epochs}
        batch = {} if job.model == "BPR" else {"batch_size": BATCH[job.model]}
        told = asdict(job) | {"settings": {**job.settings, **sizes, **batch}, "users": len(self.prepared.dataset.users)}
        told |= {"features": str(self._folder / "features.npy"), "seconds": min(job.seconds, FOREVER)}
        (self._folder / "job.json").write_text(json.dumps(told))
        command = [str(self._python), str(PEERS / "quality.py"), str(self._folder)]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        if done.returncode:
            raise DataError(f"{label(job.model)} failed:\n{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads((self._folder / "result.json").read_text())
        return found

    def scores(self) -> NDArray[np.float32]:
        """Those of the last job [λ2, U, I]."""
        written: NDArray[np.float32] = np.load(self._folder / "scores.npy", mmap_mode="r")
        return written
