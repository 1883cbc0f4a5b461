"""
The exact λ2 path: every top-k list a user can get for λ2 in [0, maximum], and where one gives way to the next.

An item's score is a straight line in λ2, y = p − λ2·q. So the list is piecewise constant and changes only where two
lines cross. `floors` leaves the items that can be in a list at all, `trace` follows their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec import equations
from causalrec.equations import Form, Terms
from causalrec.topk import Query, Rows, TopK
from causalrec.weights import UserVectors, Weights

CELLS = 15  # [0, maximum] is looked at in this many equal parts; their ends are as many λ2 as one request may name

Lines = tuple[NDArray[np.float64], NDArray[np.float64]]  # p and q


@dataclass(frozen=True)
class Piece:
    """The list `rows` [k], best first, for start < λ2 < end. At the ends themselves it ties with its neighbour."""

    start: float
    end: float
    rows: Rows


@dataclass(frozen=True)
class Lambda2Path:
    """
    Pieces in the order of λ2, without gaps from 0 to the maximum asked for; neighbours differ in set or order.

    truncated: there are more than the limit; the last piece ends where the next would begin.
    """

    pieces: tuple[Piece, ...]
    truncated: bool


class Catalogue(Protocol):
    """What a path is traced through: items that can be searched for, and told by the lines of their scores."""

    def batch(self, queries: Sequence[Query]) -> list[tuple[TopK, ...]]:
        """For each query its top k at each of its λ2."""

    def lines(self, user: UserVectors, rows: Rows) -> Lines:
        """p, q [C] of the scores of `rows`, in float64."""

    def reaching(self, user: UserVectors, maximum: float, excluded: Rows, least: NDArray[np.float64]) -> Rows:
        """Rows outside `excluded`, in the order of ids, of every item that reaches `least` at one of the edges."""


def whole(catalogue: Catalogue, user: UserVectors, maximum: float, k: int, excluded: Rows, limit: int) -> Lambda2Path:
    """
    Every list of the user's k best outside `excluded` for λ2 from 0 to `maximum`, and where each begins and ends.

    Two passes: the top k in the middle of each cell, then whatever can be in a list of a cell.

    Args:
        limit: the most pieces.
    """
    (lists,) = catalogue.batch([Query(user, tuple(middles(maximum).tolist()), k, excluded)])
    least = floors([catalogue.lines(user, best.rows) for best in lists], maximum)
    rows = catalogue.reaching(user, maximum, excluded, least)
    return trace(*catalogue.lines(user, rows), rows, maximum, k, limit)


def edges(maximum: float) -> NDArray[np.float64]:
    """The λ2 [CELLS + 1] between which the cells lie, from 0 to maximum."""
    return np.linspace(0.0, maximum, CELLS + 1)


def middles(maximum: float) -> NDArray[np.float64]:
    """The λ2 [CELLS] in the middle of each cell."""
    return (edges(maximum)[:-1] + edges(maximum)[1:]) / 2


def lines(weights: Weights, user: UserVectors, rows: Rows) -> Lines:
    """p, q [C] of the scores p − λ2·q of `rows`, in float64."""
    return of_terms(weights.form, weights.terms(user, torch.from_numpy(rows)), user)


def of_terms(form: Form, terms: Terms, user: UserVectors) -> Lines:
    """p, q [C] of the scores p − λ2·q of float64 terms."""
    removed = equations.removed(form, terms, user.null.double(), 1.0)
    return equations.undebiased(form, terms).numpy(), removed.numpy()


def floors(lists: Sequence[Lines], maximum: float) -> NDArray[np.float64]:
    """
    A score for each of `edges(maximum)`: an item below it at every edge is in no top k of the path.

    The least of k lines is concave. An item below it at both edges of a cell has a line that is below it in between
    too, where k items beat it therefore. Any k eligible items will do (all, where fewer are); the best ones in the
    middle of the cell leave few others.

    Args:
        lists: of the user's top k at each of `middles(maximum)`.
    """
    least = np.full(CELLS + 1, np.inf)
    for cell, (p, q) in enumerate(lists):
        for edge in (cell, cell + 1):
            least[edge] = min(least[edge], (p - edges(maximum)[edge] * q).min(initial=np.inf))
    return least


def trace(
    p: NDArray[np.float64], q: NDArray[np.float64], rows: Rows, maximum: float, k: int, limit: int
) -> Lambda2Path:
    """
    The path of the k best among lines p − λ2·q.

    Breakpoints are quotients of float64 differences. A served list breaks ties within 1e-12 by id, so that close to
    a breakpoint, and on pieces too short for scores to part by more, it may show two neighbours in the other order.

    Args:
        p, q, rows: [C]; equal lines keep this order, which is that of ids.
        maximum: 0 gives one piece of no length, the list at λ2 = 0.
        k: more than C counts as C; 0 gives one piece with an empty list.
        limit: the most pieces, at least 1.
    """
    order = _Order(p, q, min(k, len(rows)))
    pieces: list[Piece] = []
    start, now = 0.0, rows[order.top]
    while len(pieces) < limit:
        end, place = order.next_swap(start)
        if end >= maximum:
            pieces.append(Piece(start, float(maximum), now))
            return Lambda2Path(tuple(pieces), truncated=False)
        if end > start:
            pieces.append(Piece(start, end, now))
        order.swap(place)
        start, now = end, rows[order.top]
    return Lambda2Path(tuple(pieces), truncated=True)


class _Order:
    """
    The k best of C lines at some λ2, and what changes them next: a kinetic sorted list.

    Two neighbours swap where the upper line, falling faster, meets the lower; the k-th place is in the same way taken
    by the first line outside to meet it. A pair swaps once at most, whatever rounding does, so swaps come to an end.

    Fields: top [k], positions of the best, best first; swaps [k], the λ2 at which place j and the next one swap
    (for the last place: with `challenger`), infinite where never.
    """

    def __init__(self, p: NDArray[np.float64], q: NDArray[np.float64], k: int) -> None:
        """The order at λ2 = 0, equal scores by position."""
        order = np.argsort(-p, kind="stable")
        self.lines = p, q
        self.p, self.q = p.tolist(), q.tolist()  # numbers of Python: what two lines cost
        self.top = order[:k].tolist()
        self.outside = np.ones(len(p), dtype=bool)
        self.outside[self.top] = False
        self.challenger = -1
        self.swaps = np.full(k, np.inf)
        for place in range(k):
            self._look(place)

    def next_swap(self, now: float) -> tuple[float, int]:
        """The λ2 ≥ now of the next swap (infinite if there is none), and the place that swaps with the next one."""
        if not len(self.swaps):
            return np.inf, 0
        place = int(self.swaps.argmin())
        return max(float(self.swaps[place]), now), place

    def swap(self, place: int) -> None:
        """Let `place` and the next one change places."""
        upper = self.top[place]
        if place + 1 < len(self.top):
            self.top[place], self.top[place + 1] = self.top[place + 1], upper
        else:
            self.top[place] = self.challenger
            self.outside[self.challenger], self.outside[upper] = False, True
        for changed in range(max(place - 1, 0), min(place + 2, len(self.top))):
            self._look(changed)

    def _look(self, place: int) -> None:
        """When `place` swaps next. Of equal lines outside the first position comes first."""
        upper = self.top[place]
        if place + 1 < len(self.top):
            lower = self.top[place + 1]
            faster = self.q[upper] - self.q[lower]
            self.swaps[place] = (self.p[upper] - self.p[lower]) / faster if faster > 0 else np.inf
        elif self.outside.any():
            self.challenger, self.swaps[place] = self._first_to_meet(upper)

    def _first_to_meet(self, upper: int) -> tuple[int, float]:
        p, q = self.lines
        faster = q[upper] - q
        with np.errstate(over="ignore"):  # lines all but parallel meet at infinity
            met = np.divide(p[upper] - p, faster, out=np.full_like(p, np.inf), where=(faster > 0) & self.outside)
        first = int(met.argmin())
        return first, float(met[first])
