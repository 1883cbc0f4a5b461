"""The typed configuration of a comparison: a TOML file, every field documented, unknown fields refused."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from causalrec.errors import ConfigError
from causalrec.model import ModelConfig
from training.compare.lineup import LINEUP, default_space
from training.compare.outcome import slug
from training.config import DataConfig, EvaluateConfig, FitConfig, ImagesConfig, RunConfig, Section

Setting = bool | int | float | str

SETTABLE: dict[str, type[BaseModel]] = {"model": ModelConfig, "fit": FitConfig}
UNSEARCHABLE = ("model.name", "fit.checkpoints", "fit.checkpoint_seconds", "fit.device")


class Span(Section):
    """What the search may set a field to: {low, high}, with log = true on a logarithmic scale; or {choices}."""

    low: int | float | None = None
    """The smallest value tried."""
    high: int | float | None = None
    """The largest."""
    log: bool = False
    """Draw evenly over the logarithm."""
    choices: tuple[Setting, ...] | None = Field(None, min_length=1)
    """The values tried, in place of a range."""

    @model_validator(mode="after")
    def _a_range_or_choices(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give either choices, or low and high")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} must be below high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log = true needs low above 0, not {self.low}")
        return self

    @property
    def ends(self) -> tuple[Setting, ...]:
        """The values a field must accept for the search to be possible."""
        return self.choices if self.choices is not None else (self.low, self.high)  # type: ignore[return-value]

    def holds(self, value: Setting) -> bool:
        """Whether the search may try `value`."""
        if self.choices is not None:
            return value in self.choices
        low, high = self.ends
        return isinstance(value, int | float) and low <= value <= high  # type: ignore[operator]


class Group(Section):
    """Where a model stands in the figure of fusions (Fig. 6 of the CausalRec paper)."""

    fusion: Literal["addition", "multiplication"]
    """How match, visual match and notice become one score."""
    multitask: bool
    """Whether the branches have losses of their own."""


class Entry(Section):
    """One model of the comparison."""

    label: str = Field(min_length=1, max_length=60)
    """Its name in the report."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Fields of [model] that are its own: name, form, …"""
    fit: dict[str, Any] = Field(default_factory=dict)
    """Fields of [fit] that are its own; where the search begins."""
    space: dict[str, Span] | None = None
    """What the search may set, by dotted name: {"fit.l2" = {low = .001, high = .1, log = true}}. Left out: learning
    rate, l2 and the weights the model has (training/compare/lineup.py). {}: nothing is searched for."""
    group: Group | None = None
    """Where it stands in the figure of fusions, if it does."""

    @property
    def spans(self) -> dict[str, Span]:
        """The space, the model's default where it has none of its own."""
        if self.space is not None:
            return self.space
        found = default_space(self.model.get("name", "causalrec"), self.fit)
        return {field: Span.model_validate(span) for field, span in found.items()}


class SearchConfig(Section):
    trials: int = Field(12, ge=0, le=1000)
    """Trainings per model, at most; the first one has the model's own settings. 0: no search, those settings."""
    minutes: float = Field(20.0, gt=0.0)
    """Time per model, at most: a training that goes on then is cut short, and counts for what it had reached."""
    seed: int = Field(0, ge=0)
    """Of the settings drawn."""
    sampler: Literal["tpe", "random"] = "tpe"
    """tpe: learns from the trials before (Bergstra et al. 2011). random: does not."""
    settings_from: Path | None = Field(None, alias="from")
    """The --out folder of another comparison: its settings are taken, nothing is searched for."""
    check_learning_rate: bool = False
    """With `from`: train at a third and at three times the learning rate found, too, and take the best of the three."""


