"""What DeepStyle and AMR have in common: one vector of a user for an item and for its picture."""

import torch
from torch import Tensor
from torch.nn.functional import embedding

from causalrec.equations import NullMatch, NullVisual
from causalrec.model import ModelConfig
from causalrec.visual import Scaling, Visual
from causalrec.weights import Weights
from training.config import FitConfig
from training.loss import pairwise, squares_per_triple
from training.models.model import OnFeatures, Triples, inner_product_weights, normal
from training.models.projection import Precision


class SharedUser(OnFeatures):
    """
    y = γᵤ·γᵢ + (1 − λ2)·γᵤ·eᵢ, eᵢ = Eᵀfᵢ; trained at λ2 = 0 by BPR.

    The picture's direct effect is γᵤ·eᵢ: at λ2 = 1 the matching of user and item alone is left, Eq. 15 of the
    CausalRec paper up to a constant per user.

    Args:
        config: dim and tanh matter.
        users, items: how many.
        features: [I, F] float32, centred and scaled; kept, not trained.
        generator: draws the initial weights.
    """

    def __init__(
        self, config: ModelConfig, users: int, items: int, features: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__(config, users, items, features, generator)
        self.E = normal(features.shape[1], config.dim, generator=generator)

    def loss(self, batch: Triples, config: FitConfig) -> Tensor:
        """−ln σ(yᵢ − yⱼ) and the L2 terms."""
        rows, places = batch.among(len(self.features))
        whole = self.gammas(rows) + self.pictures(rows, config.precision)
        return self.ranking_loss(places, whole) + self.penalty(batch, config)

    def gammas(self, rows: Tensor | None) -> Tensor:
        """γ of the items in `rows` (None: all), differentiable."""
        return self.gamma_i if rows is None else embedding(rows, self.gamma_i)

    def pictures(self, rows: Tensor | None = None, precision: Precision = "float32") -> Tensor:
        """The embeddings e of the pictures of the items in `rows` (None: all), differentiable."""
        return self.embedded(*self.project(self.E, rows=rows, precision=precision))

    def embedded(self, seen: Tensor) -> Tensor:
        """e of Eᵀf."""
        return seen.tanh() if self.config.tanh else seen

    def ranking_loss(self, places: Triples, whole: Tensor) -> Tensor:
        """−ln σ(yᵢ − yⱼ) at λ2 = 0; `places` are items' rows in `whole` = γ + e."""
        gamma_u = embedding(places.user, self.gamma_u)
        better, worse = ((gamma_u * embedding(rows, whole)).sum(-1) for rows in (places.positive, places.negative))
        return pairwise(better, worse)

    def penalty(self, batch: Triples, config: FitConfig) -> Tensor:
        """The L2 terms: on the vectors the batch touches, per triple, and on E."""
        touched = squares_per_triple(
            embedding(batch.user, self.gamma_u),
            embedding(batch.positive, self.gamma_i),
            embedding(batch.negative, self.gamma_i),
        )
        return config.l2 * touched + config.l2_visual * self.E.square().sum()

    @torch.no_grad()
    def weights(self, popularity: Tensor, null_match: NullMatch, null_visual: NullVisual) -> Weights:  # noqa: ARG002 - the contract's signature
        """As `Model.weights`, with θᵤ = γᵤ."""
        parts = {"gamma_u": self.gamma_u, "theta_u": self.gamma_u, "gamma_i": self.gamma_i, "e": self.pictures()}
        return inner_product_weights(popularity, parts)

    def visual(self, backbone: str, scaling: Scaling) -> Visual:
        """As `Model.visual`."""
        E = self.E.detach().cpu()
        return Visual(backbone, scaling, E, torch.zeros_like(E), None, self.config.tanh)
