"""VBPR: matrix factorisation with a visual part of its own (He and McAuley 2016; Eq. 5 of the CausalRec paper)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from causalrec.equations import NullMatch, NullVisual
from causalrec.model import ModelConfig
from causalrec.visual import Scaling, Visual
from causalrec.weights import Weights
from training.config import FitConfig
from training.loss import pairwise, squares_per_triple
from training.models.model import OnFeatures, Triples, inner_product_weights, normal
from training.models.projection import Precision


class VBPR(OnFeatures):
    """
    y = βᵢ + γᵤ·γᵢ + (1 − λ2)·(θᵤ·eᵢ + b′·fᵢ), eᵢ = Eᵀfᵢ; trained at λ2 = 0 by BPR.

    What is visual is the picture's direct effect, so that λ2 takes all of it out: at 1 this is Eq. 14 up to a constant
    per user. There is no visual match.
    """

    def __init__(
        self, config: ModelConfig, users: int, items: int, features: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__(config, users, items, features, generator)
        d, width = config.dim, features.shape[1]
        self.theta_u = normal(users, d, generator=generator)
        self.E = normal(width, d, generator=generator)
        self.beta = nn.Parameter(torch.zeros(items))
        self.visual_bias = nn.Parameter(torch.zeros(width))

    def loss(self, batch: Triples, config: FitConfig) -> Tensor:
        """−ln σ(yᵢ − yⱼ) and the L2 term on what the batch touches."""
        rows, places = batch.among(len(self.features))
        e, bias = self.pictures(rows, config.precision)
        u = torch.cat([embedding(batch.user, self.gamma_u), embedding(batch.user, self.theta_u)], 1)
        gammas = [embedding(named, self.gamma_i) for named in (batch.positive, batch.negative)]
        betas = [self.beta[named] for named in (batch.positive, batch.negative)]
        better, worse = (
            beta + (u * torch.cat([gamma, embedding(place, e)], 1)).sum(1) + bias[place]
            for gamma, beta, place in zip(gammas, betas, (places.positive, places.negative), strict=True)
        )
        touched = squares_per_triple(u, *gammas, *betas)
        visual = self.E.square().sum() + self.visual_bias.square().sum()
        return pairwise(better, worse) + config.l2 * touched + config.l2_visual * visual

    def pictures(self, rows: Tensor | None = None, precision: Precision = "float32") -> tuple[Tensor, Tensor]:
        """Of the items in `rows` (None: all) e [I, d] and the visual bias b′·f [I]: differentiable."""
        e, bias = self.project(self.E, self.visual_bias, rows=rows, precision=precision)
        return (e.tanh() if self.config.tanh else e), bias

    @torch.no_grad()
    def weights(self, popularity: Tensor, null_match: NullMatch, null_visual: NullVisual) -> Weights:  # noqa: ARG002 - the contract's signature
        """As `Model.weights`."""
        e, visual_bias = self.pictures()
        return inner_product_weights(
            popularity,
            {
                "gamma_u": self.gamma_u,
                "theta_u": self.theta_u,
                "gamma_i": self.gamma_i,
                "e": e,
                "beta": self.beta,
                "visual_bias": visual_bias,
            },
        )

    def visual(self, backbone: str, scaling: Scaling) -> Visual:
        """As `Model.visual`."""
        E, bias = self.E.detach().cpu(), self.visual_bias.detach().cpu()
        return Visual(backbone, scaling, E, torch.zeros_like(E), bias, self.config.tanh)
