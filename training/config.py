"""The typed configuration of a training run: a TOML file, every field documented, unknown fields refused."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from causalrec.errors import ConfigError
from causalrec.index import Kind, check_kind
from causalrec.model import ModelConfig

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Lambda2 = Annotated[float, Field(ge=0.0, le=3.0)]
EventType = Literal["click", "cart", "purchase", "rating"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataConfig(Section):
    k_core: int = Field(5, ge=0)
    """Drop users and items with fewer interactions than this, again and again until none is left (0: keep all)."""
    split: Literal["ratio", "time", "source"] = "ratio"
    """How interactions become train, validation and test. ratio: at random over all interactions. time: each
    user's own interactions in order of time, the last ones are test. source: the column `source_split` says
    train or test, and validation is drawn at random from train."""
    valid: Fraction = 0.1
    """Share of the interactions that become validation (choosing λ2, early stopping)."""
    test: Fraction = 0.1
    """Share of the interactions that become test (the figures reported). Unused with split = "source"."""
    liked_rating: float = 4.0
    """A held-out interaction rated at least this counts as liked when λ2 is judged on ratings."""
    ignore_columns: tuple[str, ...] = ()
    """Columns of the interactions file to pass over; any other unknown column is an error."""
    events: Path | None = None
    """Folder that `python -m service events export` wrote: its events are interactions too."""
    events_types: tuple[EventType, ...] = Field(("click", "cart", "purchase", "rating"), min_length=1)
    """The events that count as interactions. An impression is none: it was the service's choice, not the user's."""

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.valid + self.test >= 1.0:
            raise ValueError(f"valid + test = {self.valid + self.test} leaves nothing to train on; make them smaller")
        return self


class ImagesConfig(Section):
    source: Literal["auto", "features", "images"] = "auto"
    """features: features.npy, row-aligned to the items file. images: run the backbone over images/.
    auto: features.npy where there is one, else images."""
    backbone: str = "efficientnet_lite0"
    """efficientnet_lite0 (weights come with the package) or timm:NAME (needs timm installed)."""
    batch_size: int = Field(32, ge=1)
    """Pictures per step of the backbone."""
    cache: Path = Path(".cache/features")
    """Where features of pictures already seen are kept, by content; delete it at will."""


class FitConfig(Section):
    epochs: int = Field(100, ge=1)
    """Passes over the training interactions, at most."""
    batch_size: int = Field(2048, ge=1)
    """Interactions per step; each gets one negative item."""
    learning_rate: float = Field(0.003, gt=0.0)
    """Adam's step size."""
    l2: float = Field(0.01, ge=0.0)
    """Weight of the squared norm of the batch's user and item vectors (λ1 of Eq. 23), per interaction."""
    l2_visual: float = Field(0.0, ge=0.0)
    """Weight of the squared norm of the visual matrices, per step."""
    branch_logits: bool = True
    """Branch losses on the logits of N and M (the authors' code); false: after the sigmoid (Eq. 23 literally)."""
    notice_weight: float = Field(1.0, ge=0.0)
    """Weight of the notice branch's loss in Eq. 23."""
    match_weight: float = Field(1.0, ge=0.0)
    """Weight of the match branch's loss in Eq. 23."""
    adversarial_weight: float = Field(1.0, ge=0.0)
    """amr only: weight of the loss under attack."""
    adversarial_epsilon: float = Field(0.5, ge=0.0)
    """amr only: length of the change to a picture's feature that hurts the loss most."""
    patience: int = Field(10, ge=1)
    """Stop after this many validations in a row without a better NDCG@50; the best epoch's weights are kept."""
    validate_every: int = Field(1, ge=1)
    """Epochs between validations."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the product of features and visual matrices while training: bfloat16 is three to five times as fast, rounds
    to 8 bits and keeps the weights themselves in float32. auto: bfloat16 where the processor multiplies it and the data
    is large enough to gain. What is served and judged is always projected in float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where there is one."""
    checkpoints: Path = Path("runs")
    """The folder that gets NAME.checkpoint.safetensors, for --resume and for `export`."""
    checkpoint_seconds: float = Field(10.0, ge=0.0)
    """Write the checkpoint after the first epoch, the last, and any when the last one written is at least this old."""


