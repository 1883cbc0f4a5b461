"""Golden answers: made at export, replayed before a service says ready."""

from collections.abc import Sequence

from causalrec.errors import BundleMismatch
from causalrec.manifest import Golden

SCORE_TOLERANCE = 1e-5  # another CPU or a GPU must still become ready
SWAP_TOLERANCE = 2e-5  # neighbours closer than this may change places


def check_answer(expected: Golden, item_ids: Sequence[str], scores: Sequence[float]) -> None:
    """
    Compares an answer with the golden one: scores within 1e-5; ids equal except where scores lie within 2e-5.

    Raises: BundleMismatch naming user, λ2 and the first place that differs.
    """
    who = f"golden answer of user {expected.user_id!r} at lambda2={expected.lambda2}"
    if len(item_ids) != len(expected.items):
        raise BundleMismatch(f"{who}: {len(item_ids)} items instead of {len(expected.items)}")
    for place, (item_id, score, wanted) in enumerate(zip(item_ids, scores, expected.items, strict=True), start=1):
        if abs(score - wanted.score) > SCORE_TOLERANCE:
            raise BundleMismatch(f"{who}: place {place} scores {score}, expected {wanted.score}")
        if item_id != wanted.item_id and not _may_stand_here(item_id, score, expected):
            raise BundleMismatch(f"{who}: place {place} is {item_id!r}, expected {wanted.item_id!r}")


def _may_stand_here(item_id: str, score: float, expected: Golden) -> bool:
    elsewhere = next((item.score for item in expected.items if item.item_id == item_id), None)
    # an item from outside the golden list can only have come in over its last place
    return abs(score - (expected.items[-1].score if elsewhere is None else elsewhere)) < SWAP_TOLERANCE
