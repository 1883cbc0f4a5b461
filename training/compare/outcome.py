"""One cell of a comparison: a model trained once under one seed, judged, and kept in one file."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from causalrec.errors import DataError
from causalrec.files import write_atomically
from training.evaluate import Evaluation, Ranking

VERSION = 1


@dataclass(frozen=True)
class Facts:
    """What is said of a cell besides its figures."""

    label: str
    """The model's name in the report: "VBPR", "CausalRec MML", "cornac VBPR"."""
    seed: int
    identity: str
    """Hash of all that determines the figures: data, features, settings, code of the cell's format."""
    peer: bool = False
    """Trained by somebody else's code."""
    undebiasable: str | None = None
    """Why λ2 means nothing to this model; None where it does."""
    lambda2: float = 0.0
    """Chosen on validation, on `basis`."""
    basis: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    """Those of the model and its fit, by dotted name: "fit.learning_rate"."""
    epochs: int = 0
    best_epoch: int = 0
    batch_size: int = 0
    seconds: float = 0.0
    """Wall-clock of fitting, evaluation left out."""
    diagnostics: dict[str, float] = field(default_factory=dict)
    """Of the dial: null_mean, notice_sd_within_user, notice_saturated, overlap_at_1 …"""


@dataclass(frozen=True)
class Outcome:
    """Facts, and per-user metrics on validation and test; users[part][set] are the rows behind a set's values."""

    facts: Facts
    valid: Evaluation
    test: Evaluation
    users: dict[str, dict[str, np.ndarray[Any, np.dtype[np.int64]]]]


def slug(label: str) -> str:
    """`label` as the name of a folder: "CausalRec MML" → "causalrec-mml"."""
    return re.sub("[^a-z0-9]+", "-", label.lower()).strip("-")


def cell_path(out: Path, label: str, seed: int, *, peer: bool = False) -> Path:
    """Where the cell of a comparison kept in `out` lies."""
    return out / ("peers" if peer else "cells") / slug(label) / f"seed-{seed}.safetensors"


def save(outcome: Outcome, path: Path) -> None:
    """Writes `outcome` to `path`, whole or not at all."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for part in ("valid", "test"):
        evaluation: Evaluation = getattr(outcome, part)
        for ranking, metrics in evaluation.values.items():
            arrays |= {f"{part}|values|{_name(ranking)}|{metric}": values for metric, values in metrics.items()}
        arrays |= {f"{part}|overlap|{_name(at)}|": values for at, values in evaluation.overlap.items()}
        arrays |= {f"{part}|shown|{_name(at)}|": rows for at, rows in evaluation.shown.items()}
        arrays |= {f"{part}|users|{name}|": rows for name, rows in outcome.users[part].items()}
    described = json.dumps({"version": VERSION, **asdict(outcome.facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, safetensors.numpy.save(content, metadata={"facts": described}))


def load_facts(path: Path) -> Facts:
    """What is said of the cell at `path`. Raises: DataError naming the file."""
    try:
        with safe_open(path, framework="numpy") as file:
            described = json.loads(file.metadata()["facts"])
        version, facts = described.pop("version"), Facts(**described)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is no cell of a comparison ({error}); remove it and compare again") from error
    if version != VERSION:
        raise DataError(f"{path}: is of version {version}, this code reads {VERSION}; remove it and compare again")
    return facts


def load(path: Path) -> Outcome:
    """The cell at `path`. Raises: DataError naming the file."""
    facts = load_facts(path)
    parts = {part: Evaluation() for part in ("valid", "test")}
    users: dict[str, dict[str, np.ndarray[Any, np.dtype[np.int64]]]] = {part: {} for part in parts}
    for name, array in safetensors.numpy.load_file(path).items():
        part, kind, ranking, metric = name.split("|")
        if kind == "users":
            users[part][ranking] = array
        elif kind == "values":
            parts[part].values.setdefault(_ranking(ranking), {})[metric] = array
        elif kind == "overlap":
            parts[part].overlap[float(ranking)] = array
        else:
            parts[part].shown[_ranking(ranking)] = array
    for evaluation in parts.values():
        evaluation.values = dict(sorted(evaluation.values.items(), key=_place))
    return Outcome(facts, parts["valid"], parts["test"], users)


def _name(ranking: Ranking) -> str:
    return repr(ranking) if isinstance(ranking, float) else ranking


def _ranking(name: str) -> Ranking:
    try:
        return float(name)
    except ValueError:
        return name


def _place(entry: tuple[Ranking, Any]) -> tuple[bool, Ranking]:
    """λ2 rising, then the reference rankings."""
    return isinstance(entry[0], str), entry[0]
