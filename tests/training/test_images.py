"""Features from pictures: three drawn ones, a cache, and what can go wrong with both."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from causalrec.backbone import Backbone, load_backbone, read_picture
from causalrec.errors import ConfigError, DataError
from training.config import DataConfig, ImagesConfig
from training.data import features as features_module
from training.data.dataset import Dataset, load_dataset
from training.data.images import FeatureCache, see

NAMES = ("hat", "shoe", "tie")


class Means(nn.Module):
    """The mean of each channel, and a count of the pictures seen; from `fails_at` on, a kill."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.fails_at: int | None = None

    def forward(self, pictures: Tensor) -> Tensor:
        if self.seen == self.fails_at:
            raise KeyboardInterrupt
        self.seen += len(pictures)
        return pictures.mean(dim=(2, 3))


def prepare(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(picture.resize((8, 8)), dtype=np.float32).transpose(2, 0, 1).copy())


@pytest.fixture
def network() -> Means:
    return Means()


@pytest.fixture
def backbone(network: Means) -> Backbone:
    return Backbone("means", "means:1", 3, torch.device("cpu"), network, prepare)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """A red, a green and a blue picture in images/."""
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{name}.png" for name in NAMES]
    for path, colour in zip(paths, ("red", "lime", "blue"), strict=True):
        Image.new("RGB", (10, 10), colour).save(path)
    return paths


@pytest.fixture
def shop(paths: list[Path]) -> Path:
    """A data directory with those pictures, its items in another order than their ids."""
    directory = paths[0].parents[1]
    rows = "".join(f"{user},{item}\n" for user in ("ann", "bob", "cy") for item in NAMES)
    (directory / "interactions.csv").write_text("user_id,item_id\n" + rows)
    (directory / "items.csv").write_text("item_id\ntie\nhat\nshoe\n")
    return directory


@pytest.fixture
def load(shop: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> "Load":
    monkeypatch.setattr(features_module, "load_backbone", lambda _name, _device: backbone)
    return Load(shop)


class Load:
    """load_dataset on the shop."""

    def __init__(self, shop: Path) -> None:
        self.shop = shop

    def __call__(self, *, skip_bad: bool = False) -> Dataset:
        images = ImagesConfig(cache=self.shop / "cache")
        return load_dataset(self.shop, DataConfig(k_core=2), images, seed=0, skip_bad=skip_bad)


def look(paths: Sequence[Path], backbone: Backbone, folder: Path, batch_size: int = 1) -> list[list[float]]:
    return [row.tolist() for row in see(paths, backbone, FeatureCache(folder, backbone), batch_size).features]


PURE = [[255.0, 0.0, 0.0], [0.0, 255.0, 0.0], [0.0, 0.0, 255.0]]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_features_follow_the_order_of_the_pictures(
    paths: list[Path], backbone: Backbone, tmp_path: Path, batch_size: int
) -> None:
    """However they are batched, each row is its own picture's."""
    assert look(paths, backbone, tmp_path / "cache", batch_size) == PURE
    assert look(paths[::-1], backbone, tmp_path / "cache", batch_size) == PURE[::-1]


def test_a_picture_is_looked_at_once(paths: list[Path], backbone: Backbone, network: Means, tmp_path: Path) -> None:
    """Copies of a file and later runs take the feature from the cache; the file's name does not matter."""
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[0].read_bytes())

    look([*paths, copy], backbone, tmp_path / "cache")
    again = look([copy], backbone, tmp_path / "cache")

    assert again == [PURE[0]]
    assert network.seen == 3


def test_a_killed_run_goes_on_where_it_was(
    paths: list[Path], backbone: Backbone, network: Means, tmp_path: Path
) -> None:
    """What was looked at before the kill is not looked at again."""
    network.fails_at = 2
    with pytest.raises(KeyboardInterrupt):
        look(paths, backbone, tmp_path / "cache")
    network.fails_at = None

    after = look(paths, backbone, tmp_path / "cache")

    assert after == PURE
    assert network.seen == 3


