"""Two rankings in one list: who puts which item there, and whose items people then chose."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final, Literal

import numpy as np
import polars as pl

from service.experiments.intervals import LEAST_UNITS, PLANNED, interval
from service.experiments.report import Preference

TEAMS: Final = "ab"
BOTH: Final = "="
"""The team of what both would put there: neither is credited."""


def team_draft(first: Sequence[int], second: Sequence[int], k: int, seed: bytes) -> tuple[tuple[int, ...], str]:
    """
    One list of at most `k` items, drafted by two teams: in every round a coin says who picks first, then either picks
    the best item of its list that is not taken yet.

    Source: Radlinski, Kurup & Joachims 2008, "How does clickthrough data reflect retrieval quality?", algorithm 2.
    That stops when one list has run out; a shop wants a full list, so the other goes on alone and is credited.
    Neither team is credited for the head that the lists share, where only the coin says whose an item is: that would
    be noise, and between near λ2 many of the clicks are there.
    Nothing is drawn: the coins are SHAKE-256 of `seed` and both lists, so the same question has the same answer on
    every replica, and over seeds a coin is fair whatever the lists are. An odd `k` ends with the pick of whoever won
    the last coin.

    Args:
        first, second: item rows, best first; they may differ in length and share items, each of which is taken once.
        seed: the experiment's salt and the unit.
    Returns: item rows, best first, and for each "a" if the first list's team picked it, "b" if the second's, "=" in
        the head that both share.
    """
    taken: dict[int, str] = {}
    left = [iter(first), iter(second)]
    coins = _coins(first, second, k, seed)
    while len(taken) < k:
        begins, before = next(coins), len(taken)
        for team in (begins, 1 - begins):
            picked = next((item for item in left[team] if item not in taken), None)
            if picked is not None and len(taken) < k:
                taken[picked] = TEAMS[team]
        if len(taken) == before:
            break
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    return tuple(taken), (BOTH * head + "".join(taken.values())[head:])[: len(taken)]


def _coins(first: Sequence[int], second: Sequence[int], rounds: int, seed: bytes) -> Iterator[Literal[0, 1]]:
    """A fair coin for each of `rounds` rounds: who begins it."""
    lists = b"".join(np.asarray((len(rows), *rows), dtype="<i8").tobytes() for rows in (first, second))
    bits = int.from_bytes(hashlib.shake_256(seed + b"\0" + lists).digest(rounds // 8 + 1), "little")
    return (1 if bits >> place & 1 else 0 for place in range(rounds))


def preferences(
    units: pl.DataFrame, first: str, second: str, alpha: float, planned: float = PLANNED
) -> list[Preference]:
    """
    Whose items people chose, by clicks and by purchases.

    A unit that chose `a` items of the first team and `b` of the second prefers the first by (a − b) / (a + b): it
    counts once, however much it clicks. Units that chose nothing, or only what both lists begin with, say nothing; of
    rankings that are equally good the expectation is 0. After Chapelle, Joachims, Radlinski & Yue 2012, "Large-scale
    validation and analysis of interleaved search evaluation", with the unit in the place of the query.

    A preference is relative: it orders the two λ2, and is no difference of what they sell. By clicks the smaller λ2
    is favoured, since the pull that it leaves in draws clicks; purchases say what people want.

    Args:
        units: rows of metrics.UNITS of one interleaving.
        first, second: names of the variants whose teams are a and b.
        alpha: 1 minus the coverage of the intervals, which hold at every look (see intervals); planned: as there.
    Returns: of clicks, then of purchases; without an interval below LEAST_UNITS units that chose.
    """
    return [_preference(units, metric, (first, second), alpha, planned) for metric in ("clicks", "purchases")]


def _preference(
    units: pl.DataFrame, metric: Literal["clicks", "purchases"], names: tuple[str, str], alpha: float, planned: float
) -> Preference:
    a, b = (units[f"{metric}_{team}"].fill_null(0).to_numpy() for team in TEAMS)
    chose = a + b > 0
    scores = (a[chose] - b[chose]) / (a[chose] + b[chose])
    count = len(scores)
    mean = scores.mean() if count else np.nan
    error = scores.std(ddof=1) / np.sqrt(count) if count >= LEAST_UNITS else np.nan
    found = interval(float(mean), float(error), count, alpha, planned)
    significant = found.low is not None and found.high is not None and not found.low <= 0 <= found.high
    return Preference(
        metric=metric, first=names[0], second=names[1], units=count, preference=found, significant=significant
    )
