"""features.npy, picture names and purchases beside the log: numbered alike, refused when they do not fit."""

from pathlib import Path

import numpy as np
import pytest

from causalrec.errors import DataError
from tests.training.conftest import PAIRS, load
from training.config import DataConfig
from training.data.dataset import load_dataset


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((2, 4), np.float32), r"is \[2, 4\], the items file asks for \[3, F\]"),
        (np.zeros(3, np.float32), r"is \[3\], the items file"),
        (np.zeros((3, 4), np.int64), "holds int64"),
        (np.array([[0.0], [np.nan], [np.inf]], np.float32), r"(?s)2 of 3 .*item 'hat': .*row 1 holds NaN"),
    ],
)
def test_features_that_do_not_fit_are_refused(folder: Path, features: np.ndarray, message: str) -> None:
    """Rows, type and every value of features.npy are checked before anything is learned from it."""
    np.save(folder / "features.npy", features)

    with pytest.raises(DataError, match=message):
        load(folder)


def test_features_that_would_unpickle_are_refused(folder: Path) -> None:
    """An array of objects is a program; it is not run."""
    np.save(folder / "features.npy", np.array([{}, {}, {}]), allow_pickle=True)

    with pytest.raises(DataError, match=r"features\.npy: is not a readable \.npy file"):
        load(folder)


def test_skip_bad_keeps_features_with_their_items(folder: Path) -> None:
    """A bad line in the items file moves no other item's feature."""
    (folder / "items.csv").write_text("item_id,title\ntie,too,many\nhat,A hat\nshoe,A shoe\n")

    data = load(folder, skip_bad=True)

    assert data.items.ids == ("hat", "shoe")
    assert data.features[:, 0].tolist() == [1.0, 2.0]
    assert data.skipped["interactions.csv: item_id is not in the items file"].count == 3


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "a/../../b.jpg"])
def test_pictures_stay_below_their_folder(folder: Path, name: str) -> None:
    """An items file cannot make the shop show other files of the machine."""
    (folder / "items.csv").write_text(f"item_id,image\ntie,{name}\nhat,\nshoe,s.jpg\n")

    with pytest.raises(DataError, match=r"line 2: image '.*' leads out of images/"):
        load(folder)


def test_purchases_keep_their_parts(folder: Path) -> None:
    """Purchases are numbered as everything else; those of unknown users or items are left out and counted."""
    (folder / "purchases.csv").write_text(
        "user_id,item_id,split\ncy,tie,test\nann,hat,valid\nzoe,hat,test\nann,sock,test\n"
    )

    data = load(folder)

    assert data.purchases is not None
    assert data.purchases.user.tolist() == [0, 2]
    assert data.purchases.item.tolist() == [0, 2]
    assert data.purchases.valid.tolist() == [True, False]
    assert data.skipped["purchases.csv: user or item is not in the data"].count == 2


def test_purchases_without_parts_are_halved(folder: Path) -> None:
    """Half of them choose λ2, half judge; which ones, the seed says."""
    (folder / "purchases.csv").write_text("user_id,item_id\n" + "".join(f"{u},{i}\n" for u, i in PAIRS[:8]))

    halves = {tuple(load_dataset(folder, DataConfig(k_core=2), seed=seed).purchases.valid) for seed in (0, 0, 1, 2)}  # type: ignore[union-attr]

    assert {sum(half) for half in halves} == {4}
    assert 1 < len(halves) <= 3


def test_bad_purchases_are_named(folder: Path) -> None:
    """The purchases file is checked as strictly as the others."""
    (folder / "purchases.csv").write_text("user_id,item_id,split\nann,hat,train\n")

    with pytest.raises(DataError, match=r"purchases\.csv: .*\n  line 2: split 'train' is neither valid nor test"):
        load(folder)
