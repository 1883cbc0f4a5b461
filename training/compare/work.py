"""The pieces of a comparison, searches and cells, each done whole by one worker and kept on disk."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from training.compare.cell import make_cell
from training.compare.config import CompareConfig
from training.compare.found import Trial, save_found
from training.compare.grid import Cell
from training.compare.search import Quest, search
from training.prepare import Prepared, prepare

Piece = Quest | Cell


class News(NamedTuple):
    """What a worker says while it works."""

    kind: Literal["begun", "trial", "ended"]
    label: str
    seed: int | None
    """None for a search."""
    seconds: float = 0.0
    """Wall-clock of the trial, or of the cell."""


Tell = Callable[[News], None]


@dataclass
class Workplace:
    """What a worker needs for any piece; it keeps the data prepared under the last seed asked for."""

    config: CompareConfig
    data: Path
    out: Path
    skip_bad: bool = False
    _seed: int | None = field(default=None, repr=False)
    _prepared: Prepared | None = field(default=None, repr=False)

    def prepared(self, seed: int) -> Prepared:
        """The data under the split of `seed`. Raises: DataError, ConfigError."""
        if self._prepared is None or self._seed != seed:
            self._prepared = None  # two at a time would be twice the memory
            self._prepared = prepare(self.config.base(seed), self.data, skip_bad=self.skip_bad)
            self._seed = seed
        return self._prepared

    def do(self, piece: Piece, tell: Tell) -> None:
        """Does `piece` and writes down what it gives. Raises: CausalRecError."""
        label, seed = piece.entry.label, named_seed(piece)
        tell(News("begun", label, seed))
        if isinstance(piece, Cell):
            prepared, started = self.prepared(piece.seed), time.perf_counter()
            make_cell(piece, prepared)
            tell(News("ended", label, seed, time.perf_counter() - started))
            return

        def tried(trial: Trial) -> None:
            tell(News("trial", label, seed, trial.seconds))

        found = search(self.config, piece, self.prepared(self.config.seeds[0]), self.out, tried)
        save_found(found, self.out)
        tell(News("ended", label, seed))

    def alone(self) -> "Workplace":
        """The same without what it keeps: for a process of its own."""
        return Workplace(self.config, self.data, self.out, self.skip_bad)


def named_seed(piece: Piece) -> int | None:
    """The seed of a cell, None for a search."""
    return piece.seed if isinstance(piece, Cell) else None
