"""Fixed picture features times visual matrices: what most of a training step is spent on."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Precision = Literal["auto", "float32", "bfloat16"]

WORTH_IT = 1 << 20  # features below this many numbers are multiplied in no time anyway


class Factors(NamedTuple):
    """
    The features as the two products of a step read them: ahead for x·E [I, F], back for xᵀ·g [F, I].

    In bfloat16 each is a copy laid out for its product, together as large as the float32 features; in float32 both are
    views of these.
    """

    ahead: Tensor
    back: Tensor

    @classmethod
    def of(cls, features: Tensor, dtype: torch.dtype) -> "Factors":
        """`features` [I, F] in `dtype`."""
        if dtype == features.dtype:
            return cls(features, features.T)
        ahead = features.to(dtype)
        return cls(ahead, ahead.T.contiguous())

    def take(self, rows: Tensor) -> "Factors":
        """Those of the items in `rows`."""
        ahead = self.ahead[rows]
        return Factors(ahead, ahead.T)


def product_type(precision: Precision, features: Tensor) -> torch.dtype:
    """
    The type the features are multiplied in: their own, or bfloat16 (sums in float32, results rounded to bfloat16).

    "auto" takes bfloat16 where the processor multiplies it and there are enough features to gain by it. Features that
    are not float32 (tests take float64) stay as they are unless "bfloat16" is asked for.
    """
    if precision == "auto":
        worth_it = features.dtype == torch.float32 and features.numel() >= WORTH_IT
        return torch.bfloat16 if worth_it and _multiplies_bfloat16(features.device) else features.dtype
    return torch.bfloat16 if precision == "bfloat16" else features.dtype


def project(factors: Factors, *matrices: Tensor) -> tuple[Tensor, ...]:
    """
    x·E for each of the visual matrices E [F, d] (or vectors [F]) in one product: [I, d] (or [I]), in E's own type.

    Differentiable in the matrices; the features are fixed.
    """
    columns = [matrix if matrix.ndim == 2 else matrix[:, None] for matrix in matrices]
    together = columns[0] if len(columns) == 1 else torch.cat(columns, 1)
    products = _Product.apply(together, *factors).split([column.shape[1] for column in columns], 1)  # type: ignore[no-untyped-call]
    return tuple(
        product if matrix.ndim == 2 else product[:, 0] for product, matrix in zip(products, matrices, strict=True)
    )


class _Product(torch.autograd.Function):
    """ahead·E forward and back·g backward, each in the features' type."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, ahead: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return (ahead @ matrix.to(ahead.dtype)).to(matrix.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (back,), (gradient,) = ctx.saved_tensors, gradients
        gradient_in_type = gradient.to(back.dtype)
        if back.is_contiguous():
            return (back @ gradient_in_type).to(gradient.dtype), None, None
        return (gradient_in_type.T @ back.T).T.to(gradient.dtype), None, None  # reads the features row by row


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
