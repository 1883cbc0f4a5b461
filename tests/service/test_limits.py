"""Memory that a container is given, as either version of control groups says it."""

import math
from pathlib import Path

import pytest

from service.limits import memory_limit


@pytest.mark.parametrize(
    ("said", "limit"), [("536870912\n", 536870912), ("max\n", math.inf), ("9223372036854771712\n", math.inf)]
)
def test_the_limit_is_what_the_control_group_says(tmp_path: Path, said: str, limit: float) -> None:
    """Both ways of saying "none" are infinite."""
    file = tmp_path / "memory.max"
    file.write_text(said)

    assert memory_limit((tmp_path / "absent", file)) == limit


def test_where_nothing_says_so_there_is_no_limit(tmp_path: Path) -> None:
    """Outside containers, and on other systems."""
    assert memory_limit((tmp_path / "absent",)) == math.inf
