"""The contract between trainer and service: a directory that is complete or absent, hashed, free of pickle."""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from causalrec import arrays
from causalrec.equations import Form
from causalrec.errors import (
    BundleCorrupt,
    BundleError,
    BundleMismatch,
    BundleMissing,
    ConfigError,
    DataError,
    ShapeError,
)
from causalrec.files import link_atomically, write_directory_atomically
from causalrec.ids import Vocabulary
from causalrec.index import FAISS_KINDS, Kind
from causalrec.manifest import SCHEMA_VERSION, FileEntry, Golden, Manifest, TensorEntry, content_id_of
from causalrec.visual import Scaling, Visual
from causalrec.weights import Weights

FILES = (
    "weights.safetensors",
    "visual.safetensors",
    "seen.safetensors",
    "users.txt",
    "items.parquet",
    "golden.json",
)
INDEX = "index.faiss"  # there exactly when the retrieval is by a FAISS index
AGAIN = "export the bundle again, or copy it again from where it is whole"


@dataclass(frozen=True)
class Seen:
    """Training positives in compressed rows: items of user u are indices[starts[u]:starts[u + 1]], sorted."""

    starts: NDArray[np.int64]
    indices: NDArray[np.int64]

    @classmethod
    def of(cls, user: NDArray[np.int64], item: NDArray[np.int64], users: int) -> "Seen":
        """From pairs of rows in any order; repeated pairs count once."""
        pairs = np.unique(np.stack([user, item], 1), axis=0)
        starts = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=users))])
        return cls(starts.astype(np.int64), pairs[:, 1].astype(np.int64))

    def items(self, user: int) -> NDArray[np.int64]:
        """The rows of the items that the user in row `user` has in the training data, sorted."""
        return self.indices[self.starts[user] : self.starts[user + 1]]


@dataclass(frozen=True)
class Bundle:
    """
    A model and all that serving it takes; `manifest.content_id` and `.files` are filled in by `write_bundle`.

    index is there exactly when `manifest.retrieval.index` is a FAISS index.
    """

    manifest: Manifest
    weights: Weights
    visual: Visual
    users: Vocabulary
    items: Vocabulary
    catalogue: pl.DataFrame
    seen: Seen
    index: NDArray[np.uint8] | None
    golden: tuple[Golden, ...]


def write_bundle(bundle: Bundle, out: Path) -> Path:
    """
    Writes `bundle` below `out` as NAME-<first 12 of the content id>/ and points the link NAME at it.

    Every file is written to a temporary directory and fsynced, then the directory is renamed: a kill at any moment
    leaves the bundles and the link that were there. The same content written twice is one bundle.

    Returns: the bundle's directory.
    Raises: BundleCorrupt when an array holds NaN or infinity (nothing is written); ConfigError when something that is
        no link stands where the link NAME belongs; OSError.
    """
    _check_index(out / bundle.manifest.name, bundle.manifest.retrieval.index, there=bundle.index is not None)
    contents = _contents(bundle)
    files = {name: _entry(name, content) for name, content in contents.items()}
    manifest = bundle.manifest.model_copy(update={"files": files}).sealed()
    target = out / f"{manifest.name}-{manifest.content_id[:12]}"
    if target.exists():
        try:
            read_bundle(target)
        except BundleError as error:
            raise BundleCorrupt(f"{target} is in the way and damaged; remove it and export again ({error})") from error
    else:
        write_directory_atomically(target, {**contents, "manifest.json": manifest.as_json()})
    link = out / manifest.name
    try:
        link_atomically(link, target.name)
    except FileExistsError as error:
        raise ConfigError(
            f"{link} is in the way of the link to {target.name}, which is written; move it, or choose another name"
        ) from error
    return target


