"""DeepStyle: what a picture shows beyond its category (Liu, Wu and Wang 2017)."""

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import embedding

from causalrec.errors import ConfigError
from causalrec.model import ModelConfig
from causalrec.visual import Scaling, Visual
from training.config import FitConfig
from training.loss import squares_per_triple
from training.models.model import Inputs, Triples, normal
from training.models.projection import Precision
from training.models.shared_user import SharedUser


class DeepStyle(SharedUser):
    """
    y = γᵤ·γᵢ + (1 − λ2)·γᵤ·eᵢ, eᵢ = Eᵀfᵢ − c(i): c is learned, one vector for each category.

    What all pictures of a category share is taken out of the picture, what remains is style. Items without a category
    share one vector.

    Args:
        categories: each item's category, None where it has none.
    """

    def __init__(
        self,
        config: ModelConfig,
        users: int,
        items: int,
        features: Tensor,
        categories: tuple[str | None, ...],
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, users, items, features, generator)
        names = sorted(set(categories), key=lambda name: (name is None, name or ""))
        row = {name: number for number, name in enumerate(names)}
        self.category: Tensor
        self.register_buffer("category", torch.tensor([row[name] for name in categories]), persistent=False)
        self.c = normal(len(names), config.dim, generator=generator)

    @classmethod
    def of(cls, config: ModelConfig, inputs: Inputs, generator: torch.Generator) -> Self:
        """As `Model.of`. Raises: ConfigError when no item has a category."""
        if not any(name is not None for name in inputs.categories):
            raise ConfigError(
                "model.name = 'deepstyle' takes out of a picture what its category shares, and no item here has a "
                "category; give the items file a column category, or take name = 'vbpr' or 'amr'"
            )
        return cls(config, inputs.users, inputs.items, inputs.features, inputs.categories, generator)

    def pictures(self, rows: Tensor | None = None, precision: Precision = "float32") -> Tensor:
        """The styles e of the pictures of the items in `rows` (None: all), differentiable."""
        category = self.category if rows is None else self.category[rows]
        return super().pictures(rows, precision) - embedding(category, self.c)

    def penalty(self, batch: Triples, config: FitConfig) -> Tensor:
        """As for every such model, and on the categories of the batch's items."""
        touched = squares_per_triple(
            *(embedding(self.category[rows], self.c) for rows in (batch.positive, batch.negative))
        )
        return super().penalty(batch, config) + config.l2 * touched

    def visual(self, backbone: str, scaling: Scaling) -> Visual:
        """As `Model.visual`: a new picture comes without a category and loses the items' mean c instead of its own."""
        mean = embedding(self.category, self.c).mean(0)
        return replace(super().visual(backbone, scaling), offset=mean.detach().cpu())
