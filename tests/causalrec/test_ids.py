"""Vocabulary: outside ids in sorted order are rows, and odd ids are named."""

import pytest

from causalrec.errors import DataError
from causalrec.ids import Vocabulary


def test_rows_follow_the_sorted_ids() -> None:
    """Ties by row are ties by id, and unknown ids have no row."""
    vocabulary = Vocabulary.of(["bob", "ann", "bob", "zoë", "a/b"])

    assert vocabulary.ids == ("a/b", "ann", "bob", "zoë")
    assert [vocabulary.row(outside) for outside in ("ann", "zoë", "nobody")] == [1, 3, None]
    assert vocabulary.rows(["zoë", "nobody", "a/b"]).tolist() == [3, 0]
    assert "bob" in vocabulary
    assert len(vocabulary) == 4


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([""], "is empty"),
        (["x" * 257], "has 257 characters, 256 at most"),
        (["a\nb"], "unprintable"),
        ([" a"], "begins or ends with a space"),
        (["b", "a"], "sorted and distinct"),
        (["a", "a"], "sorted and distinct"),
    ],
)
def test_odd_ids_are_named(ids: list[str], message: str) -> None:
    """The error names the id, its row and what is wrong with it."""
    with pytest.raises(DataError, match=message):
        Vocabulary(ids)
