"""Bundles spoilt on disk, each in one way that a service must notice."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from causalrec.manifest import SCHEMA_VERSION, content_id_of

Damage = Callable[[Path], None]
WEIGHTS = "weights.safetensors"


def truncate(path: Path) -> None:
    """The end of a file is missing."""
    file = path / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])


def edit(path: Path) -> None:
    """A byte is another."""
    content = bytearray((path / "items.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "items.parquet").write_bytes(content)


def put_nan(path: Path) -> None:
    """Every hash is right, and a weight is no number."""
    weights = load_file(path / WEIGHTS)
    weights["gamma_u"][0, 0] = torch.nan
    save_file(weights, path / WEIGHTS)
    _seal(path, WEIGHTS)


def change_schema(path: Path) -> None:
    """Of a release to come."""
    manifest = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_text(json.dumps({**manifest, "schema_version": SCHEMA_VERSION + 1}))


def change_golden(path: Path) -> None:
    """Every hash is right, and a golden answer is not what it answers."""
    golden = json.loads((path / "golden.json").read_bytes())
    golden[0]["items"][0]["score"] += 0.25
    (path / "golden.json").write_text(json.dumps(golden))
    _seal(path, "golden.json")


def _seal(path: Path, name: str) -> None:
    """Makes the manifest say what the file is by now."""
    manifest, content = json.loads((path / "manifest.json").read_bytes()), (path / name).read_bytes()
    manifest["files"][name] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["content_id"] = content_id_of(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
