"""Pictures that callers send: the same features as in training, and nothing that could harm the service."""

import asyncio
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from causalrec.backbone import LITE0, Backbone, load_backbone
from causalrec.errors import Overloaded, RequestError
from service import pictures as pictures_module
from service.pictures import MOST_PIXELS, MOST_SCANS, Pictures, check
from training.data.images import FeatureCache, see


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As training looks at pictures, and the service by default."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def identity() -> str:
    """Of the backbone that comes with the package."""
    return load_backbone(LITE0).identity


@pytest.fixture(scope="module")
def pictures() -> Iterator[Pictures]:
    """One for all tests: loading the backbone takes longer than they do."""
    looking = Pictures()
    yield looking
    looking.close()


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(0)
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode)


def turned(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # as a telephone held upright writes it
    return encoded(picture, "JPEG", exif=exif)


def look(pictures: Pictures, data: bytes, identity: str) -> np.ndarray:
    return asyncio.run(pictures.feature(data, identity))


FILES = {
    "photo.jpg": encoded(noise(900, 1300), "JPEG", quality=80),
    "upright.jpg": turned(noise(80, 50)),
    "progressive.jpg": encoded(noise(), "JPEG", progressive=True),
    "grey.png": encoded(noise(mode="L"), "PNG"),
    "transparent.png": encoded(noise(mode="RGBA"), "PNG"),
    "cmyk.jpg": encoded(noise().convert("CMYK"), "JPEG"),
    "moving.gif": encoded(noise(), "GIF", save_all=True, append_images=[Image.new("RGB", (60, 40), "red")]),
    "shop.webp": encoded(noise(), "WEBP"),
    "old.bmp": encoded(noise(), "BMP"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_picture_has_the_feature_that_training_gives_it(
    name: str, tmp_path: Path, pictures: Pictures, identity: str
) -> None:
    """The same file, bit for bit: else a new item would stand elsewhere than the same item after retraining."""
    (path := tmp_path / name).write_bytes(FILES[name])
    backbone = load_backbone(LITE0)
    trained = see([path], backbone, FeatureCache(tmp_path / "cache", backbone), 1)

    feature = look(pictures, FILES[name], identity)

    assert trained.broken == {}
    assert feature.dtype == np.float32
    np.testing.assert_array_equal(feature, trained.features[0])


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_of_scans(scans: int) -> bytes:
    data = encoded(noise(), "JPEG")
    start = data.index(b"\xff\xda")
    return data[:start] + data[start : start + 14] * scans + data[start:]


BAD = {
    "nothing": (b"", "is empty"),
    "text": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no JPEG, PNG, WebP, GIF or BMP"),
    "tiff": (encoded(noise(), "TIFF"), "is no JPEG, PNG, WebP, GIF or BMP"),
    "icon": (encoded(noise(), "ICO"), "is no JPEG, PNG, WebP, GIF or BMP"),
    "a head alone": (b"\xff\xd8\xff\xe0", "is no JPEG, PNG, WebP, GIF or BMP"),
    "cut off": (FILES["photo.jpg"][:5000], "is not a readable picture"),
    "png cut off": (FILES["grey.png"][:200], "is not a readable picture"),
    "bomb": (png_of(5001, 5000), "has 5001 x 5000 pixels"),
    "great bomb": (png_of(20_000, 20_000), "too many pixels"),
    "endless scans": (jpeg_of_scans(MOST_SCANS), f"is a JPEG of {MOST_SCANS + 1} scans"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_safe_picture_is_refused(name: str, pictures: Pictures, identity: str) -> None:
    """By name of the field, with the reason; nothing of it is decoded where its head says enough."""
    data, reason = BAD[name]

    with pytest.raises(RequestError, match=reason) as caught:
        look(pictures, data, identity)

    assert caught.value.field == "picture"
    assert len(str(caught.value.value)) < 30


def test_the_largest_picture_passes_the_check() -> None:
    """The bound is on pixels, not on sides."""
    check(png_of(MOST_PIXELS // 100, 100))


def test_a_claimed_size_costs_no_memory(pictures: Pictures, identity: str) -> None:
    """Refused by the head: a bomb of 25 million pixels and one of 400 million leave the memory as it was."""
    peak = peak_bytes()

    for data in (png_of(5001, 5000), png_of(20_000, 20_000), encoded(Image.new("1", (5100, 5000)), "PNG")):
        with pytest.raises(RequestError):
            look(pictures, data, identity)

    assert peak_bytes() - peak < 50_000_000


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize("other", ["features.npy", "timm:resnet50:timm-1.0.0", f"{LITE0}:000000000000:squash224-v1"])
def test_a_bundle_of_another_backbone_takes_features_alone(other: str, pictures: Pictures) -> None:
    """A feature of a different network would stand anywhere; the caller learns the way out."""
    with pytest.raises(RequestError, match="send the feature itself") as caught:
        look(pictures, FILES["grey.png"], other)

    assert other in caught.value.detail


def test_pictures_wait_in_a_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is looked at, a few wait, more are refused; afterwards there is room again."""
    opened, begun = threading.Event(), threading.Event()

    def held(_: bytes) -> None:
        begun.set()
        assert opened.wait(30)

    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    backbone = Backbone("means", "means:1", 3, torch.device("cpu"), network, lambda _: torch.ones(3, 4, 4))
    monkeypatch.setattr(pictures_module, "load_backbone", lambda _: backbone)
    monkeypatch.setattr(pictures_module, "check", held)

    async def scenario() -> list[list[float]]:
        looking, data = Pictures(most_waiting=3), FILES["grey.png"]
        waiting = [asyncio.create_task(looking.feature(data, "means:1")) for _ in range(3)]
        await asyncio.to_thread(begun.wait, 30)
        with pytest.raises(Overloaded):
            await looking.feature(data, "means:1")
        opened.set()
        features = [*(await asyncio.gather(*waiting)), await looking.feature(data, "means:1")]
        looking.close()
        return [feature.tolist() for feature in features]

    assert asyncio.run(scenario()) == [[1.0, 1.0, 1.0]] * 4
