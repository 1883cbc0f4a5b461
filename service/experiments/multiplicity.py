"""Several comparisons at once: how often any of those that are true zeros is called a difference."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """
    Adjusted p-values: whoever calls those ≤ α significant is wrong about any true zero with probability ≤ α.

    The smallest of m is multiplied by m, the next by m − 1 and so on, and none ends below a smaller one's. It needs no
    independence, and always-valid p-values stay always valid. Source: Holm 1979.
    None is a comparison of which not enough is known: it counts among the m, as it will be made.
    """
    known = [place for place, p in enumerate(p_values) if p is not None]
    known.sort(key=lambda place: p_values[place] or 0.0)
    scaled = [(len(p_values) - rank) * (p_values[place] or 0.0) for rank, place in enumerate(known)]
    adjusted: list[float | None] = [None] * len(p_values)
    for place, p in zip(known, np.minimum(np.maximum.accumulate(scaled), 1.0) if scaled else (), strict=True):
        adjusted[place] = float(p)
    return adjusted


def in_words(count: int) -> str:
    """What Report.multiplicity says of so many comparisons."""
    if count < 2:
        return "One comparison: nothing to correct for."
    return (
        f"Holm over {count} comparisons (variants × metrics): adjusted p-values and 'significant' hold for all of them "
        "together; intervals are those of each comparison alone."
    )
