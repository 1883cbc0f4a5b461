"""DVBPR: a network over the pictures, trained end to end with the ranking (Kang et al. 2017)."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, embedding, group_norm, relu

from causalrec.equations import NullMatch, NullVisual
from causalrec.errors import ConfigError
from causalrec.model import ModelConfig
from causalrec.visual import Scaling, Visual
from causalrec.weights import Weights
from training.config import FitConfig
from training.data.pictures import decode_pictures
from training.loss import pairwise
from training.models.model import Inputs, Model, Triples, inner_product_weights, normal
from training.models.ridge import ridge

BLOCKS = ((32, 7, 4), (64, 3, 2), (128, 3, 2))  # channels, kernel, stride
GROUPS = 8
AT_A_TIME = 256  # pictures: their maps stay near the processor's cache


class Network(nn.Module):
    """
    Φ: pictures, uint8 [B, 3, S, S] → e [B, d].

    Three blocks of convolution, group norm and ReLU, which bring the side down to a sixteenth, then one linear layer
    over the last map. The paper's is a CNN-F, eight layers and tens of millions of weights for pictures of 224 pixels;
    this is a small net (160,000 weights at 64 pixels and d = 32) that a processor can train.
    Group norm, so that a picture's e never depends on what shares its batch; strides instead of pooling, whose
    gradient PyTorch has not in a deterministic form on every device. The last map is divided by the root of its width,
    as features are (`causalrec.visual.Scaling`), so that one Adam step moves e little. No bias at the end: the same
    vector added to every e changes no user's order.
    """

    def __init__(self, pixels: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        side, before = pixels, 3
        convolutions, gains, shifts = [], [], []
        for channels, kernel, stride in BLOCKS:
            spread = (2 / (before * kernel**2)) ** 0.5  # He et al. 2015: keeps the variance through a ReLU
            convolutions.append(normal(channels, before, kernel, kernel, generator=generator, std=spread))
            gains.append(nn.Parameter(torch.ones(channels)))
            shifts.append(nn.Parameter(torch.zeros(channels)))
            side, before = -(-side // stride), channels
        self.convolutions, self.gains, self.shifts = map(nn.ParameterList, (convolutions, gains, shifts))
        self.last = normal(dim, before * side**2, generator=generator)

    def forward(self, pictures: Tensor) -> Tensor:
        """e [B, d] of `pictures` [B, 3, S, S]."""
        x = (pictures.to(self.last.dtype) - 127.5) / 64.0
        layers = zip(BLOCKS, self.convolutions, self.gains, self.shifts, strict=True)
        for (_, kernel, stride), weight, gain, shift in layers:
            x = conv2d(x, weight, stride=stride, padding=kernel // 2)
            x = relu(group_norm(x, GROUPS, gain, shift))
        e: Tensor = x.flatten(1) / self.last.shape[1] ** 0.5 @ self.last.T
        return e


class DVBPR(Model):
    """
    y = (1 − λ2)·θᵤ·Φ(pictureᵢ), Φ trained end to end; trained at λ2 = 0 by BPR.

    Source: Kang et al. 2017 (Visually-aware fashion recommendation and design), their score less its constants, which
    no ranking sees. There is no match, so that λ2 has nothing to leave: below 1 the order is the same, at 1 nothing is
    left of it.

    Args:
        config: the model's shape.
        users: how many.
        features: [I, F] by the backbone, centred and scaled: only `visual` reads them.
        pictures: uint8 [I, 3, S, S]; kept, not trained.
        generator: draws the initial weights.
    """

    def __init__(
        self, config: ModelConfig, users: int, features: Tensor, pictures: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.features: Tensor
        self.pictures: Tensor
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("pictures", pictures, persistent=False)
        self.theta_u = normal(users, config.dim, generator=generator)
        self.network = Network(config.pixels, config.dim, generator)

    @classmethod
    def of(cls, config: ModelConfig, inputs: Inputs, generator: torch.Generator) -> Self:
        """As `Model.of`. Raises: ConfigError where the data has no pictures; DataError naming unusable ones."""
        if inputs.pictures is None:
            raise ConfigError(
                'model.name = "dvbpr" needs pictures: the data directory has no images/; put one picture per item '
                "there, or choose a model that is content with features"
            )
        pictures = decode_pictures(inputs.pictures, config.pixels)
        return cls(config, inputs.users, inputs.features, pictures, generator)

    def loss(self, batch: Triples, config: FitConfig) -> Tensor:
        """
        −ln σ(yᵢ − yⱼ), the L2 term on the batch's θ, and l2_visual on the network's weights.

        The network sees each picture of the batch once, however often its item occurs; until the step is done, each
        holds 0.2 MB at 64 pixels.
        """
        items = torch.cat([batch.positive, batch.negative])
        distinct, place = torch.unique(items, return_inverse=True)
        e = embedding(place, self.embed(distinct))
        theta_u = embedding(batch.user, self.theta_u)
        positive, negative = torch.split(e, len(batch.user))
        loss = pairwise((theta_u * positive).sum(-1), (theta_u * negative).sum(-1))
        visual = torch.stack([part.square().sum() for part in self.network.parameters()]).sum()
        return loss + config.l2 * theta_u.square().sum() / len(batch.user) + config.l2_visual * visual

    def embed(self, rows: Tensor) -> Tensor:
        """e [B, d] of the items in `rows`, differentiable."""
        return torch.cat([self.network(self.pictures[block]) for block in torch.split(rows, AT_A_TIME)])

    @torch.no_grad()
    def served_e(self) -> Tensor:
        """
        e [I, d] of every item less their mean, which changes no user's order.

        Centred, as the features are: so Eᵀf of `visual`, which has no constant, has the same origin.
        """
        e = self.embed(torch.arange(len(self.pictures), device=self.pictures.device))
        return e - e.mean(0)

    @torch.no_grad()
    def weights(self, popularity: Tensor, null_match: NullMatch, null_visual: NullVisual) -> Weights:  # noqa: ARG002 - the contract's signature
        """As `Model.weights`; γ = 0."""
        e = self.served_e()
        return inner_product_weights(
            popularity,
            {
                "gamma_u": torch.zeros_like(self.theta_u),
                "theta_u": self.theta_u,
                "gamma_i": torch.zeros_like(e),
                "e": e,
            },
        )

    def visual(self, backbone: str, scaling: Scaling) -> Visual:
        """
        As `Model.visual`: an approximation, since the service runs no network but the backbone.

        E is fitted by ridge regression of the items' e on their features by the backbone.
        """
        E = ridge(self.features, self.served_e()).cpu()
        return Visual(backbone, scaling, E, torch.zeros_like(E), None, tanh=False)
