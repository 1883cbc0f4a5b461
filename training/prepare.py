"""From a data directory to what fitting and evaluation take: features as the model sees them, split, held-out sets."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec.bundle import Seen
from causalrec.visual import Scaling
from training.config import RunConfig
from training.data.dataset import Dataset, load_dataset
from training.data.split import Split, split
from training.data.statistics import Statistics, statistics
from training.fit import pick_device
from training.metrics import Relevant


@dataclass(frozen=True)
class Prepared:
    """
    One data set, ready to train on.

    features: [I, F] centred and scaled; popularity: [I] training interactions; seen: training positives;
    valid, test: name → held-out items ("clicks" always; "purchases" and "liked" where the data has them).
    """

    dataset: Dataset
    split: Split
    backbone: str
    scaling: Scaling
    features: Tensor
    popularity: Tensor
    seen: Seen
    valid: dict[str, Relevant]
    test: dict[str, Relevant]
    statistics: Statistics


def prepare(config: RunConfig, data: Path, *, skip_bad: bool = False) -> Prepared:
    """
    Reads `data`, splits it, computes or loads the pictures' features and their scaling.

    Raises: DataError and ConfigError, as the readers and the split do.
    """
    device = str(pick_device(config.fit.device))
    dataset = load_dataset(data, config.data, config.images, seed=config.seed, device=device, skip_bad=skip_bad)
    return arrange(dataset, split(dataset.interactions, config.data, config.seed), config)


def arrange(dataset: Dataset, parts: Split, config: RunConfig) -> Prepared:
    """`dataset` under the split `parts`, whose parts need not hold every interaction."""
    user, item = dataset.interactions.user, dataset.interactions.item
    popularity = np.bincount(item[parts.train], minlength=len(dataset.items))
    raw = torch.from_numpy(dataset.features)
    scaling = Scaling.of(raw[torch.from_numpy(popularity > 0)])
    return Prepared(
        dataset=dataset,
        split=parts,
        backbone=dataset.backbone or "features.npy",
        scaling=scaling,
        features=scaling.apply(raw),
        popularity=torch.from_numpy(popularity).float(),
        seen=Seen.of(user[parts.train], item[parts.train], len(dataset.users)),
        valid=_held_out(dataset, parts.valid, config, valid=True),
        test=_held_out(dataset, parts.test, config, valid=False),
        statistics=statistics(dataset, parts),
    )


def _held_out(dataset: Dataset, chosen: NDArray[np.int64], config: RunConfig, *, valid: bool) -> dict[str, Relevant]:
    interactions, users = dataset.interactions, len(dataset.users)
    user, item = interactions.user[chosen], interactions.item[chosen]
    sets = {"clicks": Relevant.of(user, item, users)}
    if interactions.rating is not None:
        liked = interactions.rating[chosen] >= config.data.liked_rating
        if liked.any():
            sets["liked"] = Relevant.of(user[liked], item[liked], users)
    if dataset.purchases is not None:
        mine = dataset.purchases.valid == valid
        sets["purchases"] = Relevant.of(dataset.purchases.user[mine], dataset.purchases.item[mine], users)
    return sets
