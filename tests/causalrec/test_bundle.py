"""The contract on disk: complete or absent, verified, and refused with file and way out when anything is off."""

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import safetensors.torch
import torch

from causalrec.bundle import FILES, INDEX, read_bundle, write_bundle
from causalrec.errors import BundleCorrupt, BundleError, BundleMismatch, BundleMissing, ConfigError
from causalrec.index import FAISS_KINDS, Kind
from causalrec.manifest import FileEntry, Manifest, TensorEntry
from tests.bundles import make_bundle
from tests.causalrec.conftest import FORMS


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(make_bundle("paper"), tmp_path)


def _reseal(path: Path, name: str, content: bytes) -> None:
    """Puts other content under `name` and makes every hash right again: only meaning can refuse it now."""
    (path / name).write_bytes(content)
    manifest = Manifest.model_validate_json((path / "manifest.json").read_bytes())
    tensors: dict[str, TensorEntry] = {}
    if name.endswith(".safetensors"):
        loaded = safetensors.torch.load(content)
        tensors = {
            k: TensorEntry(dtype=str(t.dtype).removeprefix("torch."), shape=tuple(t.shape)) for k, t in loaded.items()
        }
    entry = FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), tensors=tensors)
    sealed = manifest.model_copy(update={"files": manifest.files | {name: entry}}).sealed()
    (path / "manifest.json").write_bytes(sealed.as_json())


def _with_tensor(path: Path, name: str, tensor: torch.Tensor | None) -> bytes:
    tensors = safetensors.torch.load((path / "weights.safetensors").read_bytes())
    if tensor is None:
        del tensors[name]
    else:
        tensors[name] = tensor
    return safetensors.torch.save(tensors)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_is_what_was_written(tmp_path: Path, form: str) -> None:
    """Every array, id, golden answer and manifest field survives the disk, in every form."""
    written = make_bundle(form)  # type: ignore[arg-type]

    read = read_bundle(write_bundle(written, tmp_path), form=form)  # type: ignore[arg-type]

    for name, tensor in written.weights.tensors().items():
        assert torch.equal(read.weights.tensors()[name], tensor)
    assert torch.equal(read.visual.E, written.visual.E)
    assert (read.users.ids, read.items.ids) == (written.users.ids, written.items.ids)
    assert read.catalogue.equals(written.catalogue)
    assert np.array_equal(read.seen.indices, written.seen.indices)
    assert (read.index is None) == (written.index is None) == (form == "sum")
    if read.index is not None and written.index is not None:
        assert np.array_equal(read.index, written.index)
    assert read.golden == written.golden
    assert read.manifest.model_copy(update={"content_id": "", "files": {}}) == written.manifest


def test_the_name_is_the_content(tmp_path: Path) -> None:
    """The same content written twice is one directory; other content is another; the link follows the newest."""
    first = write_bundle(make_bundle("paper"), tmp_path)
    again = write_bundle(make_bundle("paper"), tmp_path)
    other = write_bundle(make_bundle("paper", seed=1), tmp_path)

    assert first == again
    assert other != first
    assert first.name.endswith(read_bundle(first).manifest.content_id[:12])
    assert (tmp_path / read_bundle(first).manifest.name).resolve() == other


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_bundle_holds_an_index_exactly_when_it_is_searched(tmp_path: Path, kind: Kind) -> None:
    """FAISS kinds come with index.faiss, the scans without; either is read back as what it is."""
    read = read_bundle(write_bundle(make_bundle("paper", retrieval=kind), tmp_path))

    assert read.manifest.retrieval.index == kind
    assert (read.index is not None) == (kind in FAISS_KINDS) == (INDEX in read.manifest.files)


