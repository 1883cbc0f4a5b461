"""Axes of figures: what range they cover, where a value lies on them, and which values are written along them."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from service.experiments.wording import fixed, known, percent

STEPS = (1.0, 2.0, 5.0, 10.0)  # times a power of ten
INSET = 0.04  # of the range, so that no mark lies on the edge


class Tick(NamedTuple):
    """A value along an axis. at: percent of its length; label: what is written there."""

    at: float
    label: str


class Axis(NamedTuple):
    """A linear axis from `low` to `high`."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, in percent of the axis' length; outside 0 to 100 where it is not on the axis."""
        return 100 * (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self, most: int, words: Callable[[float, int], str]) -> list[Tick]:
        """At most so many round values; words: value and its decimals → label."""
        step, decimals = _step(self.high - self.low, most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [
            Tick(round(self.at(index * step), 2), words(index * step, decimals)) for index in range(first, last + 1)
        ]


def axis(values: Iterable[float | None], *, through: float | None = None) -> Axis | None:
    """The axis over all known values, with room at both ends; None where there is none. through: a value to include."""
    found = [value for value in values if known(value)]
    if not found:
        return None
    low, high = min(found), max(found)
    if through is not None:
        low, high = min(low, through), max(high, through)
    room = (high - low) * INSET or abs(high) * 0.1 or 1.0
    return Axis(low - room, high + room)


def plain(value: float, decimals: int) -> str:
    """A value of an axis without a unit."""
    return fixed(value, decimals)


def in_percent(value: float, decimals: int) -> str:
    """A share on an axis."""
    return percent(value, decimals=max(decimals - 2, 0))


def _step(length: float, most: int) -> tuple[float, int]:
    """The smallest round step that makes at most `most` of the length, and the decimals it needs."""
    power = math.floor(math.log10(length / most))
    step = next(step for step in STEPS if step * 10**power * most >= length * (1 - 1e-9))
    exact = power + (step == STEPS[-1])
    return step * 10.0**power, max(-exact, 0)