class CompareConfig(Section):
    """A comparison: models, seeds, the budget of the search, and the run they share."""

    name: str = Field("compare", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """Names the report, and the folder runs/NAME where --out is left out."""
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    """Each decides split, initial weights and sampling, the same for every model. The search is on the first one."""
    search: SearchConfig = SearchConfig()
    data: DataConfig = DataConfig()
    images: ImagesConfig = ImagesConfig()
    model: ModelConfig = ModelConfig()
    """What every model shares: dim, …; name and form are each model's own."""
    fit: FitConfig = FitConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    models: tuple[Entry, ...] = Field(
        default_factory=lambda: tuple(Entry.model_validate(entry) for entry in LINEUP), min_length=1
    )
    """The models compared. Left out: all there are, and CausalRec in every fusion and form."""
    leave_out: tuple[str, ...] = ()
    """Labels of those not to compare, where [[models]] is left out."""

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("seeds must differ, and be 0 or above")
        return seeds

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data.get("leave_out") or not isinstance(data["leave_out"], list | tuple):
            return data
        labels = [entry["label"] for entry in LINEUP]
        if "models" in data or (unknown := [label for label in data["leave_out"] if label not in labels]):
            which = f"{unknown[0]!r} is none of {', '.join(labels)}" if "models" not in data else "models are given"
            raise ValueError(f"leave_out: {which}")
        return {**data, "models": [entry for entry in LINEUP if entry["label"] not in data["leave_out"]]}

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if own := {"name", "form"} & self.model.model_fields_set:
            raise ValueError(f"model.{min(own)} belongs to each of [[models]], not to what they share")
        if "checkpoints" in self.fit.model_fields_set:
            raise ValueError("fit.checkpoints: checkpoints of a comparison go below --out; leave it out")
        slugs = [slug(entry.label) for entry in self.models]
        for place, entry in enumerate(self.models):
            if not slugs[place] or slugs.index(slugs[place]) < place:
                raise ValueError(f"models.{place}.label = {entry.label!r}: its folder's name is empty or taken")
            if "checkpoints" in entry.fit:
                raise ValueError(f"{entry.label}: fit.checkpoints go below --out; leave it out")
            _check_space(self, entry)
        return self

    def base(self, seed: int) -> RunConfig:
        """The run that every model shares: what `prepare` needs to make the same split and features for all."""
        return RunConfig(
            name=self.name, seed=seed, data=self.data, images=self.images, fit=self.fit, evaluate=self.evaluate
        )

    def run(self, entry: Entry, seed: int, settings: Mapping[str, Setting]) -> RunConfig:
        """
        The run of one model under one seed, with `settings` by dotted name over its own.

        Raises: ValueError (pydantic's) on a value its field does not take.
        """
        sections: dict[str, dict[str, Any]] = {
            "model": self.model.model_dump(include=self.model.model_fields_set) | entry.model,
            "fit": self.fit.model_dump() | entry.fit,
        }
        for field, value in settings.items():
            section, name = field.split(".", 1)
            sections[section][name] = value
        return RunConfig.model_validate({**self.base(seed).model_dump(), "name": slug(entry.label), **sections})

    def start(self, entry: Entry) -> dict[str, Setting]:
        """The settings that the search of `entry` begins with: the model's own values of what is searched."""
        run = self.run(entry, self.seeds[0], {})
        return {field: getattr(getattr(run, field.split(".")[0]), field.split(".")[1]) for field in entry.spans}


def read_compare(path: Path) -> CompareConfig:
    """The configuration in the TOML file `path`. Raises: ConfigError, one line naming file, field, value, way out."""
    try:
        return CompareConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a comparison's TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {_problems(error)}") from error


def _check_space(config: CompareConfig, entry: Entry) -> None:
    """Raises ValueError where the model's own fields, or an end of its space, cannot be used."""
    try:
        config.run(entry, config.seeds[0], {})
        for field, span in entry.spans.items():
            _check_field(field)
            for value in span.ends:
                config.run(entry, config.seeds[0], {field: value})
    except ValidationError as error:
        raise ValueError(f"{entry.label}: {_problems(error)}") from error
    except ValueError as error:
        raise ValueError(f"{entry.label}: {error}") from error
    for field, value in config.start(entry).items():
        if not entry.spans[field].holds(value):
            raise ValueError(
                f"{entry.label}: the search begins with {field} = {value!r}, which its space does not hold; "
                f"widen the space or set {field} for this model"
            )


def _check_field(field: str) -> None:
    section, _, name = field.partition(".")
    if section not in SETTABLE or name not in SETTABLE[section].model_fields or field in UNSEARCHABLE:
        raise ValueError(f"space {field!r}: the search sets fields of model and fit, as in fit.learning_rate")


def _problems(error: ValidationError) -> str:
    """Every problem in one line."""
    said = []
    for problem in error.errors(include_url=False):
        words = problem["msg"].removeprefix("Value error, ")
        place = ".".join(map(str, problem["loc"]))
        said.append(f"{place} = {problem['input']!r}: {words}" if place else words)
    return "; ".join(said)
