"""The recipe: data → images → sampling → fit → evaluate → export."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import torch

from causalrec.errors import DataError
from causalrec.weights import Weights
from training import checkpoint
from training.checkpoint import Progress
from training.config import RunConfig
from training.data.pictures import pictures_digest
from training.evaluate import Evaluation, evaluate
from training.export import export, served_weights
from training.fit import fit, pick_device
from training.metrics import Relevant
from training.models import make_model
from training.models.model import Inputs, Model
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


def train(config: RunConfig, prepared: Prepared, *, resume: bool = False, quiet: bool = False) -> Model:
    """A model fitted to the training part, with the weights of the epoch that did best on validation clicks."""
    model, progress = fitted(config, prepared, resume=resume, quiet=quiet)
    log.info(
        "best epoch %d of %d: validation NDCG %.4f", progress.best_epoch, progress.epochs_done, progress.best_metric
    )
    return model


def fitted(
    config: RunConfig,
    prepared: Prepared,
    *,
    resume: bool = False,
    quiet: bool = False,
    watch: Callable[[float], None] | None = None,
) -> tuple[Model, Progress]:
    """
    As `train`, with how it went.

    Args:
        watch: is given each validation's NDCG; what it raises ends the fit.
    """
    model = new_model(config, prepared)
    user, item = prepared.dataset.interactions.user, prepared.dataset.interactions.item
    chosen = prepared.split.train
    sampler = Sampler(user[chosen], item[chosen], len(prepared.dataset.items), config.seed)
    clicks = {"clicks": prepared.valid["clicks"]}
    metric = f"NDCG@{min(config.evaluate.k, len(prepared.dataset.items))}"

    def validate(candidate: Model) -> float:
        found = evaluate(
            served_weights(config, prepared, candidate),
            prepared.seen,
            clicks,
            (0.0,),
            config.evaluate.k,
            references=False,
            users_per_block=config.evaluate.users_per_block,
            quiet=True,
        ).mean(0.0, metric)
        if watch is not None:
            watch(found)
        return found

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
    return model, progress


def finish(config: RunConfig, prepared: Prepared, model: Model, *, quiet: bool = False) -> Path:
    """Evaluates the model on validation and test and exports it."""
    valid, test = sweep(config, prepared, served_weights(config, prepared, model), quiet=quiet)
    return export(config, prepared, model, valid, test, quiet=quiet)


def sweep(
    config: RunConfig, prepared: Prepared, weights: Weights, *, quiet: bool = False
) -> tuple[Evaluation, Evaluation]:
    """Every ranking on validation and on test; of a model that cannot be debiased none at λ2 other than 0."""
    chosen = config.evaluate
    lambda2 = chosen.lambda2 if config.model.undebiasable is None else (0.0,)

    def judged(sets: dict[str, Relevant]) -> Evaluation:
        return evaluate(
            weights,
            prepared.seen,
            sets,
            lambda2,
            chosen.k,
            users_per_block=chosen.users_per_block,
            quiet=quiet,
        )

    return judged(prepared.valid), judged(prepared.test)


def new_model(config: RunConfig, prepared: Prepared) -> Model:
    """The untrained model on its device; its initial weights depend on the seed alone."""
    device = pick_device(config.fit.device)
    dataset = prepared.dataset
    inputs = Inputs(
        users=len(dataset.users),
        items=len(dataset.items),
        features=prepared.features,
        categories=tuple(dataset.catalogue["category"]) if "category" in dataset.catalogue.columns else (),
        pictures=dataset.pictures,
    )
    return make_model(config.model, inputs, torch.Generator().manual_seed(config.seed)).to(device)


def trained_model(config: RunConfig, prepared: Prepared) -> Model:
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
    if config.model.name == "dvbpr" and prepared.dataset.pictures is not None:  # no part of the data's fingerprint
        settings["pictures"] = pictures_digest(prepared.dataset.pictures)
    text = json.dumps([settings, prepared.dataset.fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
