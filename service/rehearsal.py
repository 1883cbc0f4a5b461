"""What was asked lately, kept to make the next bundle prove itself by."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from causalrec.errors import RequestError
from service.planning import Wanted, WantedPath
from service.ranking import Ranker

TIMED: Final = 20  # requests that both bundles answer for the comparison of their times


class Rehearsed(NamedTuple):
    """
    How a bundle did. refused: requests that it calls wrong (a λ2 beyond its range, a filter over a column that it has
    not). slower: its time over that of the bundle served meanwhile, None where nothing was compared.
    """

    requests: int
    refused: int
    slower: float | None


class Recent:
    """The last `most` requests for lists, in memory only; 0 keeps none."""

    def __init__(self, most: int) -> None:
        self._ring: deque[Wanted] = deque(maxlen=most)

    def add(self, asks: Iterable[Wanted | WantedPath]) -> None:
        """Called by the scoring thread."""
        self._ring.extend(ask for ask in asks if isinstance(ask, Wanted))

    def asked(self) -> list[Wanted]:
        """The oldest first. Any thread may ask: a deque is copied whole."""
        return list(self._ring.copy())


def rehearse(new: Ranker, serving: Ranker, asked: Sequence[Wanted]) -> Rehearsed:
    """
    Has `new` answer every request once, which fills its caches, then times some on both bundles.

    Raises: whatever `new` raises that is not the request's own fault.
    """
    answered = [wanted for wanted in asked if not _refuses(new, wanted)]
    both = answered[-TIMED:]
    ours, theirs = 0.0, 0.0
    for wanted in both:
        ours += _seconds(new, wanted)
        theirs += _seconds(serving, wanted)
    return Rehearsed(len(asked), len(asked) - len(answered), ours / theirs if both else None)


def _refuses(ranker: Ranker, wanted: Wanted) -> bool:
    (outcome,) = ranker.rank_many([wanted])
    if isinstance(outcome, RequestError):
        return True
    if isinstance(outcome, Exception):
        raise outcome
    return False


def _seconds(ranker: Ranker, wanted: Wanted) -> float:
    begun = time.perf_counter()
    ranker.rank_many([wanted])
    return time.perf_counter() - begun
