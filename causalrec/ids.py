"""Vocabulary: outside id ↔ dense row."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from causalrec.errors import DataError

MAX_ID_LENGTH = 256


def problem_with(outside_id: str) -> str | None:
    """Why `outside_id` cannot be an id, or None: ids are 1 to 256 printable characters, no line breaks."""
    if not outside_id:
        return "is empty"
    if len(outside_id) > MAX_ID_LENGTH:
        return f"has {len(outside_id)} characters, {MAX_ID_LENGTH} at most"
    if not outside_id.isprintable():
        return "holds an unprintable character"
    if outside_id != outside_id.strip():
        return "begins or ends with a space"
    return None


class Vocabulary:
    """
    The ids of one kind in row order. Row order is the ids' sorted order, so that ties by row are ties by id.

    Args:
        ids: sorted, distinct, each acceptable to `problem_with`.
    Raises: DataError naming the first id that breaks one of these.
    """

    __slots__ = ("_rows", "ids")

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids: tuple[str, ...] = tuple(ids)
        self._rows = {outside_id: row for row, outside_id in enumerate(self.ids)}
        for row, outside_id in enumerate(self.ids):
            if reason := problem_with(outside_id):
                raise DataError(f"id {outside_id[:80]!r} (row {row}) {reason}")
            if row and self.ids[row - 1] >= outside_id:
                raise DataError(
                    f"id {outside_id!r} (row {row}) follows {self.ids[row - 1]!r}: ids must be sorted and distinct"
                )

    @classmethod
    def of(cls, ids: Iterable[str]) -> "Vocabulary":
        """The vocabulary of the distinct `ids`, in any order."""
        return cls(sorted(set(ids)))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, outside_id: object) -> bool:
        return outside_id in self._rows

    def row(self, outside_id: str) -> int | None:
        """The row of `outside_id`, None if it is unknown."""
        return self._rows.get(outside_id)

    def rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """The rows of the known ones among `ids`, in the order given; unknown ids are passed over."""
        known = (self._rows.get(outside_id) for outside_id in ids)
        return np.fromiter((row for row in known if row is not None), dtype=np.int64)
