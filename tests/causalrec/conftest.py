"""The world of these tests: a small untrained model whose two no-treatment terms differ between users."""

from collections.abc import Callable

import pytest
import torch

from causalrec.equations import Form, NullMatch, NullVisual
from causalrec.model import ModelConfig
from causalrec.weights import Weights
from training.models.causalrec import CausalRec

INDEXED: tuple[Form, ...] = ("paper", "authors", "additive")  # whose candidates an inner-product index can find
FORMS: tuple[Form, ...] = (*INDEXED, "sum")
LAMBDA2 = (0.0, 0.4, 0.8, 1.0, 1.2, 2.0, 3.0)
MakeModel = Callable[..., CausalRec]
MakeWeights = Callable[..., Weights]


def _model(form: Form, users: int = 7, items: int = 40, dim: int = 5, width: int = 9, seed: int = 0) -> CausalRec:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(items, width, generator=generator) / width**0.5
    model = CausalRec(ModelConfig(form=form, dim=dim), users, items, features, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.9)
        model.gamma_i.add_(0.4)  # an average item that users differ about
    return model


def _weights(form: Form, match: NullMatch = "mean", visual: NullVisual = "product_mean", **size: int) -> Weights:
    model = _model(form, **size)
    popularity = torch.arange(len(model.gamma_i), dtype=torch.float32) % 11  # some items were never trained
    return model.weights(popularity, match, visual)


@pytest.fixture
def make_model() -> MakeModel:
    return _model


@pytest.fixture
def make_weights() -> MakeWeights:
    return _weights