@pytest.mark.parametrize(("kind", "message"), [("scan", "'scan' comes with an"), ("sq8", "'sq8' has no")])
def test_an_index_too_many_or_too_few_is_refused(tmp_path: Path, kind: Kind, message: str) -> None:
    """By the writer, before anything is on disk, and by the reader of what somebody else wrote."""
    scanned = make_bundle("paper", retrieval="scan")
    wrong = replace(make_bundle("paper") if kind == "scan" else scanned, manifest=_searched_by(scanned.manifest, kind))

    with pytest.raises(BundleMismatch, match=rf"{message} index\.faiss; export"):
        write_bundle(wrong, tmp_path)
    assert list(tmp_path.iterdir()) == []

    path = write_bundle(make_bundle("paper", retrieval="flat" if kind == "scan" else "scan"), tmp_path)
    manifest = _searched_by(Manifest.model_validate_json((path / "manifest.json").read_bytes()), kind)
    (path / "manifest.json").write_bytes(manifest.sealed().as_json())
    with pytest.raises(BundleMismatch, match=rf"{message} index\.faiss; export"):
        read_bundle(path)


def _searched_by(manifest: Manifest, kind: Kind) -> Manifest:
    return manifest.model_copy(update={"retrieval": manifest.retrieval.model_copy(update={"index": kind})})


def test_a_bundle_of_before_the_index_had_parameters_is_read(bundle: Path) -> None:
    """Its manifest lacks the field, its content id was made without it, and both still hold."""
    raw = json.loads((bundle / "manifest.json").read_bytes())
    del raw["retrieval"]["parameters"], raw["content_id"]
    old = hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps({**raw, "content_id": old}))

    manifest = read_bundle(bundle).manifest

    assert (manifest.retrieval.parameters, manifest.content_id) == ({}, old)


def test_what_was_verified_is_what_is_served(bundle: Path) -> None:
    """Files overwritten or cut in place after the reading change nothing: no array is a map of a file."""
    read, again = read_bundle(bundle), read_bundle(bundle)

    for name in (*FILES, INDEX):
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(bytes(len(content) // 2))

    assert all(torch.equal(read.weights.tensors()[name], t) for name, t in again.weights.tensors().items())
    assert float(read.weights.gamma_i.abs().sum()) > 0
    assert read.index is not None
    assert read.index.any()


@pytest.mark.parametrize("name", [*FILES, INDEX, "manifest.json"])
@pytest.mark.parametrize("damage", ["edited", "truncated", "emptied", "removed"])
def test_a_damaged_file_is_refused_by_name(bundle: Path, name: str, damage: str) -> None:
    """One flipped byte anywhere, a cut, an emptied or a missing file: refused, naming it and the way out."""
    content = (bundle / name).read_bytes()
    middle = len(content) // 2
    damaged = {
        "edited": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "truncated": content[:-7],
        "emptied": b"",
    }
    if damage == "removed":
        (bundle / name).unlink()
    else:
        (bundle / name).write_bytes(damaged[damage])

    with pytest.raises(BundleError, match=r"(again|make one with it)") as refusal:
        read_bundle(bundle)

    assert name in str(refusal.value)


def test_every_byte_of_the_manifest_counts(bundle: Path) -> None:
    """A changed default λ2 is noticed although the manifest stays valid JSON of the right schema."""
    raw = json.loads((bundle / "manifest.json").read_bytes())
    raw["lambda2"]["default"] = 2.5
    (bundle / "manifest.json").write_text(json.dumps(raw))

    with pytest.raises(BundleCorrupt, match=r"manifest\.json: was edited"):
        read_bundle(bundle)


def test_an_absent_bundle_is_missing(tmp_path: Path) -> None:
    """No directory, or a directory that is something else."""
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BundleMissing, match=r"manifest\.json: there is no bundle here"):
            read_bundle(path)


def test_another_schema_is_refused(bundle: Path) -> None:
    """A schema version this code does not read is named, with the one it does."""
    raw = json.loads((bundle / "manifest.json").read_bytes())
    raw["schema_version"] = 99
    (bundle / "manifest.json").write_text(json.dumps(raw))

    with pytest.raises(BundleMismatch, match="schema version 99, this code reads 1"):
        read_bundle(bundle)


def test_another_form_than_asked_for_is_refused(bundle: Path) -> None:
    """Reading the paper's form as the authors' is an error, not a wrong score."""
    with pytest.raises(BundleMismatch, match="form is 'paper', 'authors' was asked for"):
        read_bundle(bundle, form="authors")


@pytest.mark.parametrize(
    ("name", "tensor", "error", "message"),
    [
        ("gamma_u", torch.full((40, 8), torch.nan), BundleCorrupt, "gamma_u holds NaN"),
        ("e", torch.full((300, 8), torch.inf), BundleCorrupt, "e holds NaN or infinity"),
        ("gamma_i", torch.zeros(299, 8), BundleMismatch, "e: shape"),
        ("gamma_u", torch.zeros(40, 7), BundleMismatch, "shape"),
        ("M_null", None, BundleMismatch, "lacks the field 'M_null'"),
        ("m_null", torch.zeros(40), BundleMismatch, "must not have the field 'm_null'"),
        ("surprise", torch.zeros(3), BundleMismatch, "surprise"),
    ],
)
def test_whole_files_with_wrong_content_are_refused(
    bundle: Path, name: str, tensor: torch.Tensor | None, error: type[BundleError], message: str
) -> None:
    """Hashes may be right and the content still wrong: NaN, another shape, another form's fields."""
    _reseal(bundle, "weights.safetensors", _with_tensor(bundle, name, tensor))

    with pytest.raises(error, match=message):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("users.txt", b"ann\nann\n"),
        ("users.txt", b"ann\n"),
        ("users.txt", b"\xff\xfe"),
        ("items.parquet", b"not parquet"),
        ("golden.json", b'[{"user_id": 3}]'),
        ("weights.safetensors", safetensors.torch.save({"gamma_u": torch.zeros(2, 2)})),
        ("weights.safetensors", safetensors.torch.save({"gamma_u": torch.zeros(0, 8)})),
        ("seen.safetensors", safetensors.torch.save({"starts": torch.arange(41), "indices": torch.arange(40) + 290})),
        ("visual.safetensors", safetensors.torch.save({"mean": torch.zeros(3)})),
    ],
)
def test_files_of_other_content_are_refused(bundle: Path, name: str, content: bytes) -> None:
    """Whatever stands in a file, reading it ends in a BundleError with the way out, never in another exception."""
    _reseal(bundle, name, content)

    with pytest.raises(BundleMismatch, match="again"):
        read_bundle(bundle)


