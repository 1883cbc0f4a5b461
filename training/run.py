"""The recipe: data → images → sampling → fit → evaluate → export."""

import hashlib
import json
import logging
from pathlib import Path

import torch

from causalrec.errors import DataError
from causalrec.model import CausalRec
from causalrec.weights import Weights
from training import checkpoint
from training.config import RunConfig
from training.evaluate import Evaluation, evaluate
from training.export import export, served_weights
from training.fit import fit, pick_device
from training.metrics import Relevant
from training.prepare import Prepared, prepare
from training.sampling import Sampler

log = logging.getLogger(__name__)


def run(config: RunConfig, data: Path, *, resume: bool = False, skip_bad: bool = False, quiet: bool = False) -> Path:
    """
    One training run, from the data directory to the bundle.

    Args:
        resume: go on from the run's checkpoint, where there is one.
        skip_bad: count unusable lines and pictures and go on instead of stopping at them.
        quiet: no progress bars.
    Returns: the bundle's directory.
    Raises: CausalRecError.
    """
    prepared = prepare(config, data, skip_bad=skip_bad)
    log.info("%s", prepared.statistics)
    model = train(config, prepared, resume=resume, quiet=quiet)
    return finish(config, prepared, model, quiet=quiet)


def train(config: RunConfig, prepared: Prepared, *, resume: bool = False, quiet: bool = False) -> CausalRec:
    """A model fitted to the training part, with the weights of the epoch that did best on validation clicks."""
    model = new_model(config, prepared)
    user, item = prepared.dataset.interactions.user, prepared.dataset.interactions.item
    chosen = prepared.split.train
    sampler = Sampler(user[chosen], item[chosen], len(prepared.dataset.items), config.seed)
    clicks = {"clicks": prepared.valid["clicks"]}
    metric = f"NDCG@{min(config.evaluate.k, len(prepared.dataset.items))}"

    def validate(candidate: CausalRec) -> float:
        found = evaluate(
            served_weights(config, prepared, candidate),
            prepared.seen,
            clicks,
            (0.0,),
            config.evaluate.k,
            references=False,
            users_per_block=config.evaluate.users_per_block,
            quiet=True,
        )
        return found.mean(0.0, metric)

    progress = fit(
        model,
        sampler,
        validate,
        config.fit,
        identity=identity(config, prepared),
        path=checkpoint_path(config),
        resume=resume,
        quiet=quiet,
    )
    log.info(
        "best epoch %d of %d: validation %s %.4f",
        progress.best_epoch,
        progress.epochs_done,
        metric,
        progress.best_metric,
    )
    return model


def finish(config: RunConfig, prepared: Prepared, model: CausalRec, *, quiet: bool = False) -> Path:
    """Evaluates the model on validation and test and exports it."""
    valid, test = sweep(config, prepared, served_weights(config, prepared, model), quiet=quiet)
    return export(config, prepared, model, valid, test, quiet=quiet)


def sweep(
    config: RunConfig, prepared: Prepared, weights: Weights, *, quiet: bool = False
) -> tuple[Evaluation, Evaluation]:
    """Every ranking on validation and on test."""
    chosen = config.evaluate

    def judged(sets: dict[str, Relevant]) -> Evaluation:
        return evaluate(
            weights,
            prepared.seen,
            sets,
            chosen.lambda2,
            chosen.k,
            users_per_block=chosen.users_per_block,
            quiet=quiet,
        )

    return judged(prepared.valid), judged(prepared.test)


def new_model(config: RunConfig, prepared: Prepared) -> CausalRec:
    """The untrained model on its device; its initial weights depend on the seed alone."""
    users, items = len(prepared.dataset.users), len(prepared.dataset.items)
    generator = torch.Generator().manual_seed(config.seed)
    return CausalRec(config.model, users, items, prepared.features, generator).to(pick_device(config.fit.device))


def trained_model(config: RunConfig, prepared: Prepared) -> CausalRec:
    """The best epoch in the run's checkpoint. Raises: DataError: there is none; ConfigError: it is another run's."""
    path = checkpoint_path(config)
    if not path.exists():
        raise DataError(f"{path}: there is no checkpoint; run `python -m training --config … --data …` first")
    checkpoint.load_progress(path, identity(config, prepared))
    model = new_model(config, prepared)
    model.load_state_dict(checkpoint.load_best(path))
    return model


def checkpoint_path(config: RunConfig) -> Path:
    """Where the run's checkpoint lies."""
    return config.fit.checkpoints / f"{config.name}.checkpoint.safetensors"


def identity(config: RunConfig, prepared: Prepared) -> str:
    """Hash of all that determines the fit: data, features and the configuration less what only evaluation reads."""
    settings = config.model_dump(mode="json", exclude={"evaluate": {"lambda2", "bootstrap"}, "export": True})
    for free in ("checkpoints", "checkpoint_seconds", "device"):
        settings["fit"].pop(free)
    for free in ("null_match", "null_visual"):
        settings["model"].pop(free)
    settings["images"] = {"backbone": prepared.backbone}
    text = json.dumps([settings, prepared.dataset.fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
