"""Golden answers: equal within tolerance, and nothing looser."""

import pytest

from causalrec.errors import BundleMismatch
from causalrec.golden import check_answer
from causalrec.manifest import Golden, GoldenItem

GOLDEN = Golden(
    user_id="ann",
    lambda2=0.4,
    k=3,
    items=(
        GoldenItem(item_id="a", score=0.5),
        GoldenItem(item_id="b", score=0.499995),
        GoldenItem(item_id="c", score=0.1),
    ),
)


@pytest.mark.parametrize(
    ("ids", "scores"),
    [
        (["a", "b", "c"], [0.5, 0.499995, 0.1]),
        (["a", "b", "c"], [0.500009, 0.49999, 0.099992]),
        (["b", "a", "c"], [0.500001, 0.499999, 0.1]),
        (["a", "b", "d"], [0.5, 0.499995, 0.100008]),
    ],
)
def test_differences_within_the_tolerance_pass(ids: list[str], scores: list[float]) -> None:
    """Scores may differ by 1e-5, and neighbours closer than 2e-5 may change places, the last one included."""
    check_answer(GOLDEN, ids, scores)


@pytest.mark.parametrize(
    ("ids", "scores", "message"),
    [
        (["a", "b"], [0.5, 0.499995], "2 items instead of 3"),
        (["a", "b", "c"], [0.5, 0.499995, 0.10002], "place 3 scores 0.10002, expected 0.1"),
        (["c", "b", "a"], [0.5, 0.499995, 0.1], "place 1 is 'c', expected 'a'"),
        (["d", "b", "c"], [0.5, 0.499995, 0.1], "place 1 is 'd', expected 'a'"),
    ],
)
def test_anything_else_is_refused(ids: list[str], scores: list[float], message: str) -> None:
    """The message names the user, λ2 and the first place that differs."""
    with pytest.raises(BundleMismatch, match=f"user 'ann' at lambda2=0.4.*{message}"):
        check_answer(GOLDEN, ids, scores)
