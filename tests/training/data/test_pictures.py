"""Items' pictures as pixels: which file is whose, and what is wrong with one."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from causalrec.errors import DataError
from training.data.pictures import decode_pictures, item_pictures, pictures_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A red picture, higher than wide, and a blue one."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 40), (200, 0, 0)).save(tmp_path / "images" / "hat.png")
    Image.new("RGB", (40, 40), (0, 0, 200)).save(tmp_path / "images" / "tie.png")
    return tmp_path


def test_pictures_are_squares_of_bytes_in_the_items_order(folder: Path) -> None:
    """uint8 [I, 3, S, S]; what was not square is squashed, as for the backbone."""
    items = pl.DataFrame({"item_id": ["tie", "hat"], "image": ["tie.png", "hat.png"]})
    paths = item_pictures(folder, items)
    assert paths is not None

    pixels = decode_pictures(paths, 16).numpy()

    assert pixels.shape == (2, 3, 16, 16)
    assert pixels.dtype == np.uint8
    assert (pixels == np.array([[0, 0, 200], [200, 0, 0]])[:, :, None, None]).all()


def test_models_trained_one_after_the_other_decode_once(folder: Path) -> None:
    """The same files again are not read; other pixels are."""
    paths = (folder / "images" / "hat.png",)
    first = decode_pictures(paths, 16)

    assert decode_pictures(paths, 16) is first
    assert decode_pictures(paths, 32).shape == (1, 3, 32, 32)


def test_an_item_without_a_picture_has_the_name_it_should_have(folder: Path) -> None:
    """So that the message can name it; without the folder nothing has a picture."""
    items = pl.DataFrame({"item_id": ["shoe", "hat"], "image": [None, "hat.png"]})

    paths = item_pictures(folder, items)

    assert paths == (folder / "images" / "shoe.jpg", folder / "images" / "hat.png")
    assert item_pictures(folder / "images", items) is None
    with pytest.raises(DataError, match=r"(?s)1 of 2 items .*shoe\.jpg: cannot be read"):
        decode_pictures(paths, 16)


def test_the_first_five_bad_pictures_are_named(folder: Path) -> None:
    """And the rest counted."""
    paths = tuple(folder / f"absent-{n}.png" for n in range(7))

    with pytest.raises(DataError, match=r"(?s)7 of 7 items .*absent-4.*and 2 more") as raised:
        decode_pictures(paths, 16)

    assert "absent-5" not in str(raised.value)


def test_the_digest_is_of_contents_and_their_order(folder: Path) -> None:
    """An absent file is no error: whoever decodes it says so."""
    hat, tie = folder / "images" / "hat.png", folder / "images" / "tie.png"
    before = pictures_digest([hat, tie])

    assert pictures_digest([tie, hat]) != before
    assert pictures_digest([hat, folder / "absent.png"]) != before
    hat.write_bytes(hat.read_bytes() + b"\0")
    assert pictures_digest([hat, tie]) != before
