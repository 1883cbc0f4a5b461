"""The backbone against features made elsewhere with the same weights, and against bytes that are no picture."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from causalrec.backbone import Backbone, EfficientNetLite0, decode_picture, load_backbone, read_picture
from causalrec.errors import ConfigError, DataError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SAMPLE = 200


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("efficientnet_lite0")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other layer by layer crawl on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stored(name: str) -> dict[str, np.ndarray]:
    """item_id → the feature that the data set `name` came with."""
    if not (DATA / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}, which does not travel with the repository")
    ids = pl.read_parquet(DATA / name / "items.parquet")["item_id"].to_list()
    return dict(zip(ids, np.load(DATA / name / "features.npy").astype(np.float32), strict=True))


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_features_equal_those_of_the_reference_data(backbone: Backbone) -> None:
    """Same weights, same preparation, same features: cosine at least .999 on each of 200 posters."""
    features = stored("ml_1m_posters")
    chosen = sorted(features)[:: len(features) // SAMPLE][:SAMPLE]

    ours = backbone.features([DATA / "ml_1m_posters" / "images" / f"{item}.jpg" for item in chosen])

    cosines = functional.cosine_similarity(ours, torch.from_numpy(np.stack([features[item] for item in chosen])))
    assert cosines.min() >= 0.999


def test_features_equal_those_of_the_second_data_set(backbone: Backbone) -> None:
    """
    The smaller data set's features were made from the pictures that the larger one has (its own are shrunk copies:
    they only come close, cosine .86 and up); on 200 items in both, cosine at least .999.
    """
    larger = DATA / "ml_1m_posters" / "images"
    features = {item: row for item, row in stored("ml_latest_small_demo").items() if (larger / f"{item}.jpg").exists()}
    chosen = sorted(features)[:: len(features) // SAMPLE][:SAMPLE]

    ours = backbone.features([larger / f"{item}.jpg" for item in chosen])

    cosines = functional.cosine_similarity(ours, torch.from_numpy(np.stack([features[item] for item in chosen])))
    assert cosines.min() >= 0.999


def test_a_shrunk_picture_is_nearest_to_its_own_feature(backbone: Backbone) -> None:
    """A smaller, more compressed copy of a poster is closer to its original than to any of 2,260 others."""
    features = stored("ml_latest_small_demo")
    order = sorted(features)
    chosen = range(0, len(order), len(order) // 20)

    ours = backbone.features([DATA / "ml_latest_small_demo" / "images" / f"{order[row]}.jpg" for row in chosen])

    everything = functional.normalize(torch.from_numpy(np.stack([features[item] for item in order])))
    assert (functional.normalize(ours) @ everything.T).argmax(dim=1).tolist() == list(chosen)


def test_a_feature_does_not_depend_on_the_batch(backbone: Backbone) -> None:
    """On the CPU the same picture gives the same bits alone, in a batch, and on another day."""
    pictures = [noise(50, 70, seed) for seed in range(3)]

    together = backbone.features(pictures)

    assert together.shape == (3, backbone.width)
    assert together.dtype == torch.float32
    for picture, feature in zip(pictures, together, strict=True):
        assert torch.equal(load_backbone("efficientnet_lite0").features([picture])[0], feature)


def test_no_pictures_no_features(backbone: Backbone) -> None:
    """An empty batch is an empty matrix of the right width."""
    assert backbone.features([]).shape == (0, 1280)


def test_strided_convolutions_see_what_tensorflow_shows_them() -> None:
    """With stride 2 on even sizes the padding is at the right and bottom only; on odd ones on both sides."""
    convolution = EfficientNetLite0()._conv_stem
    nn.init.ones_(convolution.weight)

    even = convolution(torch.ones(1, 3, 4, 4))[0, 0]
    odd = convolution(torch.ones(1, 3, 5, 5))[0, 0]

    assert even.tolist() == [[27, 18], [18, 12]]
    assert odd.tolist() == [[12, 18, 12], [18, 27, 18], [12, 18, 12]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_every_format_decodes_to_rgb(kind: str, mode: str) -> None:
    """Whatever a shop's pictures are stored as, the backbone gets three channels."""
    data = encoded(noise(9, 7).convert(mode if kind != "JPEG" else mode.replace("P", "CMYK")), kind)

    picture = decode_picture(data, "picture")

    assert (picture.mode, picture.size) == ("RGB", (9, 7))


def test_transparent_pixels_are_white() -> None:
    """What a transparent pixel hides must not be seen."""
    hidden = Image.new("RGBA", (2, 2), (255, 0, 0, 0))

    assert decode_picture(encoded(hidden, "PNG"), "picture").getpixel((0, 0)) == (255, 255, 255)


def test_pictures_are_turned_upright() -> None:
    """A camera that notes its rotation and one that turns the pixels give the same picture."""
    exif = Image.Exif()
    exif[0x0112] = 6

    assert decode_picture(encoded(noise(40, 20), "JPEG", exif=exif), "picture").size == (20, 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_picture_cut_off_is_refused_by_name(kind: str) -> None:
    """Half a picture is an error naming the file, never a half-grey picture."""
    data = encoded(noise(64, 64), kind)

    for length in (0, 1, 20, len(data) // 2):
        with pytest.raises(DataError, match=r"shop/shoe\.jpg: .*replace the file"):
            decode_picture(data[:length], "shop/shoe.jpg")


@pytest.mark.parametrize("side", [9_000, 30_000])
def test_a_picture_that_would_fill_the_memory_is_refused(side: int) -> None:
    """A few kilobytes may claim any number of pixels; they are refused before decoding."""
    data = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
    data[18:22] = data[22:26] = side.to_bytes(4, "little")

    with pytest.raises(DataError, match=r"bomb\.bmp: is too large to decode .* make it smaller"):
        decode_picture(bytes(data), "bomb.bmp")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Reading says which file is not there."""
    with pytest.raises(DataError, match=r"nothing\.jpg: cannot be read"):
        read_picture(tmp_path / "nothing.jpg")


@pytest.mark.parametrize("name", ["resnet50", "", "efficientnet_lite1"])
def test_an_unknown_backbone_says_which_there_are(name: str) -> None:
    """The message of an unknown name holds the names that work."""
    with pytest.raises(ConfigError, match=r"efficientnet_lite0.*timm:NAME"):
        load_backbone(name)


def test_timm_is_asked_for_by_name_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without timm the message says what to install."""
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(ConfigError, match="pip install timm"):
        load_backbone("timm:resnet50")


@pytest.mark.parametrize("failure", [RuntimeError("Unknown model"), FileNotFoundError("weights cannot be fetched")])
def test_what_timm_cannot_make_is_said_without_a_traceback(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """Unknown models, and weights that are not here and cannot be fetched, end in one clear error."""

    def create_model(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))

    with pytest.raises(ConfigError, match=rf"timm:resnet50.*{failure}.*efficientnet_lite0"):
        load_backbone("timm:resnet50")
