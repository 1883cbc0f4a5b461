"""
Seconds of a training epoch of the size the design quotes: 200,000 interactions, 10,000 items, batches of 8,192.

    python -m benchmarks.epoch --width 1280
"""

import sys
import time

import numpy as np
import torch

from benchmarks.report import Report, command_line
from causalrec.model import ModelConfig
from training.config import FitConfig
from training.fit import fit
from training.models.causalrec import CausalRec
from training.sampling import Sampler

USERS, ITEMS, INTERACTIONS, EPOCHS = 5000, 10_000, 200_000, 2


def main() -> int:
    """The command line."""
    parser = command_line("epoch", __doc__)
    parser.add_argument("--width", type=int, default=1280, help="of the features")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, USERS, INTERACTIONS), rng.integers(0, ITEMS, INTERACTIONS)
    features = torch.randn(ITEMS, options.width) / options.width**0.5
    model = CausalRec(ModelConfig(), USERS, ITEMS, features, torch.Generator().manual_seed(0))
    sampler = Sampler(user, item, ITEMS, 0)
    config = FitConfig(epochs=EPOCHS, batch_size=8192)
    header = ("items", "interactions", "feature width", "batch", "s per epoch")
    report = Report("A training epoch", f"python -m benchmarks.epoch --width {options.width}", header, options.out)
    begun = time.perf_counter()
    fit(model, sampler, lambda _: 0.0, config, identity="epoch", quiet=True)
    seconds = (time.perf_counter() - begun) / EPOCHS
    report.add(f"{ITEMS:,}", f"{INTERACTIONS:,}", f"{options.width:,}", "8,192", f"{seconds:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
