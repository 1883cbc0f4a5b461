"""CausalRec itself, in every form and fusion of its score (Qiu et al. 2021, and the authors' code)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from causalrec import equations
from causalrec.equations import ItemArrays, NullMatch, NullVisual
from causalrec.model import ModelConfig
from causalrec.visual import Scaling, Visual
from causalrec.weights import Weights
from training.config import FitConfig
from training.loss import squares_per_triple, three_task_loss
from training.models.model import OnFeatures, Triples, detached, normal
from training.models.projection import Precision


class CausalRec(OnFeatures):
    """
    The trainable model: γᵤ, γᵢ, θᵤ, E (and the authors' E of the match, β, b′) over fixed picture features.

    Minimises Eq. 23; every score comes from causalrec.equations.

    Args:
        config: the model's shape and form.
        users, items: how many.
        features: [I, F] float32, centred and scaled (`causalrec.visual.Scaling`); kept, not trained.
        generator: draws the initial weights.
    """

    def __init__(
        self, config: ModelConfig, users: int, items: int, features: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__(config, users, items, features, generator)
        d, width = config.dim, features.shape[1]
        self.theta_u = normal(users, d, generator=generator)
        self.E = normal(width, d, generator=generator)
        self.E_match = normal(width, d, generator=generator) if config.two_matrices else None
        biased = config.form == "authors"
        self.beta = nn.Parameter(torch.zeros(items)) if biased else None
        self.visual_bias = nn.Parameter(torch.zeros(width)) if biased else None

    def loss(self, batch: Triples, config: FitConfig) -> Tensor:
        """
        Eq. 23 with the L2 term on the vectors the batch touches (per interaction).

        An item's picture is projected once per batch, however often the item occurs in it.
        """
        rows, places = batch.among(len(self.features))
        items = self.items(rows, config.precision)
        gamma_u, theta_u = embedding(batch.user, self.gamma_u), embedding(batch.user, self.theta_u)
        positive, negative = items.take(places.positive), items.take(places.negative)
        loss = three_task_loss(
            self.config.form,
            equations.pair_terms(gamma_u, theta_u, positive),
            equations.pair_terms(gamma_u, theta_u, negative),
            branch_logits=config.branch_logits,
            notice_weight=config.notice_weight,
            match_weight=config.match_weight,
        )
        touched = [gamma_u, theta_u, positive.gamma, negative.gamma, positive.beta, negative.beta]
        squares = squares_per_triple(*(part for part in touched if part is not None))
        visual = [part.square().sum() for part in (self.E, self.E_match, self.visual_bias) if part is not None]
        return loss + config.l2 * squares + config.l2_visual * torch.stack(visual).sum()

    def items(self, rows: Tensor | None = None, precision: Precision = "float32") -> ItemArrays:
        """The items in `rows` (None: all) as the score sees them, each picture projected once: differentiable."""
        matrices = [matrix for matrix in (self.E, self.E_match, self.visual_bias) if matrix is not None]
        seen = iter(self.project(*matrices, rows=rows, precision=precision))
        e = self._embedded(next(seen))
        e_match = e if self.E_match is None else self._embedded(next(seen))
        visual_bias = None if self.visual_bias is None else next(seen)
        if rows is None:
            return ItemArrays(self.gamma_i, e, e_match, self.beta, visual_bias)
        beta = None if self.beta is None else self.beta[rows]
        return ItemArrays(embedding(rows, self.gamma_i), e, e_match, beta, visual_bias)

    def _embedded(self, seen: Tensor) -> Tensor:
        return seen.tanh() if self.config.tanh else seen

    @torch.no_grad()
    def weights(self, popularity: Tensor, null_match: NullMatch, null_visual: NullVisual) -> Weights:
        """As `Model.weights`."""
        items = self.items()
        trained = (popularity > 0).nonzero().squeeze(1).to(self.features.device)
        matrix = self.E if self.E_match is None else self.E_match
        e_mean = equations.embed(self.features[trained].mean(0), matrix, tanh=self.config.tanh)
        null = equations.null_item(items.take(trained), e_mean, match=null_match, visual=null_visual)
        match, visual = equations.null_logits(self.gamma_u, null)
        form = self.config.form
        parts = {
            "gamma_u": self.gamma_u,
            "theta_u": self.theta_u,
            "gamma_i": items.gamma,
            "e": items.e,
            "null_gamma": null.gamma,
            "null_e": null.e,
            "null_gamma_e": null.gamma_e,
            "null_beta": null.beta,
            "popularity": popularity,
            "M_null": match.sigmoid() if form == "paper" else None,
            "MV_null": visual.sigmoid() if form == "paper" else None,
            "m_null": match + visual if form == "authors" else None,
            "e_match": None if self.E_match is None else items.e_match,
            "beta": items.beta,
            "visual_bias": items.visual_bias,
        }
        return detached(form, parts)

    def visual(self, backbone: str, scaling: Scaling) -> Visual:
        """As `Model.visual`."""
        E_match = None if self.E_match is None else self.E_match.detach().cpu()
        bias = None if self.visual_bias is None else self.visual_bias.detach().cpu()
        return Visual(backbone, scaling, self.E.detach().cpu(), E_match, bias, self.config.tanh)
