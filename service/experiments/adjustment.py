"""CUPED: what was known of units before takes variance out of what they did after."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.experiments.estimates import Estimates

Values = NDArray[np.float64]

LEAST_PER_COVARIATE = 20
"""Units of the smallest variant per covariate, below which nothing is adjusted: the regression would fit noise."""


class Adjusted(NamedTuple):
    """
    means: [..., V]. variances: of each variant's own error, [..., V]. shared: the part of the error that is the same
    in all of them (how far the covariates of all units are off), so that it matters to none of the differences [...].
    reduction: share of Σ variances that was taken away [...]. units: [..., V].
    """

    variants: tuple[str, ...]
    means: Values
    variances: Values
    shared: Values
    reduction: Values
    units: Values


def adjusted(of: Estimates) -> Adjusted:
    """
    Regression adjustment: mean − θ·(x̄ of the variant − x̄ of all), with the one θ that makes Σ variances least.

        θ = (Σᵥ Cov(x̄ᵥ))⁻¹ Σᵥ Cov(x̄ᵥ, meanᵥ)

    Since θ = 0 is among those compared it cannot widen a difference, but for the degrees of freedom it costs; where
    these cost more than it gains, nothing is adjusted. Ratios are adjusted by what each unit adds to them.
    Source: Deng, Xu, Kohavi & Walker 2013, "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data"; as a regression without bias under randomisation: Lin 2013.
    """
    means, plain = of.values[..., 0], of.covariance[..., 0, 0]
    count = of.values.shape[-1] - 1
    nothing = Adjusted(of.variants, means, plain, np.zeros(means.shape[:-1]), np.zeros(means.shape[:-1]), of.units)
    if not count:
        return nothing
    theta = _theta(of.covariance.sum(axis=-3))
    weights = np.concatenate([np.ones((*theta.shape[:-1], 1)), -theta], axis=-1)
    variances = np.einsum("...s,...vst,...t->...v", weights, of.covariance, weights)
    variances = variances * ((of.units - 1) / np.maximum(of.units - 1 - count, 1))
    x = of.values[..., 1:]
    shares = of.units / np.maximum(of.units.sum(axis=-1, keepdims=True), 1)
    away = x - np.einsum("...v,...vx->...x", shares, x)[..., None, :]
    spread = np.einsum("...v,...vxy->...xy", shares**2, of.covariance[..., 1:, 1:])
    with np.errstate(invalid="ignore"):
        reduction = 1 - variances.sum(axis=-1) / plain.sum(axis=-1)
    use = (reduction > 0) & (of.units.min(axis=-1) >= LEAST_PER_COVARIATE * count)
    return Adjusted(
        of.variants,
        np.where(use[..., None], means - np.einsum("...x,...vx->...v", theta, away), means),
        np.where(use[..., None], variances, plain),
        np.where(use, np.einsum("...x,...xy,...y->...", theta, spread, theta), 0.0),
        np.where(use, reduction, 0.0),
        of.units,
    )


def _theta(total: Values) -> Values:
    """θ [..., X] from the summed covariance [..., 1 + X, 1 + X]; columns without spread, or twice there, are left."""
    scale = np.sqrt(np.diagonal(total, axis1=-2, axis2=-1)[..., 1:])
    scale = np.where(scale > 0, scale, 1.0)
    inner = np.nan_to_num(total[..., 1:, 1:] / (scale[..., :, None] * scale[..., None, :]))
    theta: Values = (
        np.linalg.pinv(inner, rcond=1e-9, hermitian=True) @ (np.nan_to_num(total[..., 1:, 0]) / scale)[..., None]
    )[..., 0] / scale
    return theta
