"""A curve with its band as places on a drawing, all in percent of it from the left and from the top."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from service.experiments.figures.axes import Axis, Tick, plain
from service.experiments.report import Estimate
from service.experiments.wording import estimate, known

TICKS = 5

Place = tuple[float, float | None, float | None, float | None]
"""Across, and there the value and its interval."""


class Mark(NamedTuple):
    """A point with its interval. hollow: little stands behind it; title: the same in words."""

    x: float
    y: float
    low: float | None
    high: float | None
    hollow: bool
    title: str


class Best(NamedTuple):
    """Where the curve is highest, and from where to where that may be."""

    at: float
    low: float | None
    high: float | None
    label: str


class Chart(NamedTuple):
    """band, line: SVG paths on a square of 100; zero: the line of no difference, where there is one."""

    title: str
    description: str
    band: str
    line: str
    marks: list[Mark]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    best: Best | None = None
    zero: float | None = None


class Plane(NamedTuple):
    """Where the values of a chart lie."""

    across: Axis
    up: Axis

    def x(self, value: float) -> float:
        return round(self.across.at(value), 2)

    def y(self, value: float) -> float:
        return round(100 - self.up.at(value), 2)

    def line(self, places: Sequence[Place]) -> str:
        """Through the values; broken where one is missing."""
        return " ".join(
            _path([(self.x(x), self.y(value)) for x, value, _, _ in run if value is not None])
            for run in _runs(places, lambda place: known(place[1]))
        )

    def band(self, places: Sequence[Place]) -> str:
        """Between the ends of the intervals: along the upper ones and back along the lower."""
        return " ".join(
            _path(
                [(self.x(x), self.y(high)) for x, _, _, high in run if high is not None]
                + [(self.x(x), self.y(low)) for x, _, low, _ in reversed(run) if low is not None]
            )
            + "Z"
            for run in _runs(places, lambda place: known(place[2]) and known(place[3]))
        )

    def mark(self, at: float, found: Estimate, name: str, *, hollow: bool = False) -> Mark | None:
        """None where the value is not known or not on the chart."""
        if not known(found.value) or not self.up.holds(found.value):
            return None
        low, high = (min(max(self.y(end), 0.0), 100.0) if known(end) else None for end in (found.low, found.high))
        return Mark(self.x(at), self.y(found.value), low, high, hollow, f"{name}: {estimate(found)}")

    def y_ticks(self, words: Callable[[float, int], str] = plain) -> list[Tick]:
        return [Tick(round(100 - tick.at, 2), tick.label) for tick in self.up.ticks(TICKS, words)]


def three(found: Estimate) -> tuple[float | None, float | None, float | None]:
    """The value and its interval."""
    return found.value, found.low, found.high


def place(at: float, found: Estimate) -> Place:
    return at, found.value, found.low, found.high


def _runs(places: Sequence[Place], has: Callable[[Place], bool]) -> list[list[Place]]:
    """The places without those that have nothing to draw, cut where one is missing."""
    runs: list[list[Place]] = [[]]
    for each in places:
        if has(each):
            runs[-1].append(each)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
