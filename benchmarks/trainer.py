"""
Training speed beside cornac 3.0.1's own: 200,000 interactions, 10,000 items, 4,096-wide features, one core each.

    OMP_NUM_THREADS=1 python -m benchmarks.trainer

A world in which pictures and taste both matter; 10,000 held-out (user, clicked, not clicked) measure the AUC at λ2 = 0.
cornac's VBPR and CausalRec against ours, which minimise the same: ours of CausalRec in the authors' form, the formula
that cornac's computes, and in the paper's. Same features and d = 32; the same L2 first, cornac's own, and then, on both
sides, with a ridge on the visual matrices, cornac's default being none; cornac's default batch and ours; several
learning rates each. cornac lives in an environment of its own, made on the first run below .cache/bench, and draws its
batches by its own code. Looking at the AUC is not counted, on either side. Seconds of an epoch leave out the first,
which sets things up; seconds to the AUC count everything from the first batch on.

cornac 3.0.1 adds a [B] vector to a [B, 1] one in both models, so that its losses are over B × B pairs: at B = 8,192
that is most of its time, and at any B not quite the model's loss.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.generators import environment
from benchmarks.peers.ndcg import auc
from benchmarks.report import Report, command_line
from causalrec import equations
from causalrec.model import ModelConfig
from causalrec.visual import Scaling
from training.config import FitConfig
from training.fit import fit
from training.models import make_model
from training.models.model import Inputs, Model
from training.models.projection import Precision
from training.sampling import Sampler

PACKAGES = ("torch==2.13.0", "cornac==3.0.1")
PEERS = Path(__file__).parent / "peers"
OURS = {
    "VBPR": {"ours": ModelConfig(name="vbpr")},
    "CausalRec": {
        "ours, authors' form": ModelConfig(form="authors"),
        "ours, paper's form": ModelConfig(form="paper"),
    },
}
USERS, ITEMS, CLICKS, HELD_OUT, WIDTH, D = 5000, 10_000, 40, 2, 4096, 32
DEFAULT_BATCH = 100  # cornac's
SHORT = 0.002  # the AUC to reach is so much below the best of cornac's at its default batch
HEADER = (
    "model",
    "trainer",
    "batch",
    "rate",
    "L2, ridge",
    "CPU s per epoch",
    "wall",
    "cornac ÷ this",
    "best AUC",
    "AUC to reach",
    "CPU s to it",
    "wall",
    "cornac ÷ this",
)


class World(NamedTuple):
    """Training pairs [n], features [I, F] centred and scaled, held_out [3, m]: user, clicked, not clicked."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    features: NDArray[np.float32]
    held_out: NDArray[np.int64]


class Look(NamedTuple):
    """How far a training was, at what cost in seconds."""

    epochs: float
    cpu: float
    wall: float
    auc: float


class Case(NamedTuple):
    """One training: of the same `model` for both sides, by `trainer`."""

    model: str
    trainer: str
    batch: int
    rate: float
    epochs: int
    config: ModelConfig | None = None
    precision: Precision = "auto"
    l2: float = 0.005
    """Ours: of squares. cornac's default of 0.01 is of half squares."""
    ridge: float = 0.0
    """On the visual matrices, per step: of a loss that ours averages over a batch and cornac sums over its square."""

    @property
    def peer(self) -> bool:
        """Whether cornac trains."""
        return self.config is None


def cases(*, quick: bool) -> Iterator[Case]:
    """Every training of the table; quick: one learning rate each."""
    for model, forms in OURS.items():
        for rate in (0.001,) if quick else (0.001, 0.005):
            yield Case(model, "cornac", DEFAULT_BATCH, rate, 2 if quick else 4)
        for ridge in (1.0,) if quick else (1.0, 6.0):
            yield Case(model, "cornac", DEFAULT_BATCH, 0.001, 2 if quick else 4, ridge=ridge)
        yield Case(model, "cornac", 8192, 0.005, 2)
        for name, config in forms.items():
            for rate in (0.01,) if quick else (0.01, 0.03):
                yield Case(model, name, 8192, rate, 12 if quick else 20, config)
            yield Case(model, name, 8192, 0.02, 12, config, l2=0.015 if model == "VBPR" else 0.03, ridge=0.0003)
            yield Case(model, f"{name}, float32", 8192, 0.01, 3, config, "float32")
            yield Case(model, name, DEFAULT_BATCH, 0.001, 3, config)


def world(seed: int = 0) -> World:
    """Clicks by taste for pictures, taste for what no picture shows, and popularity, each as strong."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    style, other, popularity = normal(ITEMS, 16), normal(ITEMS, 16), normal(ITEMS)
    raw = np.maximum(style @ normal(16, WIDTH) / 4 + normal(ITEMS, WIDTH), 0)
    clicked = np.empty((USERS, CLICKS + HELD_OUT), np.int64)
    for start in range(0, USERS, 500):
        taste = (normal(500, 16) @ style.T + normal(500, 16) @ other.T) / 2.5 + popularity
        drawn = taste + rng.gumbel(size=taste.shape)
        clicked[start : start + 500] = np.argpartition(-drawn, clicked.shape[1])[:, : clicked.shape[1]]
    clicked = rng.permuted(clicked, axis=1)
    user = np.repeat(np.arange(USERS), HELD_OUT)
    worse = rng.integers(0, ITEMS, len(user))
    while (known := (clicked[user] == worse[:, None]).any(1)).any():
        worse[known] = rng.integers(0, ITEMS, known.sum())
    features = torch.from_numpy(raw)
    return World(
        np.repeat(np.arange(USERS), CLICKS),
        clicked[:, :CLICKS].ravel(),
        Scaling.of(features).apply(features).numpy(),
        np.stack([user, clicked[:, CLICKS:].ravel(), worse]),
    )


def cornac(case: Case, folder: Path, python: Path, seconds: float) -> list[Look]:
    """cornac's training of `case`."""
    numbers = [str(case.batch), str(case.rate), str(case.epochs), str(seconds), str(case.ridge)]
    command = [str(python), str(PEERS / "epochs.py"), str(folder), case.model, *numbers]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [Look(*look) for look in json.loads(done.stdout.splitlines()[-1])]


