"""The search over one model's settings: Optuna, the same budget for every model, resumed trial by trial."""

import logging
import time
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from causalrec.errors import DataError
from training import checkpoint
from training.checkpoint import Progress
from training.compare.config import CompareConfig, Entry, Setting, Span
from training.compare.found import Found, Trial, best_settings, in_words
from training.compare.outcome import slug
from training.config import RunConfig
from training.fit import Diverged
from training.prepare import Prepared
from training.run import checkpoint_path, fitted, identity

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quest:
    """What is to be searched for one model, and within what budget."""

    entry: Entry
    identity: str
    spans: dict[str, Span]
    queue: tuple[dict[str, Setting], ...]
    """Settings tried first, the first of them those the search begins with."""
    given: dict[str, Setting]
    """Settings that stay."""
    trials: int
    seconds: float
    source: str = ""


class _OutOfTime(Exception):
    """The time allowed to one model's search is over."""


def search(config: CompareConfig, quest: Quest, prepared: Prepared, out: Path, tell: Callable[[Trial], None]) -> Found:
    """
    Looks for the settings with the best validation NDCG@k of clicks at λ2 = 0, on the comparison's first seed.

    What was tried before is kept in out/search and not tried again; a training under way goes on from its checkpoint.
    Whether the search was interrupted makes no difference to what it tries next.

    Args:
        tell: is given every finished trial, those of earlier runs first.
    Raises: ConfigError, DataError.
    """
    optuna = _optuna()
    study = _study(optuna, quest, out)
    distributions = {field: _distribution(optuna, config, quest, field) for field in quest.spans}
    done = _finished(optuna, study)
    for trial in done:
        tell(trial)
    for settings in quest.queue:
        study.enqueue_trial(settings, skip_if_exists=True)
    while len(done) < quest.trials and (left := quest.seconds - sum(trial.seconds for trial in done)) > 0:
        study.sampler = _sampler(optuna, config, quest, len(done))
        number, settings = _next(optuna, study, distributions)
        run = config.run(quest.entry, config.seeds[0], {**quest.given, **settings})
        name = f"{slug(quest.entry.label)[:40]}-{quest.identity[:8]}-{number}"
        run = run.model_copy(
            update={"name": name, "fit": run.fit.model_copy(update={"checkpoints": out / "checkpoints"})}
        )
        tried = _try(run, prepared, {**quest.given, **settings}, left)
        _keep(optuna, study, number, tried)
        checkpoint_path(run).unlink(missing_ok=True)
        done = (*done, tried)
        tell(tried)
    settings = best_settings(done, {**quest.given, **quest.queue[0]})
    return Found(quest.entry.label, quest.identity, settings, done, in_words(quest.spans), quest.source)


def _try(run: RunConfig, prepared: Prepared, settings: dict[str, Setting], seconds: float) -> Trial:
    """One training, for at most `seconds`, what it took before an interruption included."""
    before = Progress("")
    with suppress(DataError):  # no checkpoint: it begins now
        before = checkpoint.load_progress(checkpoint_path(run), identity(run, prepared))
    started = time.monotonic() - before.seconds
    values: list[float] = [] if before.best_epoch < 0 else [before.best_metric]
    validations = 0

    def watch(value: float) -> None:
        nonlocal validations
        validations += 1
        values.append(value)
        if time.monotonic() - started > seconds:
            raise _OutOfTime

    def trial(value: float | None, epochs: int, *, cut: bool = False) -> Trial:
        return Trial(settings, value, time.monotonic() - started, epochs, cut)

    try:
        _, progress = fitted(run, prepared, resume=True, quiet=True, watch=watch)
    except _OutOfTime:
        return trial(max(values), before.epochs_done + validations * run.fit.validate_every, cut=True)
    except (Diverged, DataError) as error:  # scores that are no numbers are a DataError of the evaluation
        log.warning("%s: %s", run.name, error)
        return trial(None, before.epochs_done + validations * run.fit.validate_every)
    return trial(progress.best_metric, progress.epochs_done)


def _optuna() -> types.ModuleType:
    import optuna  # noqa: PLC0415 - half a second, and an extra; `compare` has checked that it is there

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, quest: Quest, out: Path) -> Any:
    folder = out / "search"
    folder.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / f"{slug(quest.entry.label)}.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.create_study(storage=storage, study_name=quest.identity, direction="maximize", load_if_exists=True)


def _sampler(optuna: Any, config: CompareConfig, quest: Quest, done: int) -> Any:
    """A sampler whose draws depend on the seed and on how many trials there are: interruptions change nothing."""
    seed = (config.search.seed * 10_007 + done) % 2**32
    if config.search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, quest.trials // 3))


def _distribution(optuna: Any, config: CompareConfig, quest: Quest, field: str) -> Any:
    span = quest.spans[field]
    if span.choices is not None:
        return optuna.distributions.CategoricalDistribution(span.choices)
    section, name = field.split(".", 1)
    run = config.run(quest.entry, config.seeds[0], {field: span.ends[0]})
    if isinstance(getattr(getattr(run, section), name), int):
        return optuna.distributions.IntDistribution(span.low, span.high, log=span.log)
    return optuna.distributions.FloatDistribution(span.low, span.high, log=span.log)


def _next(optuna: Any, study: Any, distributions: dict[str, Any]) -> tuple[int, dict[str, Setting]]:
    """Number and settings of the trial that an interruption left under way, else of a new one."""
    states = optuna.trial.TrialState
    for left in study.get_trials(deepcopy=False, states=[states.RUNNING]):
        if set(left.params) == set(distributions):
            return left.number, dict(left.params)
        study.tell(left.number, state=states.FAIL)  # killed before all its settings were drawn
        if left.system_attrs.get("fixed_params"):
            study.enqueue_trial(left.system_attrs["fixed_params"])
    asked = study.ask(distributions)
    return asked.number, dict(asked.params)


def _keep(optuna: Any, study: Any, number: int, tried: Trial) -> None:
    """Facts first: killed in between, the trial counts as under way, and its checkpoint as finished."""
    study.set_user_attr(str(number), asdict(tried))
    if tried.value is None:
        study.tell(number, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(number, tried.value)


def _finished(optuna: Any, study: Any) -> tuple[Trial, ...]:
    states = optuna.trial.TrialState
    ended = study.get_trials(deepcopy=False, states=[states.COMPLETE, states.PRUNED])
    return tuple(Trial(**study.user_attrs[str(trial.number)]) for trial in ended)
