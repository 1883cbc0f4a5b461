"""Arrays in safetensors files: packed, and read without a copy; never NaN or infinity."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec.errors import BundleCorrupt, DataError

DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}  # what bundles hold
CHUNK = 1 << 20  # bytes read at a time, hashed while they are in the cache


def pack(name: str, tensors: dict[str, Tensor]) -> bytes:
    """The content of `name`.safetensors. Raises: BundleCorrupt when an array holds NaN or infinity."""
    for key, tensor in tensors.items():
        if not finite(tensor):
            raise BundleCorrupt(
                f"{name}.safetensors: {key} holds NaN or infinity; lower the learning rate and train again"
            )
    return safetensors.torch.save({key: tensor.contiguous() for key, tensor in sorted(tensors.items())})


def read(file: Path) -> tuple[NDArray[np.uint8], str]:
    """The file's bytes and their sha256, from one pass over them. Raises: OSError."""
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as handle:
        content = np.empty(os.fstat(handle.fileno()).st_size, dtype=np.uint8)
        done = 0
        while count := handle.readinto(content.data[done : done + CHUNK]):
            digest.update(content.data[done : done + count])
            done += count
    return content[:done], digest.hexdigest()


def views(content: NDArray[np.uint8]) -> dict[str, Tensor]:
    """
    The arrays of a safetensors file as views of its bytes, which the library would copy.

    The format is the header's length in 8 bytes, the header in JSON, the arrays.

    Raises: DataError when `content` is something else.
    """
    try:
        begin = 8 + int.from_bytes(content[:8].tobytes(), "little")
        header = json.loads(content[8:begin].tobytes())
        tensors = {}
        for name, described in header.items():
            if name != "__metadata__":
                start, stop = described["data_offsets"]
                flat = torch.from_numpy(content[begin + start : begin + stop])
                tensors[name] = flat.view(DTYPES[described["dtype"]]).reshape(described["shape"])
    except (AttributeError, TypeError, KeyError, ValueError, OverflowError, RuntimeError) as error:
        raise DataError(f"is not a safetensors file of float32, float64 and int64 ({error})") from error
    return tensors


def finite(tensor: Tensor) -> bool:
    """Without an array of the tensor's size: least and largest are NaN or infinite when anything is."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return bool(torch.stack(tensor.aminmax()).isfinite().all())


def dtype_name(tensor: Tensor) -> str:
    """float32, int64 ..."""
    return str(tensor.dtype).removeprefix("torch.")