def ours(case: Case, data: World) -> list[Look]:
    """Our training of `case`, by `fit` itself."""
    if case.config is None:
        raise ValueError(f"{case} is cornac's")
    features = torch.from_numpy(data.features)
    inputs = Inputs(USERS, ITEMS, features, (), None)
    model = make_model(case.config, inputs, torch.Generator().manual_seed(0))
    sampler = Sampler(data.user, data.item, ITEMS, 0)
    config = FitConfig(
        epochs=case.epochs,
        patience=case.epochs,
        batch_size=case.batch,
        learning_rate=case.rate,
        l2=case.l2,
        l2_visual=case.ridge,
        precision=case.precision,
        device="cpu",
    )
    seen: list[Look] = []
    torch.optim.Adam(model.parameters())  # the first imports for a second; cornac makes its own before its clock starts
    looking = [0.0, 0.0]  # CPU and wall-clock seconds
    begun = time.process_time(), time.perf_counter()

    def look(candidate: Model) -> float:
        cpu, wall = time.process_time(), time.perf_counter()
        reached = _auc(candidate, data, torch.from_numpy(data.held_out))
        seen.append(Look(len(seen) + 1, cpu - begun[0] - looking[0], wall - begun[1] - looking[1], reached))
        looking[0] += time.process_time() - cpu
        looking[1] += time.perf_counter() - wall
        return reached

    fit(model, sampler, look, config, identity="trainer", quiet=True)
    return seen


@torch.no_grad()
def _auc(model: Model, data: World, held_out: torch.Tensor) -> float:
    weights = model.weights(torch.from_numpy(np.bincount(data.item, minlength=ITEMS)).float(), "mean", "zero")
    gamma_u, theta_u, items = weights.gamma_u[held_out[0]], weights.theta_u[held_out[0]], weights.items
    better, worse = (
        equations.undebiased(weights.form, equations.pair_terms(gamma_u, theta_u, items.take(rows)))
        for rows in held_out[1:]
    )
    return auc(better.numpy(), worse.numpy())


def per_epoch(looks: list[Look]) -> tuple[float, float]:
    """CPU and wall-clock seconds of an epoch, from the first look on."""
    first, last = looks[0], looks[-1]
    epochs = last.epochs - first.epochs
    return (last.cpu - first.cpu) / epochs, (last.wall - first.wall) / epochs


def first_at(looks: list[Look], target: float) -> Look | None:
    """The first look at an AUC of at least `target`."""
    return next((look for look in looks if look.auc >= target), None)


def main() -> int:
    """The command line."""
    parser = command_line("trainer", __doc__)
    parser.add_argument("--seconds", type=float, default=90, help="CPU seconds that cornac may take for one training")
    parser.add_argument("--quick", action="store_true", help="one learning rate each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    python = environment("cornac-train", *PACKAGES) / "python"
    data = world()
    found: dict[Case, list[Look]] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "world.npz", **data._asdict())
        for case in tqdm(list(cases(quick=options.quick)), unit="training"):
            found[case] = cornac(case, Path(folder), python, options.seconds) if case.peer else ours(case, data)
    command = "OMP_NUM_THREADS=1 python -m benchmarks.trainer" + (" --quick" if options.quick else "")
    report = Report("A trainer's epoch, and its way to an AUC, beside cornac 3.0.1", command, HEADER, options.out)
    for model in ("VBPR", "CausalRec"):
        _add_rows(report, {case: looks for case, looks in found.items() if case.model == model})
    return 0


def _add_rows(report: Report, found: dict[Case, list[Look]]) -> None:
    """One model's rows; the peer that the others are divided by is cornac at its default batch, at its best rate."""
    peers = {case: looks for case, looks in found.items() if case.peer and case.batch == DEFAULT_BATCH}
    target = max(look.auc for looks in peers.values() for look in looks) - SHORT
    epoch = min(per_epoch(looks)[0] for looks in peers.values())
    arrivals = [look.cpu for looks in peers.values() if (look := first_at(looks, target))]
    for case, looks in found.items():
        cpu, wall = per_epoch(looks)
        there = first_at(looks, target)
        seconds = [f"{there.cpu:.1f}", f"{there.wall:.1f}", f"{min(arrivals) / there.cpu:.1f}"] if there else ["–"] * 3
        best = f"{max(look.auc for look in looks):.4f}"
        costs = [f"{cpu:.2f}", f"{wall:.2f}", f"{epoch / cpu:.1f}"]
        how = [f"{case.batch:,}", f"{case.rate:g}", "default" if case.peer else f"{case.l2:g}"]
        how[-1] += f", {case.ridge:g}" if case.ridge else ""
        report.add(case.model, case.trainer, *how, *costs, best, f"{target:.4f}", *seconds)


if __name__ == "__main__":
    sys.exit(main())
