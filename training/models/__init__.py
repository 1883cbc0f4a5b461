"""The models one trainer fits, by the name a configuration gives them."""

import torch

from causalrec.errors import ConfigError
from causalrec.model import ModelConfig
from training.models.amr import AMR
from training.models.bpr import BPR
from training.models.causalrec import CausalRec
from training.models.deepstyle import DeepStyle
from training.models.dvbpr import DVBPR
from training.models.model import Inputs, Model
from training.models.vbpr import VBPR

MODELS: dict[str, type[Model]] = {
    "causalrec": CausalRec,
    "bpr": BPR,
    "vbpr": VBPR,
    "deepstyle": DeepStyle,
    "amr": AMR,
    "dvbpr": DVBPR,
}


def make_model(config: ModelConfig, inputs: Inputs, generator: torch.Generator) -> Model:
    """The untrained model of `config`, on the CPU. Raises: ConfigError naming what the data lacks for it."""
    if config.name not in MODELS:
        raise ConfigError(f"model.name = {config.name!r}: there is no such model; one of {', '.join(MODELS)} is")
    return MODELS[config.name].of(config, inputs, generator)
