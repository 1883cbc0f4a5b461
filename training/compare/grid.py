"""What a comparison consists of, and what of it is there already: searches to make, cells to train."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causalrec.errors import ConfigError, DataError
from training.compare import outcome
from training.compare.config import CompareConfig, Entry, Setting, Span
from training.compare.found import Found, load_found
from training.compare.search import Quest
from training.config import RunConfig
from training.prepare import Prepared
from training.run import identity

log = logging.getLogger(__name__)

CHECKED = 3.0
"""The learning rates tried beside one found elsewhere: a third of it, and three times."""


@dataclass(frozen=True)
class Cell:
    """One model under one seed, ready to be trained."""

    entry: Entry
    config: RunConfig
    identity: str
    path: Path
    state: str
    """"there", "new", or "changed": what is there was made under other settings, or of other data."""

    @property
    def seed(self) -> int:
        """Which of the comparison's."""
        return self.config.seed


def quest(config: CompareConfig, entry: Entry, prepared: Prepared) -> Quest | None:
    """
    The search for `entry`; None where its own settings are taken as they are.

    Raises: ConfigError where the settings were to come from another comparison, which has none for it.
    """
    wanted = config.search
    given: dict[str, Setting] = {}
    spans, start = entry.spans, config.start(entry)
    queue: tuple[dict[str, Setting], ...] = (start,)
    trials, source = wanted.trials, ""
    if wanted.settings_from is not None and spans:
        given, source = _found_elsewhere(config, entry, wanted.settings_from), wanted.settings_from.name
        rate = config.run(entry, config.seeds[0], given).fit.learning_rate
        rates = (rate, rate / CHECKED, rate * CHECKED)
        spans = {"fit.learning_rate": Span(choices=rates)}
        queue = tuple({"fit.learning_rate": each} for each in rates)
        trials = len(queue) if wanted.check_learning_rate else 0
    if not spans or (not trials and not given):
        return None
    basis = [
        identity(config.run(entry, config.seeds[0], given), prepared),
        {field: span.model_dump() for field, span in spans.items()},
        [wanted.seed, wanted.sampler, [list(settings.items()) for settings in queue]],
    ]
    return Quest(entry, digest(basis), spans, queue, given, trials, wanted.minutes * 60.0, source)


def _found_elsewhere(config: CompareConfig, entry: Entry, folder: Path) -> dict[str, Setting]:
    found = load_found(folder, entry.label)
    if found is None:
        raise ConfigError(
            f"search.from = {str(folder)!r} has no settings of {entry.label!r}; "
            "compare there first, or leave search.from out to search here"
        )
    try:
        config.run(entry, config.seeds[0], found.settings)
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"search.from = {str(folder)!r}: its settings of {entry.label!r} do not fit: {error}"
        ) from error
    return found.settings


def settled(config: CompareConfig, entry: Entry, prepared: Prepared, out: Path) -> tuple[Found | None, Quest | None]:
    """What is known of the settings of `entry`, and the search that is still to be made for them."""
    wanted = quest(config, entry, prepared)
    if wanted is None:
        return Found(entry.label, "", {}, source="its own settings, not searched for"), None
    if not wanted.trials:
        return Found(entry.label, wanted.identity, wanted.given, source=wanted.source), None
    there = load_found(out, entry.label)
    if there is None or there.identity != wanted.identity:
        return None, wanted
    enough = len(there.trials) >= wanted.trials or there.seconds >= wanted.seconds
    return there, None if enough else wanted


def cells(config: CompareConfig, found: Sequence[Found], prepared: Prepared, out: Path) -> list[Cell]:
    """The cells of the models in `found`, seed by seed, so that a comparison broken off has every model of a seed."""
    settings = {each.label: each.settings for each in found}
    entries = [entry for entry in config.models if entry.label in settings]
    return [
        _cell(config, entry, seed, settings[entry.label], prepared, out) for seed in config.seeds for entry in entries
    ]


def chosen(config: CompareConfig, labels: Sequence[str] | None) -> list[Entry]:
    """The models of those `labels`, all for None. Raises: ConfigError naming a label that there is not."""
    known = [entry.label for entry in config.models]
    if unknown := [label for label in labels or () if label not in known]:
        raise ConfigError(f"--models {unknown[0]!r}: there is no such model in the comparison; one of {known} is")
    return [entry for entry in config.models if labels is None or entry.label in labels]


def digest(described: Any) -> str:
    """sha256 of anything that JSON can say."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _cell(
    config: CompareConfig, entry: Entry, seed: int, settings: dict[str, Setting], prepared: Prepared, out: Path
) -> Cell:
    run = config.run(entry, seed, settings)
    judged = run.model_dump(mode="json", include={"evaluate": {"k", "lambda2"}, "model": {"null_match", "null_visual"}})
    mine = digest([outcome.VERSION, identity(run, prepared), judged])
    path = outcome.cell_path(out, entry.label, seed)
    name = f"{outcome.slug(entry.label)[:40]}-{mine[:8]}"
    kept = run.fit.model_copy(update={"checkpoints": out / "checkpoints"})
    run = run.model_copy(update={"name": name, "fit": kept})
    return Cell(entry, run, mine, path, _state(path, mine))


def _state(path: Path, identity: str) -> str:
    if not path.exists():
        return "new"
    try:
        return "there" if outcome.load_facts(path).identity == identity else "changed"
    except DataError as error:
        log.warning("%s", error)
        return "changed"