@pytest.mark.parametrize(
    "spoil",
    # The last: one byte of the feature itself, which stands before two digests of 32 bytes.
    [lambda data: data[:0], lambda data: data[:50], lambda data: data[:-66] + b"!" + data[-65:]],
)
def test_a_damaged_cache_file_is_made_again(
    paths: list[Path], backbone: Backbone, network: Means, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """Empty, cut off or with one byte changed: its pictures are looked at again, the others are not."""
    look(paths, backbone, tmp_path / "cache")
    (first, *_) = sorted((tmp_path / "cache").rglob("*.safetensors"))
    first.write_bytes(spoil(first.read_bytes()))

    assert look(paths, backbone, tmp_path / "cache") == PURE
    assert network.seen == 4


def test_another_backbone_has_a_cache_of_its_own(
    paths: list[Path], backbone: Backbone, network: Means, tmp_path: Path
) -> None:
    """Features of different networks are never mixed, though the pictures are the same."""
    look(paths, backbone, tmp_path / "cache")

    look(paths, replace(backbone, identity="means:2"), tmp_path / "cache")

    assert network.seen == 6


def test_a_cache_that_cannot_be_written_is_named(paths: list[Path], backbone: Backbone, tmp_path: Path) -> None:
    """The message names the folder and the setting."""
    (tmp_path / "cache").write_text("a file where the folder should be")

    with pytest.raises(ConfigError, match=r"images\.cache: .*cannot be written .*name another folder"):
        look(paths, backbone, tmp_path / "cache")


def test_looking_leaves_torchs_threads_as_they_were(paths: list[Path], backbone: Backbone, tmp_path: Path) -> None:
    """Training afterwards has all the threads it had before."""
    before = torch.get_num_threads()

    look(paths, backbone, tmp_path / "cache")

    assert torch.get_num_threads() == before


def test_a_data_set_gets_its_features_from_its_pictures(load: Load) -> None:
    """Without features.npy each item's picture is found by its id, and its feature stands in the item's row."""
    data = load()

    assert data.features.tolist() == PURE
    assert data.backbone == "means:1"
    assert data.catalogue["image"].to_list() == ["hat.png", "shoe.png", "tie.png"]


def test_the_fingerprint_follows_the_pictures(load: Load) -> None:
    """Another picture is another data set."""
    before = load().fingerprint
    Image.new("RGB", (10, 10), "white").save(load.shop / "images" / "hat.png")

    assert load().fingerprint != before


def test_missing_pictures_are_named_before_any_is_looked_at(load: Load, network: Means) -> None:
    """Nobody waits for the backbone to learn that a file is not there."""
    (load.shop / "images" / "shoe.png").unlink()

    with pytest.raises(DataError, match=r"1 of 3 items .*--skip-bad .*\n  item 'shoe': .*images"):
        load()
    assert network.seen == 0


def test_broken_pictures_are_named(load: Load) -> None:
    """Item and file of every broken picture are in one message."""
    for name in ("hat", "tie"):
        (load.shop / "images" / f"{name}.png").write_bytes(b"no picture")

    with pytest.raises(DataError, match=r"(?s)2 of 3 items .*item 'hat': .*hat\.png: is no .*item 'tie': .*tie\.png"):
        load()


@pytest.mark.parametrize("broken", [True, False])
def test_skip_bad_drops_the_item_and_its_interactions(load: Load, broken: bool) -> None:
    """An item without a usable picture is gone from everywhere, and both losses are counted."""
    path = load.shop / "images" / "shoe.png"
    path.write_bytes(path.read_bytes()[:45]) if broken else path.unlink()

    data = load(skip_bad=True)

    assert data.items.ids == ("hat", "tie")
    assert data.features.tolist() == [PURE[0], PURE[2]]
    assert len(data.interactions) == 6
    assert data.skipped["items without a usable picture or feature"].count == 1
    assert data.skipped["interactions with such items"].count == 3


def test_the_real_backbone_fills_the_real_cache(paths: list[Path], tmp_path: Path) -> None:
    """With the default backbone, too, what comes out of the cache is what went in."""
    backbone = load_backbone("efficientnet_lite0")
    cache = FeatureCache(tmp_path / "cache", backbone)

    first, again = (see(paths, backbone, cache, 2).features for _ in range(2))

    assert np.array_equal(first, again)
    assert np.allclose(first[0], backbone.features([read_picture(paths[0])])[0].numpy(), atol=1e-5)
