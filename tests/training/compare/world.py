"""A small comparison: 60 users and 80 items, two models, trainings of seconds' fractions."""

from pathlib import Path
from typing import Any

from training.compare.compare import Compared, Wishes, compare
from training.compare.config import CompareConfig
from training.compare.grid import quest
from training.compare.search import Quest
from training.prepare import Prepared

VBPR: dict[str, Any] = {"label": "VBPR", "model": {"name": "vbpr"}}
MML: dict[str, Any] = {"label": "CausalRec MML", "group": {"fusion": "multiplication", "multitask": True}}
LEARNING_RATES: dict[str, Any] = {"fit.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}


def small(*models: dict[str, Any], **changes: Any) -> CompareConfig:
    """Two models by default, two seeds, two trials; `changes` by section, merged into it."""
    sections: dict[str, Any] = {
        "name": "small",
        "seeds": [0, 1],
        "search": {"trials": 2},
        "model": {"dim": 4},
        "fit": {"epochs": 3, "batch_size": 256, "device": "cpu", "checkpoint_seconds": 0},
        "evaluate": {"k": 10, "bootstrap": 100, "lambda2": [0.0, 0.5, 1.0]},
    }
    for name, change in changes.items():
        sections[name] = {**sections.get(name, {}), **change} if isinstance(change, dict) else change
    return CompareConfig.model_validate({"models": models or (VBPR, MML), **sections})


def wish(config: CompareConfig, data: Path, out: Path, **wishes: Any) -> Compared:
    """The comparison, quietly."""
    return compare(config, data, out, Wishes(command="compare", quiet=True, **wishes))


def first_quest(config: CompareConfig, prepared: Prepared) -> Quest:
    """The search for the first model."""
    found = quest(config, config.models[0], prepared)
    assert found is not None
    return found
