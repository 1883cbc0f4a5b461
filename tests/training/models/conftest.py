"""The world of these tests: four users, seven items with pictures of three numbers, and every model over them."""

import torch

from causalrec.model import ModelConfig
from tests.training.models.plain import Triple
from training.models import make_model
from training.models.model import Inputs, Model, Triples

USERS, ITEMS, WIDTH = 4, 7, 3
CATEGORIES = ("hat", None, "shoe", "hat", None, "tie", "shoe")
TRIPLES: list[Triple] = [(0, 1, 2), (3, 1, 4), (0, 5, 1), (2, 4, 0), (0, 1, 2), (1, 3, 5)]  # 6 is in none
NAMES = ("bpr", "vbpr", "deepstyle", "amr")
CONFIGS: dict[str, ModelConfig] = {
    **{name: ModelConfig.model_validate({"name": name, "dim": 2}) for name in NAMES},
    **{f"{name}, tanh": ModelConfig.model_validate({"name": name, "dim": 2, "tanh": True}) for name in NAMES[1:]},
    **{
        f"causalrec {form}": ModelConfig.model_validate({"form": form, "dim": 2})
        for form in ("paper", "sum", "additive", "authors")
    },
    "causalrec paper, two matrices, tanh": ModelConfig(dim=2, visual_matrices="two", tanh=True),
    "causalrec authors, one matrix": ModelConfig(form="authors", dim=2, visual_matrices="one"),
}


def inputs(*, seed: int = 0, categories: tuple[str | None, ...] = CATEGORIES) -> Inputs:
    """The data, with random features that are centred."""
    features = torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(seed))
    return Inputs(USERS, ITEMS, features - features.mean(0), categories, None)


def untrained(config: ModelConfig, seed: int = 0) -> Model:
    return make_model(config, inputs(), torch.Generator().manual_seed(seed))


def spread(config: ModelConfig, seed: int = 0) -> Model:
    """In float64 and with parameters so large that sigmoids bend; biases too."""
    model = untrained(config, seed).double()
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.8)
    return model


def batch(triples: list[Triple]) -> Triples:
    return Triples(*(torch.tensor(rows) for rows in zip(*triples, strict=True)))
