"""What every model is to the trainer: a loss to fit, arrays to serve, and what places a new picture."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from causalrec.equations import Form, NullMatch, NullVisual
from causalrec.model import ModelConfig
from causalrec.visual import Scaling, Visual
from causalrec.weights import Weights
from training.config import FitConfig
from training.models.projection import Factors, Precision, product_type, project

FEW = 3  # times as many items as a batch may name: then only its own are projected


@dataclass(frozen=True)
class Inputs:
    """
    What a model may be built from; U users, I items.

    features: [I, F] float32, centred and scaled (`causalrec.visual.Scaling`), on the device to train on.
    categories: each item's category, None where it has none. pictures: each item's picture file, None where the data
    has only features.
    """

    users: int
    items: int
    features: Tensor
    categories: tuple[str | None, ...]
    pictures: tuple[Path, ...] | None


@dataclass(frozen=True)
class Triples:
    """A batch on the device: user, positive and negative rows, each [B]."""

    user: Tensor
    positive: Tensor
    negative: Tensor

    def among(self, items: int) -> tuple[Tensor | None, "Triples"]:
        """
        The items to project for this batch, each once, and the batch with places among them instead of rows.

        None means all `items`, and the batch as it is: where it names most of them, copying their features costs more
        than the products it saves.
        """
        named = torch.cat([self.positive, self.negative])
        if FEW * len(named) > items:
            return None, self
        rows, places = torch.unique(named, return_inverse=True)
        return rows, Triples(self.user, *places.split(len(self.positive)))


class Model(nn.Module, ABC):
    """A model of one of the names in `ModelConfig`: its parameters, and the contract with trainer and export."""

    config: ModelConfig

    @classmethod
    @abstractmethod
    def of(cls, config: ModelConfig, inputs: Inputs, generator: torch.Generator) -> Self:
        """
        The untrained model; `generator` alone decides its initial weights.

        Raises: ConfigError naming what the data lacks for this model.
        """

    @abstractmethod
    def loss(self, batch: Triples, config: FitConfig) -> Tensor:
        """What one step minimises, a scalar: a mean over the batch's triples, L2 terms included."""

    @abstractmethod
    def weights(self, popularity: Tensor, null_match: NullMatch, null_visual: NullVisual) -> Weights:
        """
        The arrays to serve, with the no-treatment terms of every user precomputed.

        Args:
            popularity: [I] training interactions per item; the no-treatment item averages over those above 0.
            null_match, null_visual: the null treatment; training does not depend on it, so any may be asked for. Models
                whose removed term has no no-treatment item pass over it.
        """

    @abstractmethod
    def visual(self, backbone: str, scaling: Scaling) -> Visual:
        """What places a new picture while serving, from features by `backbone`, centred and scaled by `scaling`."""


def normal(*shape: int, generator: torch.Generator, std: float = 0.1) -> nn.Parameter:
    """A parameter drawn from a normal distribution."""
    return nn.Parameter(torch.randn(*shape, generator=generator) * std)


def detached(form: Form, parts: Mapping[str, Tensor | None]) -> Weights:
    """`Weights` of those `parts` that are there: copies in float32 on the CPU, which later steps leave alone."""
    return Weights(
        form=form,
        **{
            name: part.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, part in parts.items()
            if part is not None
        },
    )


def inner_product_weights(popularity: Tensor, parts: Mapping[str, Tensor | None]) -> Weights:
    """
    Weights of a model of the additive form, y = m + (1 − λ2)·n, that has no visual match and no no-treatment item.

    Args:
        parts: gamma_u, theta_u [U, d], gamma_i, e [I, d], and beta, visual_bias [I] where the model has them:
            m = β + γᵤ·γᵢ, n = θᵤ·eᵢ + v.
    """
    gamma = parts["gamma_i"]
    if gamma is None:
        raise ValueError("gamma_i is missing")
    nothing = torch.zeros(gamma.shape[1])
    null = {"null_gamma": nothing, "null_e": nothing, "null_gamma_e": nothing, "null_beta": torch.zeros(())}
    return detached("additive", {**null, "e_match": torch.zeros_like(gamma), "popularity": popularity, **parts})


class OnFeatures(Model):
    """
    A model over fixed picture features with γᵤ and γᵢ; its own parameters are drawn after these.

    Args:
        config: the model's shape.
        users, items: how many.
        features: [I, F] float32, centred and scaled (`causalrec.visual.Scaling`); kept, not trained.
        generator: draws the initial weights.
    """

    features: Tensor
    _factors: Factors | None = None

    def __init__(
        self, config: ModelConfig, users: int, items: int, features: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("features", features, persistent=False)
        self.gamma_u = normal(users, config.dim, generator=generator)
        self.gamma_i = normal(items, config.dim, generator=generator)

    @classmethod
    def of(cls, config: ModelConfig, inputs: Inputs, generator: torch.Generator) -> Self:
        """As `Model.of`."""
        return cls(config, inputs.users, inputs.items, inputs.features, generator)

    def project(self, *matrices: Tensor, rows: Tensor | None = None, precision: Precision) -> tuple[Tensor, ...]:
        """
        The pictures of the items in `rows` (None: all) by each visual matrix or vector, in one product: differentiable.

        Lower precision is for training; what is served is projected in float32.
        """
        dtype = product_type(precision, self.features)
        kept = self._factors
        if kept is None or kept.ahead.dtype != dtype or kept.ahead.device != self.features.device:
            kept = Factors.of(self.features, dtype)
            if dtype != self.features.dtype:  # a copy worth keeping
                self._factors = kept
        return project(kept if rows is None else kept.take(rows), *matrices)
