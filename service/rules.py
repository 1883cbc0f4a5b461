"""What a request wants of its list besides the best items: some pinned, some raised or lowered, not too many alike."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from causalrec.topk import DECIMALS, Rows
from service.filters import Filters, Mask

Bits = NDArray[np.uint8]


class Boost(NamedTuple):
    """Items that match `filter` are ranked as if they scored `by` more (or less, where it is negative)."""

    filter: Mapping[str, object]
    by: float


class Cap(NamedTuple):
    """At most `most` items of a list have the same value of `field`; items without one are not counted."""

    field: str
    most: int


@dataclass(frozen=True)
class Rules:
    """
    One request's rules over the rows of one catalogue.

    Fields: pinned: rows by the position, from 1, at which they stand. bits [R], offsets [2^B]: bit b of a row says
    that it matches boost b; None without boosts. groups [R]: of the cap's field, −1 where it is null; None without a
    cap. most: of one group.
    """

    pinned: Mapping[int, int]
    bits: Bits | None
    offsets: NDArray[np.float64]
    groups: Rows | None
    most: int

    @classmethod
    def of(
        cls, pinned: Mapping[int, int], boosts: Sequence[Boost], cap: Cap | None, filters: Filters
    ) -> "Rules | None":
        """The rules of a request; None where there are none. Boosts and cap were checked."""
        if not pinned and not boosts and cap is None:
            return None
        bits: Bits = np.zeros(len(filters.frame), dtype=np.uint8)
        offsets = np.zeros(1)
        for number, boost in enumerate(boosts):
            bits |= filters.mask(boost.filter).astype(np.uint8) << np.uint8(number)
            offsets = np.concatenate([offsets, offsets + boost.by])
        groups = None if cap is None else filters.groups(cap.field)
        most = 0 if cap is None else cap.most
        return cls(pinned, bits if boosts else None, np.round(offsets, DECIMALS), groups, most)

    @property
    def pins(self) -> Rows:
        """The pinned rows in the order of their positions."""
        return np.array([self.pinned[position] for position in sorted(self.pinned)], dtype=np.int64)

    def boost(self, rows: Rows) -> NDArray[np.float64]:
        """What is added to the score of each of `rows` [C]."""
        return np.zeros(len(rows)) if self.bits is None else self.offsets[self.bits[rows]]

    def keys(self, rows: Rows, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What `rows` [C] are ranked by: score and boost, rounded as scores are."""
        return scores if self.bits is None else np.round(scores + self.boost(rows), DECIMALS)

    def apart(self, allowed: Mask, few: int) -> tuple[Mask | None, list[Mask]]:
        """
        The rows `allowed` [R] by boost: within one part the best by score are the best by key.

        Returns: rows whose boosts few share, to be scored one by one (None without any); a mask for every other part.
        """
        if self.bits is None:
            return (allowed, []) if np.count_nonzero(allowed) <= few else (None, [allowed])
        counts = np.bincount(self.bits[allowed], minlength=len(self.offsets))
        values, of_bits = np.unique(self.offsets, return_inverse=True)
        sizes = np.bincount(of_bits, weights=counts)
        rare = (sizes <= few) & (sizes > 0)
        parts = [allowed & (of_bits == value)[self.bits] for value in range(len(values)) if sizes[value] > few]
        return (allowed & rare[of_bits][self.bits] if rare.any() else None), parts


class Quota:
    """What one list has taken of each group, and may still take."""

    def __init__(self, rules: Rules) -> None:
        """With the pinned items taken."""
        self._groups = rules.groups
        self._most = rules.most
        self._taken: Counter[int] = Counter()
        if rules.groups is not None:
            self._taken.update(rules.groups[rules.pins].tolist())

    def take(self, rows: Rows, room: int) -> Rows:
        """Positions in `rows`, best first, of the first `room` that may be taken; they are, then."""
        if self._groups is None:
            return np.arange(min(len(rows), room))
        kept: list[int] = []
        for place, group in enumerate(self._groups[rows].tolist()):
            if len(kept) == room:
                break
            if group < 0 or self._taken[group] < self._most:
                self._taken[group] += 1
                kept.append(place)
        return np.array(kept, dtype=np.int64)

    def close(self, allowed: Mask) -> None:
        """Takes the rows of groups that may take no more out of `allowed` [R]."""
        full = [group for group, taken in self._taken.items() if group >= 0 and taken >= self._most]
        if self._groups is not None and full:
            closed = np.zeros(max(full) + 2, dtype=bool)
            closed[full] = True
            allowed &= ~closed[np.minimum(self._groups, len(closed) - 1)]  # −1, too, is the last one, which is open
