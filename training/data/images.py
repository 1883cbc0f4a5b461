"""Images: one feature per picture, from the backbone or from the cache of pictures already seen."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor
from tqdm import tqdm

from causalrec.backbone import Backbone, decode_picture
from causalrec.errors import ConfigError, DataError
from causalrec.files import remove_leftovers, write_atomically

WORKERS = min(8, os.cpu_count() or 1)
SHOW_AFTER = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What came of looking at pictures, row-aligned to them."""

    features: NDArray[np.float32]
    """[n, F]; zeros for a picture in `broken`."""
    digests: tuple[str, ...]
    """sha256 of each file, hexadecimal; empty for a file that cannot be read."""
    broken: dict[int, str]
    """Row of each picture without a feature: why, naming the file."""


def see(paths: Sequence[Path], backbone: Backbone, cache: "FeatureCache", batch_size: int) -> Seen:
    """
    The feature of every picture in `paths`: [n, F].

    Each batch is in the cache before the next begins, so that a second run goes on where the first was killed. Equal
    files are looked at once.

    Raises: ConfigError where the cache cannot be written.
    """
    broken: dict[int, str] = {}
    digests = tuple(_digest(row, path, broken) for row, path in enumerate(_progress(paths, "hashing")))
    rows = {digest: row for row, digest in reversed(list(enumerate(digests))) if digest}
    known = cache.read(set(rows))
    waiting = sorted(row for digest, row in rows.items() if digest not in known)
    failed: dict[str, str] = {}
    batches = [waiting[start : start + batch_size] for start in range(0, len(waiting), batch_size)]

    def prepare(row: int) -> Tensor | str:
        try:
            return backbone.prepare(decode_picture(paths[row].read_bytes(), str(paths[row])))
        except (DataError, OSError) as error:
            return str(error)

    with (
        _one_thread_per_picture(),
        ThreadPoolExecutor(WORKERS) as workers,
        tqdm(total=len(waiting), desc="looking at pictures", unit="picture", delay=SHOW_AFTER) as bar,
    ):
        ahead = workers.map(prepare, batches[0] if batches else [])
        for batch, following in zip(batches, [*batches[1:], []], strict=True) if batches else ():
            prepared = list(zip(batch, ahead, strict=True))
            ahead = workers.map(prepare, following)
            for row, what in prepared:
                if isinstance(what, str):
                    failed[digests[row]] = what.removeprefix(f"{paths[row]}: ")
            good = [(digests[row], x) for row, x in prepared if isinstance(x, Tensor)]
            if good:
                features = _infer(backbone, [x for _, x in good], workers)
                cache.write([digest for digest, _ in good], features)
                known |= {digest: feature for (digest, _), feature in zip(good, features, strict=True)}
            bar.update(len(batch))

    features = np.zeros((len(paths), backbone.width), dtype=np.float32)
    for row, digest in enumerate(digests):
        if digest in known:
            features[row] = known[digest]
        elif digest:
            broken[row] = f"{paths[row]}: {failed[digest]}"
    return Seen(features, digests, broken)


def _infer(backbone: Backbone, inputs: list[Tensor], workers: ThreadPoolExecutor) -> NDArray[np.float32]:
    if backbone.device.type != "cpu":
        return backbone.infer(inputs).numpy()
    return torch.cat(list(workers.map(lambda one: backbone.infer([one]), inputs))).numpy()


@contextmanager
def _one_thread_per_picture() -> Iterator[None]:
    """Layers too small to share between threads: on a busy machine that made it sixty times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _digest(row: int, path: Path, broken: dict[int, str]) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        broken[row] = f"{path}: cannot be read ({error.strerror})"
        return ""


def _progress(paths: Sequence[Path], what: str) -> "tqdm[Path]":
    return tqdm(paths, desc=what, unit="picture", delay=SHOW_AFTER)


class FeatureCache:
    """
    Features on disk by the sha256 of the picture's file, one folder per backbone and one file per batch.

    A file holds its own checksum: damaged, it is passed over and removed, and its pictures are looked at again. The
    folder may be deleted at will, and two runs may share it.
    """

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        name = "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in backbone.identity)
        self.folder = folder / name
        self._width = backbone.width

    def read(self, digests: set[str]) -> dict[str, NDArray[np.float32]]:
        """The features, each [F], of those among `digests` that are there."""
        known: dict[str, NDArray[np.float32]] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                stored, features = self._parse(path.read_bytes())
            except (OSError, SafetensorError, ValueError, KeyError) as error:
                logger.warning("%s: is damaged (%s); its pictures are looked at again", path, error)
                path.unlink(missing_ok=True)
                continue
            known |= {digest: row.copy() for digest, row in zip(stored, features, strict=True) if digest in digests}
        return known

    def write(self, digests: Sequence[str], features: NDArray[np.float32]) -> None:
        """Keeps `features` [B, F] under `digests`. Raises: ConfigError where the folder cannot be written."""
        keys = np.frombuffer(bytes.fromhex("".join(digests)), dtype=np.uint8).reshape(len(digests), 32)
        features = np.ascontiguousarray(features, dtype=np.float32)
        content = save({"sha256": keys, "features": features, "checksum": _checksum(keys, features)})
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:32] + ".safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder)
            write_atomically(self.folder / name, content)
        except OSError as error:
            raise ConfigError(
                f"images.cache: {self.folder} cannot be written ({error.strerror}); name another folder"
            ) from error

    def _parse(self, content: bytes) -> tuple[list[str], NDArray[np.float32]]:
        tensors = load(content)
        keys, features = tensors["sha256"], tensors["features"]
        if features.shape != (len(keys), self._width) or features.dtype != np.float32:
            raise ValueError(f"holds {features.dtype} {features.shape}")
        if not np.array_equal(tensors["checksum"], _checksum(keys, features)):
            raise ValueError("checksum differs")
        return [row.tobytes().hex() for row in keys], features


def _checksum(keys: NDArray[np.uint8], features: NDArray[np.float32]) -> NDArray[np.uint8]:
    digest = hashlib.sha256(keys.tobytes() + features.tobytes()).digest()
    return np.frombuffer(digest, dtype=np.uint8)
