"""A training run's state after an epoch, in one file without pickle: enough to go on as if nothing had happened."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from causalrec.errors import ConfigError, DataError
from causalrec.files import write_atomically


@dataclass
class Progress:
    """What has happened so far; losses and metrics one per epoch or validation."""

    identity: str
    """Hash of configuration and data: a checkpoint of another run is refused."""
    epochs_done: int = 0
    best_metric: float = float("-inf")
    best_epoch: int = -1
    losses: list[float] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    finished: bool = False
    seconds: float = 0.0
    """Wall-clock of the epochs so far, validation left out; over interruptions too."""


def save(
    path: Path, progress: Progress, model: nn.Module, best: dict[str, Tensor], optimiser: torch.optim.Adam
) -> None:
    """Replaces the checkpoint at `path` by this state, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for name, parameter in model.named_parameters():
        tensors |= {f"adam.{name}.{key}": value for key, value in optimiser.state[parameter].items()}
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, safetensors.torch.save(content, metadata={"progress": json.dumps(asdict(progress))}))


def load_progress(path: Path, identity: str) -> Progress:
    """
    The progress kept at `path`.

    Raises: DataError when there is no readable checkpoint; ConfigError when it belongs to another run.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is not a checkpoint ({error}); leave --resume out to train from the start") from error
    if progress.identity != identity:
        raise ConfigError(
            f"{path}: was made with another configuration or other data; give those again, "
            "or leave --resume out to train from the start"
        )
    return progress


def load_best(path: Path) -> dict[str, Tensor]:
    """The best epoch's parameters kept at `path`."""
    return _part(path, "best.")


def restore(path: Path, model: nn.Module, optimiser: torch.optim.Adam) -> None:
    """Puts the parameters and Adam's moments kept at `path` back."""
    model.load_state_dict(_part(path, "model."))
    for name, parameter in model.named_parameters():
        moments = _part(path, f"adam.{name}.")
        optimiser.state[parameter] = {key: value.to(parameter.device) for key, value in moments.items()}


def _part(path: Path, prefix: str) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name.removeprefix(prefix): file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118 - not a dict
