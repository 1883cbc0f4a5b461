"""Fitting: Adam on the model's loss, early stopping on validation, checkpoints between epochs."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from causalrec.errors import ConfigError
from training import checkpoint
from training.checkpoint import Progress
from training.config import FitConfig
from training.models.model import Model, Triples
from training.sampling import Epoch, Sampler


class Diverged(ConfigError):
    """The loss is no longer a number."""


def pick_device(wanted: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda". Raises: ConfigError when cuda is asked for and absent."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError('fit.device = "cuda", but PyTorch sees no CUDA device here; use "auto" or "cpu"')
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def fit(
    model: Model,
    sampler: Sampler,
    validate: Callable[[Model], float],
    config: FitConfig,
    *,
    identity: str,
    path: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Progress:
    """
    Trains `model` in place and leaves the best epoch's parameters in it.

    Args:
        validate: the metric to stop on, higher is better; called every `config.validate_every` epochs.
        identity: names configuration and data; kept in the checkpoint and compared on resume.
        path: where checkpoints go: after the first epoch, then as config.checkpoint_seconds says; None keeps none.
        resume: go on from the checkpoint at `path`: the result is that of an unbroken run.
    Raises: ConfigError, DataError on a checkpoint that does not fit; Diverged when the loss is no number.
    """
    _make_deterministic()
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    progress = Progress(identity)
    best = _copy(model)
    if resume and path is not None and path.exists():
        progress = checkpoint.load_progress(path, identity)
        checkpoint.restore(path, model, optimiser)
        best = checkpoint.load_best(path)
    saved = -math.inf
    with tqdm(
        total=config.epochs, initial=progress.epochs_done, desc="fit", unit="epoch", disable=quiet, mininterval=0.5
    ) as bar:
        while not _finished(progress, config):
            started = time.perf_counter()
            loss = _train_epoch(model, optimiser, sampler.epoch(progress.epochs_done), config)
            progress.seconds += time.perf_counter() - started
            progress.losses.append(loss)
            progress.epochs_done += 1
            if progress.epochs_done % config.validate_every == 0 or progress.epochs_done == config.epochs:
                metric = validate(model)
                progress.metrics.append(metric)
                if metric > progress.best_metric:
                    progress.best_metric, progress.best_epoch = metric, progress.epochs_done
                    best = _copy(model)
            progress.finished = _finished(progress, config)
            if path is not None and (progress.finished or time.monotonic() - saved >= config.checkpoint_seconds):
                saved = time.monotonic()
                checkpoint.save(path, progress, model, best, optimiser)
            shown = {"ndcg": f"{progress.metrics[-1]:.4f}"} if progress.metrics else {}
            bar.set_postfix(loss=f"{loss:.4f}", **shown, refresh=False)
            bar.update()
    model.load_state_dict(best)
    return progress


def _train_epoch(model: Model, optimiser: torch.optim.Adam, epoch: Epoch, config: FitConfig) -> float:
    device = next(model.parameters()).device
    arrays = [torch.from_numpy(rows).to(device) for rows in (epoch.user, epoch.positive, epoch.negative)]
    total = torch.zeros((), device=device)
    for start in range(0, len(arrays[0]), config.batch_size):
        batch = Triples(*(rows[start : start + config.batch_size] for rows in arrays))
        loss = model.loss(batch, config)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.detach() * len(batch.user)
    mean = float(total) / len(arrays[0])
    if not math.isfinite(mean):
        raise Diverged(f"fit.learning_rate={config.learning_rate}: the loss became {mean}; lower it and train again")
    return mean


def _finished(progress: Progress, config: FitConfig) -> bool:
    validated = len(progress.metrics)
    since_best = validated - (progress.best_epoch // config.validate_every if progress.best_epoch > 0 else 0)
    return progress.epochs_done >= config.epochs or (validated > 0 and since_best >= config.patience)


def _copy(model: Model) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _make_deterministic() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by cuBLAS before its first call
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # a tenth of an epoch
