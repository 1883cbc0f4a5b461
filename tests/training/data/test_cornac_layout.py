"""cornac's amazon_clothing, written here in its layout, good and bad."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from causalrec.errors import DataError
from training.config import DataConfig
from training.data.cornac_layout import convert_cornac
from training.data.dataset import load_dataset

RATINGS = "0\t10\t4.0\n0\t11\t2.0\n1\t10\t5.0\n1\t12\t1.0\n"
TEXTS = "10::a blue shirt::with dots\n11::a hat\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "rating.txt").write_text(RATINGS)
    (source / "text.txt").write_text(TEXTS)
    (source / "item_ids.txt").write_text("99\n11\n10\n")
    np.save(source / "image_features.npy", np.array([[3.0, 0.5], [1.0, 0.5], [2.0, 0.5]], dtype=np.float64))
    return source


def test_it_becomes_a_data_directory(tmp_path: Path, folder: Path) -> None:
    """The trainer reads it; features go to the items that item_ids.txt says, texts may hold the separator."""
    told = convert_cornac(folder, tmp_path / "out", quiet=True)

    dataset = load_dataset(tmp_path / "out", DataConfig(k_core=1), seed=0)
    assert dataset.items.ids == ("10", "11")
    assert dataset.features.tolist() == [[2.0, 0.5], [1.0, 0.5]]
    assert dataset.catalogue["description"].to_list() == ["a blue shirt::with dots", "a hat"]
    assert dataset.interactions.rating is not None
    assert dataset.interactions.rating.tolist() == [4.0, 2.0, 5.0]
    assert (told.users, told.items, told.interactions) == (2, 2, 3)
    assert told.dropped == {"items without a feature": 1, "interactions with such items": 1}


def test_the_last_of_two_ratings_counts_and_texts_may_be_absent(tmp_path: Path, folder: Path) -> None:
    """As in cornac, whose matrix holds one number per pair."""
    (folder / "rating.txt").write_text(RATINGS + "0\t10\t1.0\n")
    (folder / "text.txt").unlink()

    told = convert_cornac(folder, tmp_path / "out", quiet=True)

    log = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert log.row(0) == ("0", "10", 1.0)
    assert told.dropped["earlier ratings of one item by one user"] == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("rating.txt", "0\t10\n", r"rating\.txt: line 1: '0\\t10' is not user, item and rating between tabs"),
        ("rating.txt", "0\t10\t4\n0\t11\tgood\n", r"rating\.txt: line 2"),
        ("text.txt", "10 a blue shirt\n", r"text\.txt: line 1: .* is not item::description"),
        ("item_ids.txt", "11\n10\n", r"image_features\.npy: is float64 \[3, 2\], but item_ids\.txt names 2 items"),
        ("image_features.npy", "no array", r"image_features\.npy: is not a readable \.npy file"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, folder: Path, file: str, content: str, said: str) -> None:
    """With its line where it has one; nothing is written."""
    (folder / file).write_text(content)

    with pytest.raises(DataError, match=said):
        convert_cornac(folder, tmp_path / "out", quiet=True)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", ["rating.txt", "item_ids.txt", "image_features.npy"])
def test_an_absent_file_is_named(tmp_path: Path, folder: Path, file: str) -> None:
    """All but the texts are needed."""
    (folder / file).unlink()

    with pytest.raises(DataError, match=file):
        convert_cornac(folder, tmp_path / "out", quiet=True)
