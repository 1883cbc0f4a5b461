"""What the search found for one model, in one JSON file: later runs, other comparisons and the report read it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from causalrec.errors import DataError
from causalrec.files import write_atomically
from training.compare.about import Searched
from training.compare.config import Setting, Span
from training.compare.outcome import slug

VERSION = 1


@dataclass(frozen=True)
class Trial:
    """One training of the search."""

    settings: dict[str, Setting]
    value: float | None
    """Best validation NDCG@k of clicks at λ2 = 0; None where training diverged."""
    seconds: float
    """Wall-clock, validation included."""
    epochs: int
    cut: bool = False
    """Ended by the time allowed: its value is what it had reached."""


@dataclass(frozen=True)
class Found:
    """The settings of one model, and how they were found."""

    label: str
    identity: str
    """Hash of all that determines the search, less its budget."""
    settings: dict[str, Setting]
    """By dotted name, over the model's own."""
    trials: tuple[Trial, ...] = ()
    """In the order made; the first has the settings that the search began with."""
    space: dict[str, str] | None = None
    """What was searched, in words, by dotted name."""
    source: str = ""
    """Where the settings come from, if not from this search."""

    @property
    def seconds(self) -> float:
        """Wall-clock of all trials."""
        return sum(trial.seconds for trial in self.trials)

    def searched(self) -> Searched:
        """As the report tells it."""
        values = [trial.value for trial in self.trials if trial.value is not None]
        return Searched(
            label=self.label,
            trials=sum(trial.value is not None and not trial.cut for trial in self.trials),
            unfinished=sum(trial.value is None or trial.cut for trial in self.trials),
            seconds=self.seconds,
            best=max(values, default=None),
            default=self.trials[0].value if self.trials else None,
            settings=dict(self.settings),
            space=self.space or {},
            source=self.source,
        )


def best_settings(trials: tuple[Trial, ...], start: Mapping[str, Setting]) -> dict[str, Setting]:
    """The settings of the best trial, the first of equals; `start` where none came to a value."""
    judged = [trial for trial in trials if trial.value is not None]
    return dict(max(judged, key=lambda trial: trial.value or 0.0).settings if judged else start)


def in_words(spans: Mapping[str, Span]) -> dict[str, str]:
    """Each span as the report shows it: "0.0003 to 0.03, log"."""
    return {
        field: ", ".join(map(str, span.choices))
        if span.choices is not None
        else f"{span.low} to {span.high}{', log' if span.log else ''}"
        for field, span in spans.items()
    }


def found_path(out: Path, label: str) -> Path:
    """Where what was found for `label` lies."""
    return out / "search" / f"{slug(label)}.json"


def save_found(found: Found, out: Path) -> None:
    """Writes `found` below `out`, whole or not at all."""
    path = found_path(out, found.label)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"version": VERSION, **asdict(found)}, indent=2).encode() + b"\n")


def load_found(out: Path, label: str) -> Found | None:
    """What was found for `label` below `out`; None where nothing was. Raises: DataError naming an unusable file."""
    path = found_path(out, label)
    try:
        described: dict[str, Any] = json.loads(path.read_bytes())
        version = described.pop("version")
        trials = tuple(Trial(**trial) for trial in described.pop("trials"))
        found = Found(**described, trials=trials)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: is not what a search found ({error}); remove it and search again") from error
    if version != VERSION:
        raise DataError(f"{path}: is of version {version}, this code reads {VERSION}; remove it and search again")
    return found