def read_bundle(path: Path, *, form: Form | None = None) -> Bundle:
    """
    The bundle at `path`, every file verified against the manifest's sha256 and every array for shape and finiteness.

    Args:
        form: refuse any other form than this.
    Raises: BundleMissing, BundleCorrupt or BundleMismatch, naming the file and the way out.
    """
    manifest = read_manifest(path)
    if form is not None and manifest.form != form:
        raise BundleMismatch(f"{path / 'manifest.json'}: form is {manifest.form!r}, {form!r} was asked for")
    contents = {name: _verified(path / name, entry) for name, entry in manifest.files.items()}
    tensors = {
        name: _tensors(path / name, contents[name], manifest.files[name]) for name in FILES if name.endswith("tensors")
    }
    try:
        weights = Weights(form=manifest.form, **tensors["weights.safetensors"])
        users = Vocabulary(contents["users.txt"].tobytes().decode().splitlines())
        catalogue = pl.read_parquet(io.BytesIO(contents["items.parquet"].data))
        items = Vocabulary(catalogue["item_id"].to_list())
        golden = TypeAdapter(tuple[Golden, ...]).validate_json(contents["golden.json"].tobytes())
        seen = Seen(*(tensors["seen.safetensors"][key].numpy() for key in ("starts", "indices")))
        bundle = Bundle(
            manifest,
            weights,
            _visual(manifest, tensors["visual.safetensors"]),
            users,
            items,
            catalogue,
            seen,
            contents.get(INDEX),
            golden,
        )
    except (
        ShapeError,
        DataError,
        ValidationError,
        TypeError,
        KeyError,
        ValueError,
        pl.exceptions.PolarsError,
    ) as error:
        raise BundleMismatch(f"{path}: a file does not hold what its name promises: {error}; {AGAIN}") from error
    _check_sizes(path, bundle)
    return bundle


def read_manifest(path: Path) -> Manifest:
    """The manifest of the bundle at `path`. Raises: BundleMissing, BundleCorrupt, BundleMismatch."""
    file = path / "manifest.json"
    try:
        raw = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleMissing(
            f"{file}: there is no bundle here; give the folder that `python -m training` printed, or make one with it"
        ) from error
    except (OSError, ValueError) as error:
        raise BundleCorrupt(f"{file}: cannot be read ({error}); {AGAIN}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleMismatch(
            f"{file}: schema version {version!r}, this code reads {SCHEMA_VERSION}; export it again with this version"
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise BundleCorrupt(f"{file}: {where}: {problem['msg']}; {AGAIN}") from error
    if content_id_of(raw) != manifest.content_id:
        raise BundleCorrupt(f"{file}: was edited (its content id does not match its content); {AGAIN}")
    if absent := set(FILES) - set(manifest.files):
        raise BundleMismatch(f"{file}: lists no {', '.join(sorted(absent))}; {AGAIN}")
    _check_index(file, manifest.retrieval.index, there=INDEX in manifest.files)
    return manifest


def _check_index(where: Path, kind: Kind, *, there: bool) -> None:
    if there != (kind in FAISS_KINDS):
        has = "comes with an" if there else "has no"
        raise BundleMismatch(f"{where}: retrieval by {kind!r} {has} {INDEX}; {AGAIN}")


def _contents(bundle: Bundle) -> dict[str, bytes]:
    visual = {
        "mean": bundle.visual.scaling.mean,
        "scale": bundle.visual.scaling.scale,
        "E": bundle.visual.E,
        "E_match": bundle.visual.E_match,
        "visual_bias": bundle.visual.visual_bias,
        "offset": bundle.visual.offset,
    }
    seen = {"starts": torch.from_numpy(bundle.seen.starts), "indices": torch.from_numpy(bundle.seen.indices)}
    catalogue = io.BytesIO()
    bundle.catalogue.write_parquet(catalogue)
    return {
        "weights.safetensors": arrays.pack("weights", bundle.weights.tensors()),
        "visual.safetensors": arrays.pack("visual", {k: v for k, v in visual.items() if v is not None}),
        "seen.safetensors": arrays.pack("seen", seen),
        "users.txt": "".join(f"{user}\n" for user in bundle.users.ids).encode(),
        "items.parquet": catalogue.getvalue(),
        "golden.json": json.dumps([g.model_dump() for g in bundle.golden], indent=1, ensure_ascii=False).encode(),
        **({} if bundle.index is None else {INDEX: bundle.index.tobytes()}),
    }


def _entry(name: str, content: bytes) -> FileEntry:
    tensors = {}
    if name.endswith(".safetensors"):
        loaded = arrays.views(np.frombuffer(bytearray(content), dtype=np.uint8))
        tensors = {
            key: TensorEntry(dtype=arrays.dtype_name(t), shape=tuple(t.shape)) for key, t in sorted(loaded.items())
        }
    return FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), tensors=tensors)