class EvaluateConfig(Section):
    k: int = Field(50, ge=1, le=500)
    """Length of the list that NDCG, HR and Recall look at."""
    lambda2: tuple[Lambda2, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0, 3.0)
    """The values of λ2 tried; the default of the bundle is one of them."""
    bootstrap: int = Field(1000, ge=100)
    """Resamples of the users behind each 95 % interval."""
    users_per_block: int = Field(512, ge=1)
    """Users scored at a time: memory is users_per_block × items."""

    @model_validator(mode="after")
    def _both_reference_points(self) -> Self:
        if not {0.0, 1.0} <= set(self.lambda2) or list(self.lambda2) != sorted(set(self.lambda2)):
            raise ValueError("lambda2 must rise, without repeats, and hold 0.0 (nothing removed) and 1.0 (all removed)")
        return self


class ExportConfig(Section):
    out: Path = Path("bundles")
    """The folder that gets NAME-<content id>/ and the link NAME to the newest."""
    golden_users: int = Field(4, ge=1)
    """Users whose answers travel with the bundle and are replayed before the service says ready."""
    retrieval: Literal["auto"] | Kind = "auto"
    """How the service finds candidates. Exact: scan scores every item, int8 rules most out by 8-bit codes, flat and sq8
    search an index of 32 or 8 bits per dimension and prove the answer. Approximate, never proved: pq (4 bits per
    dimension) and ivf (cells, so many visited that recall@50 is .98). auto: scan up to 200,000 items, int8 above."""


class RunConfig(Section):
    """One training run, from data to bundle."""

    name: str = Field("causalrec", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """Names the bundle, the checkpoint and the report."""
    seed: int = Field(0, ge=0)
    """Root of every random draw: split, initial weights, batches, negatives, bootstrap."""
    data: DataConfig = DataConfig()
    images: ImagesConfig = ImagesConfig()
    model: ModelConfig = ModelConfig()
    fit: FitConfig = FitConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    export: ExportConfig = ExportConfig()

    @model_validator(mode="after")
    def _retrieval_of_the_form(self) -> Self:
        if self.export.retrieval != "auto":
            try:
                check_kind(self.model.form, self.export.retrieval)
            except ConfigError as error:  # before anything is trained
                raise ValueError(str(error)) from error
        return self


def read_config(path: Path) -> RunConfig:
    """The configuration in the TOML file `path`. Raises: ConfigError naming file, field, value and what is allowed."""
    try:
        return RunConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); --print-config writes one to start from"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, problem['loc'])) or '(the file)'} = {problem['input']!r}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise ConfigError(f"{path}: {len(lines)} value(s) cannot be used:\n" + "\n".join(lines)) from error


def as_toml(config: RunConfig) -> str:
    """`config` as the documented TOML file that reads back to an equal configuration."""
    lines = ["# A CausalRec training run. Every field may be left out; its value here is the default.", ""]
    tables: list[tuple[str, BaseModel]] = []
    for name, field in RunConfig.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            tables.append((name, value))
        else:
            lines += _documented(name, value, field.description)
    for name, section in tables:
        lines += ["", f"[{name}]"]
        for key, field in type(section).model_fields.items():
            lines += _documented(key, getattr(section, key), field.description)
    return "\n".join(lines) + "\n"


def _documented(key: str, value: Any, description: str | None) -> list[str]:
    comment = [f"# {line.strip()}" for line in (description or "").splitlines()]
    if value is None:  # which TOML cannot say
        return [*comment, f"# {key} = (not set)"]
    return [*comment, f"{key} = {_literal(value)}"]


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
