"""Every error the project raises on purpose has one status."""

from causalrec.errors import CausalRecError
from service import app, problem_kinds  # app: so that every module with an error class of its own is imported
from service.problem_kinds import BY_ERROR


def descendants(root: type[CausalRecError]) -> set[type[CausalRecError]]:
    return {root}.union(*(descendants(child) for child in root.__subclasses__()))


def test_every_error_has_a_status() -> None:
    """A new error class without a place in the mapping fails here, not in production."""
    ours = {error for error in descendants(CausalRecError) if error.__module__.startswith(("causalrec.", "service."))}

    assert app
    assert ours == set(BY_ERROR)


def test_only_internal_kinds_hide_their_message() -> None:
    """What the caller can mend is said; what is ours stays in the log."""
    kinds = {*BY_ERROR.values(), *problem_kinds.BY_STATUS.values()}

    assert {kind.status for kind in kinds if kind.internal} == {500}
    assert all(kind.internal for kind in kinds if kind.status == 500)
    assert len({kind.name for kind in kinds}) == len(kinds)