def test_arrays_with_nan_are_not_written(tmp_path: Path) -> None:
    """The writer refuses before anything is on disk."""
    broken = make_bundle("paper")
    broken.weights.theta_u[3, 2] = torch.nan

    with pytest.raises(BundleCorrupt, match="theta_u holds NaN"):
        write_bundle(broken, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_what_stands_where_the_link_belongs_is_left_alone(tmp_path: Path) -> None:
    """A folder of somebody's with the bundle's name is named and kept; the bundle itself is there."""
    name = make_bundle("paper").manifest.name
    (tmp_path / name).mkdir()

    with pytest.raises(ConfigError, match=rf"{name} is in the way of the link to {name}-\w+, which is written"):
        write_bundle(make_bundle("paper"), tmp_path)

    assert not (tmp_path / name).is_symlink()
    assert all(read_bundle(path) for path in tmp_path.glob(f"{name}-*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from causalrec import files
from causalrec.bundle import write_bundle
from tests.bundles import make_bundle
bundle, stop, written = make_bundle("paper", seed=1), int(sys.argv[2]), 0
true_sync = os.fsync
def sync(handle):
    global written
    written += 1
    if written == stop:
        os.kill(os.getpid(), signal.SIGKILL)
    true_sync(handle)
os.fsync = sync
write_bundle(bundle, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", [1, 5, 9, 10, 11])
def test_a_kill_in_the_middle_leaves_the_old_bundle(tmp_path: Path, moment: int) -> None:
    """Killed at any fsync, what the link shows is the old bundle or the new one, whole; the next write cleans up."""
    old = write_bundle(make_bundle("paper"), tmp_path)
    link = tmp_path / read_bundle(old).manifest.name

    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(moment)], check=False, cwd=Path.cwd())

    assert killed.returncode == -signal.SIGKILL
    read_bundle(link)
    assert all(read_bundle(path) for path in tmp_path.glob("[!.]*"))
    new = write_bundle(make_bundle("paper", seed=1), tmp_path)
    assert link.resolve() == new
    assert {path.name for path in tmp_path.iterdir()} == {old.name, new.name, link.name}
