"""What a user did, newest first, as the items that fold-in learns from and the items that count as seen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from causalrec.foldin import recency
from causalrec.topk import Rows
from service.catalogue import Catalogue
from service.events import EventType

Did = tuple[str, EventType]  # an item's id, and what was done with it

STRENGTH: Final[Mapping[EventType, float]] = {"purchase": 1.0, "rating": 0.8, "cart": 0.7, "click": 0.5}
"""How much one act says of what a user wants, by its type; an impression says nothing."""
EXCLUDING: Final[frozenset[EventType]] = frozenset({"click", "cart", "purchase", "rating"})
"""The acts after which an item counts as seen, unless the service is told otherwise."""


def evidence(did: Iterable[Did], catalogue: Catalogue, known: Rows) -> tuple[Rows, NDArray[np.float64]]:
    """
    What fold-in learns from: distinct rows [n] of trained items, the one last turned to first, and their strengths.

    An item counts by the strongest of its acts, times `foldin.recency` of its place. Items that are unknown, or came
    after training, teach nothing: they have no vector that was learnt.

    Args:
        known: sorted rows that the user's vectors were trained on; what they say is in there already.
    """
    strengths: dict[int, float] = {}
    for item_id, act in did:
        row = catalogue.row(item_id)
        if row is not None and row < catalogue.bundle_items and act in STRENGTH:
            strengths[row] = max(strengths.get(row, 0.0), STRENGTH[act])
    rows = np.fromiter(strengths, dtype=np.int64, count=len(strengths))
    new = np.ones(len(rows), dtype=bool)
    if len(known):
        new = known[np.minimum(np.searchsorted(known, rows), len(known) - 1)] != rows
    return rows[new], np.fromiter(strengths.values(), dtype=np.float64)[new] * recency(int(new.sum()))


def seen(did: Sequence[Did], catalogue: Catalogue, excluding: frozenset[EventType]) -> Rows:
    """The rows of items with an act of a type in `excluding`; repeated rows, in any order."""
    return catalogue.rows(item_id for item_id, act in did if act in excluding)