def _verified(file: Path, entry: FileEntry) -> NDArray[np.uint8]:
    """
    The file's bytes, in memory of our own: what was hashed is what is served, whatever happens to the file later.

    A memory map would take less, and would let a copy over a bundle in service change or end it.
    """
    try:
        content, digest = arrays.read(file)
    except OSError as error:
        raise BundleCorrupt(f"{file}: cannot be read ({error.strerror}); {AGAIN}") from error
    if len(content) != entry.bytes:
        raise BundleCorrupt(f"{file}: is {len(content)} bytes long, the manifest says {entry.bytes}; {AGAIN}")
    if digest != entry.sha256:
        raise BundleCorrupt(f"{file}: was edited (sha256 differs from the manifest's); {AGAIN}")
    return content


def _tensors(file: Path, content: NDArray[np.uint8], entry: FileEntry) -> dict[str, Tensor]:
    """The arrays of a verified safetensors file, as views of `content`: a model is in memory once."""
    try:
        tensors = arrays.views(content)
    except DataError as error:
        raise BundleCorrupt(f"{file}: {error}; {AGAIN}") from error
    if set(tensors) != set(entry.tensors):
        raise BundleMismatch(f"{file}: holds {sorted(tensors)}, the manifest says {sorted(entry.tensors)}; {AGAIN}")
    for name, tensor in tensors.items():
        described = entry.tensors[name]
        if (arrays.dtype_name(tensor), tuple(tensor.shape)) != (described.dtype, described.shape):
            raise BundleMismatch(
                f"{file}: {name} is {arrays.dtype_name(tensor)} {tuple(tensor.shape)}, the manifest says "
                f"{described.dtype} {described.shape}; {AGAIN}"
            )
        if not arrays.finite(tensor):
            raise BundleCorrupt(f"{file}: {name} holds NaN or infinity; train and export again")
    return tensors


def _visual(manifest: Manifest, tensors: dict[str, Tensor]) -> Visual:
    return Visual(
        manifest.backbone,
        Scaling(tensors["mean"], tensors["scale"]),
        tensors["E"],
        tensors.get("E_match"),
        tensors.get("visual_bias"),
        manifest.model.tanh,
        tensors.get("offset"),
    )


def _check_sizes(path: Path, bundle: Bundle) -> None:
    manifest, weights, seen = bundle.manifest, bundle.weights, bundle.seen
    width, d = manifest.feature_width, manifest.model.dim
    sizes: dict[str, tuple[object, object]] = {
        "weights.safetensors: gamma_u": (tuple(weights.gamma_u.shape), (manifest.users, d)),
        "weights.safetensors: gamma_i": (tuple(weights.gamma_i.shape), (manifest.items, d)),
        "weights.safetensors: form": (manifest.model.form, manifest.form),
        "visual.safetensors: E": (tuple(bundle.visual.E.shape), (width, d)),
        "visual.safetensors: scale": (tuple(bundle.visual.scaling.scale.shape), (width,)),
        "users.txt: lines": (len(bundle.users), manifest.users),
        "items.parquet: rows": (len(bundle.items), manifest.items),
        "seen.safetensors: starts": (seen.starts.shape, (manifest.users + 1,)),
    }
    for what, (found, expected) in sizes.items():
        if found != expected:
            raise BundleMismatch(f"{path}/{what}: found {found}, the manifest says {expected}; {AGAIN}")
    inside = len(seen.indices) == 0 or (seen.indices.min() >= 0 and seen.indices.max() < manifest.items)
    if not inside or seen.starts[0] != 0 or seen.starts[-1] != len(seen.indices) or (np.diff(seen.starts) < 0).any():
        raise BundleMismatch(f"{path}/seen.safetensors: rows do not fit {manifest.items} items; {AGAIN}")
