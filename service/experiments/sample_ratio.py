"""Sample ratio mismatch: whether units came to the variants as they should. Where not, something is broken."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp, xlogy
from scipy.stats import chi2

from service.experiments.report import Look, SampleRatio

Values = NDArray[np.float64]

LEVEL: Final = 0.01
"""Below this the test has failed: of sound experiments at most one in a hundred is ever blocked, at whatever look."""
CONCENTRATIONS: Final = (100.0, 1_000.0, 10_000.0)
"""k of the Dirichlet priors, mixed in equal parts: shares that are off by about 5, 1.6 and 0.5 points of a half."""


def log_evidence(counts: ArrayLike, shares: ArrayLike) -> Values:
    """
    log of the Bayes factor of "other shares" against "these shares": Dirichlet(k·θ) priors around the expected θ.

        B = Γ(k)/Γ(k + n) · Π Γ(k·θⱼ + nⱼ)/Γ(k·θⱼ) / Π θⱼ^nⱼ,  averaged over CONCENTRATIONS

    Under θ it is a martingale that starts at 1, also as an average, so that it ever exceeds 1/α with probability ≤ α.
    Source: Lindon & Malek 2020, "Anytime-valid inference for multinomial count data", arXiv 2011.03567.

    Args:
        counts: n, [..., V]. shares: θ > 0 summing to 1, [V] or [..., V].
    Returns: [...].
    """
    n, theta = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    found = []
    for k in CONCENTRATIONS:
        prior = k * theta
        parts = gammaln(prior + n) - gammaln(prior) - xlogy(n, theta)
        found.append(parts.sum(axis=-1) + gammaln(k) - gammaln(k + n.sum(axis=-1)))
    average: Values = logsumexp(np.array(found), axis=0) - np.log(len(CONCENTRATIONS))
    return average


def sample_ratio(
    strata: Sequence[tuple[Mapping[str, float], Mapping[str, int]]], looks: Sequence[Look] = ()
) -> SampleRatio | None:
    """
    The test of counts against expected shares.

    Args:
        strata: (expected share, observed count) by variant; one, or one per version where shares moved: their
            evidence multiplies. Shares of one sum to 1.
        looks: stored ones: the p-value is the smallest there ever was, as it is valid for all looks together.
    Returns: None where there is no unit.
    """
    names = list(dict.fromkeys(name for expected, _ in strata for name in expected))
    counts = np.array([[observed.get(name, 0) for name in names] for _, observed in strata], dtype=np.float64)
    shares = np.array([[expected.get(name, 0.0) for name in names] for expected, _ in strata])
    total = counts.sum()
    if total == 0:
        return None
    evidence = sum(float(log_evidence(n[p > 0], p[p > 0])) for n, p in zip(counts, shares, strict=True))
    if counts[shares == 0].any():  # units where none should be
        evidence = np.inf
    p_value = float(np.exp(-max(evidence, 0.0)))
    p_value = min([p_value, *(look.srm_p_value for look in looks)])
    expected_counts = shares * counts.sum(axis=1, keepdims=True)
    inside = expected_counts > 0
    statistic = (((counts - expected_counts) ** 2)[inside] / expected_counts[inside]).sum()
    freedom = int(inside.sum() - inside.any(axis=1).sum())
    return SampleRatio(
        expected=dict(zip(names, (expected_counts.sum(axis=0) / total).tolist(), strict=True)),
        observed=dict(zip(names, counts.sum(axis=0).astype(int).tolist(), strict=True)),
        p_value=p_value,
        chi_square_p_value=float(chi2.sf(statistic, freedom)) if freedom else 1.0,
        failed=p_value <= LEVEL,
    )
