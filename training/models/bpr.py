"""BPR-MF: matrix factorisation with item biases, which looks at no picture (Rendle et al. 2009)."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from causalrec.equations import NullMatch, NullVisual
from causalrec.model import ModelConfig
from causalrec.visual import Scaling, Visual
from causalrec.weights import Weights
from training.config import FitConfig
from training.loss import pairwise, squares_per_triple
from training.models.model import Inputs, Model, Triples, inner_product_weights, normal


class BPR(Model):
    """
    y = βᵢ + γᵤ·γᵢ, trained by BPR. Served with θ = e = 0, so that every λ2 gives the same list.

    Args:
        config: only dim matters.
        users, items: how many.
        width: F of the features, which a bundle knows of every model.
        generator: draws the initial weights.
    """

    def __init__(self, config: ModelConfig, users: int, items: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self._width = width
        self.gamma_u = normal(users, config.dim, generator=generator)
        self.gamma_i = normal(items, config.dim, generator=generator)
        self.beta = nn.Parameter(torch.zeros(items))

    @classmethod
    def of(cls, config: ModelConfig, inputs: Inputs, generator: torch.Generator) -> Self:
        """As `Model.of`."""
        return cls(config, inputs.users, inputs.items, inputs.features.shape[1], generator)

    def loss(self, batch: Triples, config: FitConfig) -> Tensor:
        """−ln σ(yᵢ − yⱼ) and the L2 term on what the batch touches."""
        gamma_u = embedding(batch.user, self.gamma_u)
        better, worse = embedding(batch.positive, self.gamma_i), embedding(batch.negative, self.gamma_i)
        beta_better, beta_worse = self.beta[batch.positive], self.beta[batch.negative]
        fitted = pairwise(beta_better + (gamma_u * better).sum(-1), beta_worse + (gamma_u * worse).sum(-1))
        return fitted + config.l2 * squares_per_triple(gamma_u, better, worse, beta_better, beta_worse)

    def weights(self, popularity: Tensor, null_match: NullMatch, null_visual: NullVisual) -> Weights:  # noqa: ARG002 - the contract's signature
        """As `Model.weights`."""
        parts = {
            "gamma_u": self.gamma_u,
            "theta_u": torch.zeros_like(self.gamma_u),
            "gamma_i": self.gamma_i,
            "e": torch.zeros_like(self.gamma_i),
            "beta": self.beta,
        }
        return inner_product_weights(popularity, parts)

    def visual(self, backbone: str, scaling: Scaling) -> Visual:
        """As `Model.visual`: E = 0, a picture says nothing."""
        nothing = torch.zeros(self._width, self.config.dim)
        return Visual(backbone, scaling, nothing, nothing.clone(), None, self.config.tanh)
