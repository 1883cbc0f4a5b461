"""From a picture's feature to the model's e: scaling statistics and visual matrices, as kept in the bundle."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from causalrec import equations
from causalrec.errors import ShapeError


class Scaling(NamedTuple):
    """
    Features as the model sees them: (f − mean) / scale, mean and scale [F].

    Centred, because raw CNN features are non-negative and share a large mean that saturates N and kills the
    no-treatment term; divided by √F too, so that a row has a norm of about 1 and one Adam step on E moves e little.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Scaling":
        """The statistics of `features` [I, F], rows of items with at least one training interaction."""
        exact = features.double()
        deviation = exact.std(0, correction=0)
        floor = deviation.mean().clamp_min(1e-12) * 1e-3  # a constant feature stays (almost) 0 instead of becoming NaN
        scale = deviation.clamp_min(floor) * features.shape[1] ** 0.5
        return cls(exact.mean(0).float(), scale.float())

    def apply(self, features: Tensor) -> Tensor:
        """[..., F] raw → [..., F] centred and scaled. Raises: ShapeError naming both widths."""
        if features.shape[-1] != self.mean.shape[0]:
            raise ShapeError(f"features {tuple(features.shape)} against scaling of width {self.mean.shape[0]}")
        return (features - self.mean) / self.scale


@dataclass(frozen=True)
class Visual:
    """
    What places a new picture while serving: the scaling, E [F, d], E_match [F, d] and visual bias [F] where the form
    has them, whether tanh follows, and the name of the backbone that made the features.

    offset: [d], taken off the notice's e. DeepStyle takes off the style of the item's category; a new picture comes
    without one, so that it stands where a picture of the mean style would: an approximation.
    Raises: ShapeError naming field and both shapes.
    """

    backbone: str
    scaling: Scaling
    E: Tensor
    E_match: Tensor | None
    visual_bias: Tensor | None
    tanh: bool
    offset: Tensor | None = None

    def __post_init__(self) -> None:
        width, d = self.E.shape
        expected = {"E_match": (width, d), "visual_bias": (width,), "offset": (d,)}
        for name, shape in expected.items():
            part: Tensor | None = getattr(self, name)
            if part is not None and tuple(part.shape) != shape:
                raise ShapeError(f"visual {name}: shape {tuple(part.shape)}, expected {shape}")

    def place(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Raw features [..., F] → e for the notice [..., d], e for the match [..., d], visual bias [...] or None."""
        seen = self.scaling.apply(features.to(torch.float32))
        e = equations.embed(seen, self.E, tanh=self.tanh)
        e_match = e if self.E_match is None else equations.embed(seen, self.E_match, tanh=self.tanh)
        e = e if self.offset is None else e - self.offset
        return e, e_match, None if self.visual_bias is None else seen @ self.visual_bias
