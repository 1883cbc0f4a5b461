"""How long the trainings of a comparison take, by one timed epoch of each model; and whether they can begin at all."""

import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from causalrec.errors import CausalRecError, ConfigError, DataError
from training.compare.cell import judged
from training.compare.config import CompareConfig, Entry
from training.config import RunConfig
from training.export import served_weights
from training.fit import Diverged
from training.prepare import Prepared
from training.run import fitted, new_model


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of one model's work take on one thread, and the epochs of a training at most."""

    build: float
    epoch: float
    judge: float
    epochs: int

    @property
    def training(self) -> float:
        """Seconds of one training that does not stop early."""
        return self.build + self.epochs * self.epoch


def check(config: CompareConfig, entries: Iterable[Entry], prepared: Prepared) -> dict[str, float]:
    """
    Builds every model once, so that what the data lacks is known before anything is trained.

    Returns: seconds per model. Raises: ConfigError naming the model and what it lacks.
    """
    seconds = {}
    for entry in entries:
        started = time.perf_counter()
        try:
            new_model(config.run(entry, config.seeds[0], {}), prepared)
        except CausalRecError as error:
            raise ConfigError(f"{entry.label}: {error}") from error
        seconds[entry.label] = time.perf_counter() - started
    return seconds


def measure(
    config: CompareConfig, entries: Sequence[Entry], built: dict[str, float], prepared: Prepared, *, quiet: bool
) -> dict[str, Pace]:
    """One epoch of each model timed, on one thread, and the judging of a first one's scores: all cost alike."""
    first = config.run(entries[0], config.seeds[0], {})
    weights = served_weights(first, prepared, new_model(first, prepared))
    started = time.perf_counter()
    judged(first, prepared, weights, prepared.test)
    judging = 2 * (time.perf_counter() - started)  # validation and test
    _one_epoch(first, prepared)  # not counted: the first one ever also loads and warms up
    paces = {}
    for entry in tqdm(entries, desc="timing one epoch of each model", unit="model", disable=quiet, leave=False):
        run = config.run(entry, config.seeds[0], {})
        seconds, build = _one_epoch(run, prepared), built[entry.label]
        paces[entry.label] = Pace(build, max(seconds - build, 0.0), judging, run.fit.epochs)
    return paces


def _one_epoch(run: RunConfig, prepared: Prepared) -> float:
    """Seconds that building the model, one epoch and its validation take."""
    with tempfile.TemporaryDirectory() as folder:
        once = run.fit.model_copy(update={"epochs": 1, "checkpoints": Path(folder)})
        started = time.perf_counter()
        with suppress(Diverged, DataError):  # which is said when it is trained in earnest
            fitted(run.model_copy(update={"fit": once}), prepared, quiet=True)
        return time.perf_counter() - started
