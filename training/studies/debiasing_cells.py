"""The cells of the studies of debiasing: one model under one seed, trained, judged and kept as soon as it is done."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from causalrec.errors import ConfigError
from causalrec.weights import Weights
from training.compare import outcome
from training.compare.cell import make_cell
from training.compare.config import CompareConfig
from training.compare.found import Found, load_found
from training.compare.grid import cells
from training.compare.outcome import Outcome
from training.prepare import Prepared
from training.report import markdown_table

log = logging.getLogger(__name__)


def settings(config: CompareConfig, compared: Path | None) -> list[Found]:
    """
    The settings of every model: its own, or those that the comparison in the folder `compared` found.

    Raises: ConfigError naming a model that was not compared there.
    """
    if compared is None:
        return [Found(entry.label, "", {}, source="its own settings") for entry in config.models]
    known = {entry.label: load_found(compared, entry.label) for entry in config.models}
    if missing := [label for label, found in known.items() if found is None]:
        raise ConfigError(
            f"--settings {compared}: nothing was found for {missing[0]!r} there; compare it first, "
            "or leave --settings out to take the configuration's own"
        )
    return [found for found in known.values() if found is not None]


def outcomes(
    config: CompareConfig,
    found: Sequence[Found],
    prepared: Prepared,
    seed: int,
    out: Path,
    told: Callable[[str], None],
    also: Callable[[Weights], dict[str, float]] | None = None,
) -> Iterator[Outcome]:
    """
    The outcome of every model under `seed`: read where it is there, else made, and written before the next one begins.

    Args:
        prepared: the data under `seed`; whatever sets it holds out are judged.
        out: its folder `cells` keeps them.
        told: is given a line per cell made.
        also: what else to note of a trained model, among its diagnostics.
    """
    for cell in cells(config.model_copy(update={"seeds": (seed,)}), found, prepared, out):
        if cell.state == "there":
            yield outcome.load(cell.path)
            continue
        if cell.state == "changed":
            log.info("%s, seed %d: made under other settings or of other data; made anew", cell.entry.label, seed)
        made = make_cell(cell, prepared, also)
        facts = made.facts
        told(f"{facts.label}, seed {seed}: λ2 {facts.lambda2:g} chosen, {facts.epochs} epochs, {facts.seconds:.0f} s")
        yield made


def settings_table(made: Sequence[Outcome]) -> str:
    """What the models were trained with, a row per model."""
    wanted = ("model.form", "fit.learning_rate", "fit.l2", "fit.l2_visual", "fit.match_weight", "fit.notice_weight")
    by_label = {one.facts.label: one.facts.settings for one in made}
    rows = [[label, *(str(kept.get(name, "")) for name in wanted)] for label, kept in by_label.items()]
    return markdown_table(["model", *wanted], rows)


class Ticks:
    """A bar over all the cells of a study, with a line for each one made."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._bar = tqdm(total=total, desc="cells", unit="cell", disable=quiet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def say(self, line: str) -> None:
        """Prints `line` above the bar."""
        self._bar.write(line)

    def done(self) -> None:
        """One cell more is there."""
        self._bar.update()
