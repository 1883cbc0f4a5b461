"""A folder with two bundles, and a link to the first."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.service.lifecycle.world import bundle, id_of, point


class Shelf(NamedTuple):
    """Where the bundles lie."""

    folder: Path
    link: Path
    one: Path
    other: Path

    @property
    def ids(self) -> tuple[str, str]:
        """Of the two bundles."""
        return id_of(self.one), id_of(self.other)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Two bundles with the same users and items, and other weights; the link leads to the first."""
    folder = tmp_path / "bundles"
    one, other = bundle(folder, 1), bundle(folder, 2)
    point(folder / "random", one)
    return Shelf(folder, folder / "random", one, other)
