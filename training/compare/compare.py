"""The comparison, from configuration to report: settings searched for, cells trained, everything kept as it comes."""

import importlib.util
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from causalrec.errors import InstallationError
from causalrec.files import remove_leftovers
from training.compare import outcome, report
from training.compare.config import CompareConfig, Entry
from training.compare.found import Found
from training.compare.grid import Cell, cells, chosen, settled
from training.compare.pace import check, measure
from training.compare.progress import Overview, cells_to_do, in_words
from training.compare.search import Quest
from training.compare.told import about
from training.compare.work import Workplace
from training.compare.workers import Crew, one_thread
from training.prepare import Prepared
from training.run import checkpoint_path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wishes:
    """How a comparison is to be run, beside its configuration."""

    command: str
    """As the report quotes it."""
    labels: tuple[str, ...] | None = None
    """Only these models are searched and trained; None: all."""
    jobs: int = 1
    report_only: bool = False
    fresh: bool = False
    skip_bad: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Compared:
    """What came of it."""

    report: Path
    problems: tuple[str, ...]
    """A line for each search or cell that gave nothing."""


def compare(config: CompareConfig, data: Path, out: Path, wishes: Wishes) -> Compared:
    """
    Does what is not below `out` yet, and writes the report of all that is there then.

    The same call again goes on where an interruption broke off: at most one cell per worker is lost, and within it at
    most what fit.checkpoint_seconds allows. A changed configuration makes anew what it touches.

    Raises: ConfigError, DataError before anything is trained where something cannot be; InstallationError.
    """
    entries = chosen(config, wishes.labels)
    _installed("optuna", "matplotlib")
    if wishes.fresh:
        for folder in ("cells", "checkpoints", "search"):
            shutil.rmtree(out / folder, ignore_errors=True)
    place = Workplace(config, data, out, wishes.skip_bad)
    prepared = place.prepared(config.seeds[0])
    log.info("%s", prepared.statistics)
    problems = [] if wishes.report_only else _work(place, entries, prepared, wishes)
    found = [known for entry in config.models if (known := settled(config, entry, prepared, out)[0]) is not None]
    there = [cell.path for cell in cells(config, found, prepared, out) if cell.state == "there"]
    peers = sorted((out / "peers").glob("*/seed-*.safetensors"))
    outcomes = (outcome.load(path) for path in [*there, *peers])
    searched = [each.searched() for each in found]
    written = report.write(outcomes, searched, about(config, prepared, wishes.command), out)
    return Compared(written, tuple(problems))


def _installed(*packages: str) -> None:
    """Raises InstallationError now, not after hours of training."""
    if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
        raise InstallationError(f"a comparison needs {' and '.join(missing)}: pip install 'causalrec[compare]'")


def _work(place: Workplace, entries: Sequence[Entry], prepared: Prepared, wishes: Wishes) -> list[str]:
    config, out = place.config, place.out
    known, quests = _settings(config, entries, prepared, out)
    todo = cells(config, known, prepared, out)
    expected = cells_to_do(todo) + Counter({quest.entry.label: len(config.seeds) for quest in quests})
    busy = [entry for entry in entries if expected[entry.label]]
    if not busy:
        log.info("all %d cells are there", len(todo))
        return []
    built = check(config, busy, prepared)
    with one_thread():
        paces = measure(config, busy, built, prepared, quiet=wishes.quiet)
    overview = Overview(config, paces, wishes.jobs, quiet=wishes.quiet)
    with logging_redirect_tqdm(), overview, Crew(place, wishes.jobs) as crew:
        overview.expect(quests, expected)
        log.info(
            "%d searches, %d cells on %d worker(s): at most about %s, an estimate by one timed epoch of each model",
            *(len(quests), expected.total(), wishes.jobs, in_words(overview.left)),
        )
        problems = crew.do(quests, overview.hear)
        known, _ = _settings(config, entries, prepared, out)
        todo = cells(config, known, prepared, out)
        _say(todo)
        _forget_checkpoints(out, todo)
        overview.expect([], cells_to_do(todo))
        return problems + crew.do([cell for cell in todo if cell.state != "there"], overview.hear)


def _settings(
    config: CompareConfig, entries: Sequence[Entry], prepared: Prepared, out: Path
) -> tuple[list[Found], list[Quest]]:
    """The settings known, where no search is still to be made for them; and the searches to make."""
    both = [settled(config, entry, prepared, out) for entry in entries]
    known = [found for found, quest in both if found is not None and quest is None]
    return known, [quest for _, quest in both if quest is not None]


def _say(todo: Sequence[Cell]) -> None:
    for cell in todo:
        if cell.state == "changed":
            log.info(
                "%s, seed %d: made under other settings or of other data, so made anew", cell.entry.label, cell.seed
            )
    kept = sum(cell.state == "there" for cell in todo)
    log.info("%d cells are there, %d to train", kept, len(todo) - kept)


def _forget_checkpoints(out: Path, todo: Sequence[Cell]) -> None:
    """Removes what no cell goes on from: of settings since changed, of searches that are over, of killed writers."""
    wanted = {checkpoint_path(cell.config) for cell in todo if cell.state != "there"}
    for path in (out / "checkpoints").glob("*.checkpoint.safetensors"):
        if path not in wanted:
            path.unlink()
    for folder in (out / "checkpoints", *(out / "cells").glob("*")):
        remove_leftovers(folder)
