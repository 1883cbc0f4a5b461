"""What a bundle says of itself: the manifest's fields, and its content id."""

import hashlib
import json
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from causalrec.equations import Form
from causalrec.index import Kind
from causalrec.model import ModelConfig

SCHEMA_VERSION: Final = 1


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TensorEntry(Part):
    dtype: str
    shape: tuple[int, ...]


class FileEntry(Part):
    sha256: str
    bytes: int
    tensors: dict[str, TensorEntry] = {}
    """For safetensors files: every array they hold."""


class Interval(Part):
    mean: float
    low: float
    """Lower end of the 95 % bootstrap interval over users."""
    high: float


class SweepRow(Part):
    """Every metric at one λ2, or of a reference ranking."""

    ranking: str
    """"debiased", "match_alone" or "popularity"."""
    lambda2: float | None
    """None where λ2 plays no part."""
    valid: dict[str, Interval]
    test: dict[str, Interval]


class Lambda2Range(Part):
    default: float
    minimum: float = 0.0
    maximum: float = 3.0
    basis: str
    """What the default was chosen on: purchases, ratings, or clicks with the 1 % rule; or why there is only 0."""


class Quantiles(Part):
    """Of one quantity over users (or users and items): mean, standard deviation and five quantiles."""

    mean: float
    sd: float
    q01: float
    q25: float
    q50: float
    q75: float
    q99: float


class Diagnostics(Part):
    """The dial's: whether λ2 can move anything, and how far."""

    null: Quantiles | None
    """c_u over users (paper), m* (authors); None in the forms additive and sum, which have no such term."""
    notice: Quantiles
    """n over users and items, a logit."""
    notice_sd_within_user: float
    """How far the notice differs between items for the average user: 0 means a picture changes nothing."""
    notice_saturated: float
    """Share of σ(n) below .01 or above .99; 0 in the additive form, which takes n as it is."""
    null_above_best_match: float | None
    """Share of users whose λ2·c_u at λ2 = 1 exceeds their best match (all of their scores are negative)."""
    overlap: dict[str, float]
    """λ2 → mean over users of the share of the top 50 that is also in the top 50 at λ2 = 0; of every λ2 swept."""
    dead: bool
    """Overlap at λ2 = 1 above .995: the dial changes nothing. False where the model has none (`lambda2.basis`)."""

    def warnings(self) -> list[str]:
        """What somebody about to use λ2 must know, in words; empty when the dial is alive."""
        found = []
        if self.dead:
            found.append(
                f"THE DIAL IS DEAD: at lambda2=1 the top lists keep {self.overlap['1.0']:.2%} of their items, so "
                "lambda2 changes nothing; look at c_u and n's saturation, lower fit.learning_rate or raise fit.l2"
            )
        if self.notice_saturated > 0.5:
            found.append(f"the notice is saturated for {self.notice_saturated:.0%} of user-item pairs")
        if self.null_above_best_match is not None and self.null_above_best_match > 0.5:
            found.append(f"at lambda2=1 every score is negative for {self.null_above_best_match:.0%} of users")
        return found


class Retrieval(Part):
    """How the bundle's candidates are found, and what that gave on users spread over the vocabulary."""

    index: Kind
    metric: Literal["inner_product"]
    width: int
    """Of the item vectors."""
    parameters: dict[str, int] = {}
    """What the index was built with: ivf's cells (nlist) and how many a search visits (nprobe), pq's codes."""
    exact_share: dict[str, float]
    """λ2 → share of top-50 lists proved exact with 500 candidates and no scan of all items to fall back on: 1 where
    every item is scored or ruled out ("scan", "int8"), 0 where nothing is proved ("pq", "ivf")."""
    recall: dict[str, float]
    """λ2 → mean share of the exact top 50 in those lists."""


class Manifest(Part):
    """`manifest.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    content_id: str
    """sha256 over everything else in this file, file hashes included: the bundle's name and identity."""
    name: str
    code_version: str
    model: ModelConfig
    form: Form
    users: int
    items: int
    feature_width: int
    backbone: str
    lambda2: Lambda2Range
    sweep: tuple[SweepRow, ...]
    diagnostics: Diagnostics
    retrieval: Retrieval
    data_fingerprint: str
    statistics: dict[str, float]
    """Of the training data, as in the paper's Table 1."""
    run: dict[str, Any]
    """The whole configuration of the training run."""
    files: dict[str, FileEntry]

    def as_json(self) -> bytes:
        """The file's content: sorted, indented, the same for equal manifests."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"

    def computed_id(self) -> str:
        """What content_id must be."""
        return content_id_of(self.model_dump(mode="json"))

    def sealed(self) -> Self:
        """The same manifest with its content id."""
        return self.model_copy(update={"content_id": self.computed_id()})


def content_id_of(manifest: dict[str, Any]) -> str:
    """What content_id must be, of the file's own content: manifests with fewer fields than today's keep their id."""
    content = {name: value for name, value in manifest.items() if name != "content_id"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class GoldenItem(Part):
    item_id: str
    score: float


class Golden(Part):
    """One answer expected of whoever serves the bundle; user_id None is somebody unknown."""

    user_id: str | None
    lambda2: float
    k: int = Field(ge=1)
    items: tuple[GoldenItem, ...]
