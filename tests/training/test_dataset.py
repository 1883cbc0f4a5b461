"""A data directory of three users and three items, spoiled in one way at a time; and the real ones where they are."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from causalrec.errors import DataError
from training.config import DataConfig
from training.data.dataset import Dataset, load_dataset

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
PAIRS = [(user, item) for user in ("ann", "bob", "cy") for item in ("hat", "shoe", "tie")]
LOG = "user_id,item_id,timestamp,rating\n" + "".join(f"{user},{item},7,4\n" for user, item in PAIRS)
ITEMS = "item_id,title,price,brand\ntie,A tie,9.5,Acme\nhat,A hat,,Acme\nshoe,A shoe,80,Sole\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Items out of order, each with a feature that tells its row in the file: tie 0, hat 1, shoe 2."""
    (tmp_path / "interactions.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    np.save(tmp_path / "features.npy", np.arange(3, dtype=np.float16)[:, None] + np.zeros((3, 4), np.float16))
    return tmp_path


def load(directory: Path, *, skip_bad: bool = False, **config: Any) -> Dataset:
    return load_dataset(directory, DataConfig(**{"k_core": 2} | config), seed=0, skip_bad=skip_bad)


def test_everything_is_numbered_alike(shop: Path) -> None:
    """Vocabularies are sorted, and catalogue, features and interactions follow their rows, not the files'."""
    data = load(shop)

    assert data.users.ids == ("ann", "bob", "cy")
    assert data.items.ids == ("hat", "shoe", "tie")
    assert data.catalogue["title"].to_list() == ["A hat", "A shoe", "A tie"]
    assert data.features[:, 0].tolist() == [1.0, 2.0, 0.0]
    assert list(zip(data.interactions.user, data.interactions.item, strict=True)) == [
        (user, item) for user in range(3) for item in range(3)
    ]


def test_the_catalogue_carries_every_column(shop: Path) -> None:
    """Known columns come first, always with title and category; prices are numbers; the rest is as it was."""
    data = load(shop)

    assert data.catalogue.columns == ["item_id", "title", "category", "price", "image", "brand"]
    assert data.catalogue["price"].to_list() == [None, 80.0, 9.5]
    assert data.catalogue["brand"].to_list() == ["Acme", "Sole", "Acme"]


def test_parquet_and_csv_say_the_same(shop: Path) -> None:
    """The format of a file and the order of its rows change nothing that is learned from."""
    from_csv = load(shop)
    for name in ("interactions", "items"):
        frame = pl.read_csv(shop / f"{name}.csv")
        (frame.reverse() if name == "interactions" else frame).write_parquet(shop / f"{name}.parquet")
        (shop / f"{name}.csv").unlink()

    from_parquet = load(shop)

    assert from_parquet.catalogue.equals(from_csv.catalogue)
    assert np.array_equal(from_parquet.features, from_csv.features)
    for column in ("user", "item", "timestamp", "rating"):
        assert np.array_equal(getattr(from_parquet.interactions, column), getattr(from_csv.interactions, column))


def test_whole_numbers_are_ids(shop: Path) -> None:
    """Integer id columns become strings."""
    pl.DataFrame({"user_id": [10, 9], "item_id": [3, 3]}).write_parquet(shop / "interactions.parquet")
    (shop / "interactions.csv").unlink()
    (shop / "items.csv").write_text("item_id\n3\n4\n5\n")

    data = load(shop, k_core=1)

    assert (data.users.ids, data.items.ids) == (("10", "9"), ("3",))


def test_columns_that_say_nothing_are_none(shop: Path) -> None:
    """All-empty columns are absent; half-empty ones hold NaN."""
    (shop / "interactions.csv").write_text(
        "user_id,item_id,timestamp,rating,source_split\nann,hat,,3,\nann,tie,,,\nbob,hat,,,\nbob,tie,,,\n"
    )

    log = load(shop).interactions

    assert log.timestamp is None
    assert log.source_train is None
    assert log.rating is not None
    assert np.array_equal(log.rating, [3, np.nan, np.nan, np.nan], equal_nan=True)


def test_items_nobody_chose_enough_leave_the_catalogue(shop: Path) -> None:
    """An item below the k-core is in no vocabulary, catalogue or feature row."""
    (shop / "interactions.csv").write_text("user_id,item_id\nann,hat\nann,tie\nbob,hat\nbob,tie\nbob,shoe\n")

    data = load(shop)

    assert data.items.ids == ("hat", "tie")
    assert data.catalogue["item_id"].to_list() == ["hat", "tie"]
    assert data.features[:, 0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("file", ["interactions.csv", "items.csv", "features.npy"])
def test_the_fingerprint_follows_every_file(shop: Path, file: str) -> None:
    """The same files give the same fingerprint; one changed byte gives another."""
    before, again = load(shop).fingerprint, load(shop).fingerprint
    data = bytearray((shop / file).read_bytes())
    data[-2] ^= 1
    (shop / file).write_bytes(data)

    assert before == again
    assert load(shop).fingerprint != before


BAD_ROWS = [
    ("ann,hat,7,4", r"line 11: item_id 'hat' with user_id 'ann' is there already, in line 2"),
    ("dan,sock,7,4", r"line 11: item_id 'sock' is not in the items file"),
    (",hat,7,4", r"line 11: user_id is missing"),
    ("' dan',hat,7,4".replace("'", '"'), r"line 11: user_id ' dan' begins or ends with a space"),
    ("d\x07n,hat,7,4", r"line 11: user_id 'd\\x07n' holds an unprintable character"),
    (f"{'d' * 300},hat,7,4", r"line 11: user_id 'dd.*\.\.\. has 300 characters, 256 at most"),
    ("dan,hat,noon,4", r"line 11: timestamp 'noon' is not a finite number"),
    ("dan,hat,7,nan", r"line 11: rating 'nan' is not a finite number"),
    ("dan,hat,7", r"line 11: has 3 fields, the header 4"),
    ('dan,"hat"s,7,4', r"line 11: is not CSV"),
    ('dan,"hat,7,4', r"line 11: is not CSV \(unexpected end of data\)"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_bad_row_is_named_with_its_line(shop: Path, row: str, message: str) -> None:
    """File, line, value and the way out."""
    (shop / "interactions.csv").write_text(LOG + row + "\n")

    with pytest.raises(DataError, match=rf"(?s)interactions\.csv: 1 row is bad .*--skip-bad .*\n  {message}"):
        load(shop)


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_skip_bad_goes_on_without_the_row(shop: Path, row: str, message: str) -> None:
    """With --skip-bad the row is counted and the rest is as if it had not been there."""
    (shop / "interactions.csv").write_text(LOG + row + "\n")

    data = load(shop, skip_bad=True)

    ((_, skipped),) = data.skipped.items()
    assert skipped.count == 1
    assert len(skipped.examples) == 1
    assert len(data.interactions) == 9


def test_all_bad_rows_are_counted_and_the_first_five_named(shop: Path) -> None:
    """Problems of different kinds are reported together, in the order of their lines."""
    bad = "".join(f"u{n},{'sock' if n % 2 else 'hat'},{'x' if n % 2 == 0 else 7},4\n" for n in range(40))
    (shop / "interactions.csv").write_text(LOG + bad)

    with pytest.raises(DataError) as error:
        load(shop)

    lines = str(error.value).splitlines()
    assert "40 rows are bad" in lines[0]
    assert [line.split(":")[0] for line in lines[1:6]] == [f"  line {n}" for n in range(11, 16)]
    assert lines[6:] == ["  and 35 more"]


def test_line_numbers_survive_blank_lines_and_quoted_breaks(shop: Path) -> None:
    """The line named is the one an editor shows."""
    (shop / "items.csv").write_text('item_id,title\n\nhat,"A\nhat"\nshoe,A shoe\nshoe,Again\n')

    with pytest.raises(DataError, match=r"line 6: item_id 'shoe' is there already, in line 5"):
        load(shop)


def test_parquet_rows_are_named_from_one(shop: Path) -> None:
    """Parquet has no lines; its first row is row 1."""
    pl.DataFrame({"user_id": ["ann", "bob"], "item_id": ["hat", None]}).write_parquet(shop / "interactions.parquet")
    (shop / "interactions.csv").unlink()

    with pytest.raises(DataError, match=r"interactions\.parquet: 1 row is bad .*\n  row 2: item_id is missing"):
        load(shop)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"user_id,item_id\n", "has columns user_id, item_id and no rows"),
        (b"user_id,title\nann,hat\n", r"has no column 'item_id'; its columns are"),
        (b"user_id,item_id,colour\nann,hat,red\n", r"unknown column 'colour'; .*data\.ignore_columns"),
        (b"user_id,item_id,item_id\nann,hat,hat\n", "names 'item_id' twice"),
        (b"user_id,item_id\nann,hat\nb\xe9,hat\n", "line 3: byte 0xe9 is not UTF-8"),
    ],
)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_file_that_is_wrong_as_a_whole_is_refused(shop: Path, content: bytes, message: str, skip_bad: bool) -> None:
    """What concerns every row cannot be skipped."""
    (shop / "interactions.csv").write_bytes(content)

    with pytest.raises(DataError, match=message) as error:
        load(shop, skip_bad=skip_bad)

    assert str(error.value).startswith(str(shop / "interactions.csv"))


def test_ignored_columns_are_passed_over(shop: Path) -> None:
    """An extra column is an error until the configuration says to ignore it."""
    (shop / "interactions.csv").write_text("colour,user_id,item_id\nred,ann,hat\n")

    data = load(shop, k_core=0, ignore_columns=("colour",))

    assert len(data.interactions) == 1


@pytest.mark.parametrize("name", ["interactions", "items"])
def test_a_missing_file_says_which_names_are_looked_for(shop: Path, name: str) -> None:
    """Both names that would do are in the message."""
    (shop / f"{name}.csv").unlink()

    with pytest.raises(DataError, match=rf"neither {name}\.parquet nor {name}\.csv"):
        load(shop)


def test_two_files_of_one_name_are_refused(shop: Path) -> None:
    """Which one is meant is not guessed."""
    pl.read_csv(shop / "items.csv").write_parquet(shop / "items.parquet")

    with pytest.raises(DataError, match=r"there is items\.parquet as well as items\.csv"):
        load(shop)


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_a_parquet_file_cut_off_is_refused(shop: Path, length: int) -> None:
    """Damage is named, whatever the length."""
    path = shop / "interactions.parquet"
    pl.read_csv(shop / "interactions.csv").write_parquet(path)
    (shop / "interactions.csv").unlink()
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(DataError, match=r"interactions\.parquet: is "):
        load(shop)


def test_a_core_of_nothing_says_so(shop: Path) -> None:
    """Too little data for the k-core is an error with the way out, not an empty data set."""
    with pytest.raises(DataError, match=r"nothing is left of its 9 interactions with data\.k_core = 4; lower it"):
        load(shop, k_core=4)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((2, 4), np.float32), r"is \[2, 4\], the items file asks for \[3, F\]"),
        (np.zeros(3, np.float32), r"is \[3\], the items file"),
        (np.zeros((3, 4), np.int64), "holds int64"),
        (np.array([[0.0], [np.nan], [np.inf]], np.float32), r"(?s)2 of 3 .*item 'hat': .*row 1 holds NaN"),
    ],
)
def test_features_that_do_not_fit_are_refused(shop: Path, features: np.ndarray, message: str) -> None:
    """Rows, type and every value of features.npy are checked before anything is learned from it."""
    np.save(shop / "features.npy", features)

    with pytest.raises(DataError, match=message):
        load(shop)


def test_features_that_would_unpickle_are_refused(shop: Path) -> None:
    """An array of objects is a program; it is not run."""
    np.save(shop / "features.npy", np.array([{}, {}, {}]), allow_pickle=True)

    with pytest.raises(DataError, match=r"features\.npy: is not a readable \.npy file"):
        load(shop)


def test_skip_bad_keeps_features_with_their_items(shop: Path) -> None:
    """A bad line in the items file moves no other item's feature."""
    (shop / "items.csv").write_text("item_id,title\ntie,too,many\nhat,A hat\nshoe,A shoe\n")

    data = load(shop, skip_bad=True)

    assert data.items.ids == ("hat", "shoe")
    assert data.features[:, 0].tolist() == [1.0, 2.0]
    assert data.skipped["interactions.csv: item_id is not in the items file"].count == 3


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "a/../../b.jpg"])
def test_pictures_stay_below_their_folder(shop: Path, name: str) -> None:
    """An items file cannot make the shop show other files of the machine."""
    (shop / "items.csv").write_text(f"item_id,image\ntie,{name}\nhat,\nshoe,s.jpg\n")

    with pytest.raises(DataError, match=r"line 2: image '.*' leads out of images/"):
        load(shop)


def test_purchases_keep_their_parts(shop: Path) -> None:
    """Purchases are numbered as everything else; those of unknown users or items are left out and counted."""
    (shop / "purchases.csv").write_text(
        "user_id,item_id,split\ncy,tie,test\nann,hat,valid\nzoe,hat,test\nann,sock,test\n"
    )

    data = load(shop)

    assert data.purchases is not None
    assert data.purchases.user.tolist() == [0, 2]
    assert data.purchases.item.tolist() == [0, 2]
    assert data.purchases.valid.tolist() == [True, False]
    assert data.skipped["purchases.csv: user or item is not in the data"].count == 2


def test_purchases_without_parts_are_halved(shop: Path) -> None:
    """Half of them choose λ2, half judge; which ones, the seed says."""
    (shop / "purchases.csv").write_text("user_id,item_id\n" + "".join(f"{u},{i}\n" for u, i in PAIRS[:8]))

    halves = {tuple(load_dataset(shop, DataConfig(k_core=2), seed=seed).purchases.valid) for seed in (0, 0, 1, 2)}  # type: ignore[union-attr]

    assert {sum(half) for half in halves} == {4}
    assert 1 < len(halves) <= 3


def test_bad_purchases_are_named(shop: Path) -> None:
    """The purchases file is checked as strictly as the others."""
    (shop / "purchases.csv").write_text("user_id,item_id,split\nann,hat,train\n")

    with pytest.raises(DataError, match=r"purchases\.csv: .*\n  line 2: split 'train' is neither valid nor test"):
        load(shop)


@pytest.mark.parametrize(
    ("name", "sizes"), [("ml_1m_posters", (6040, 2992, 988638)), ("ml_latest_small_demo", (609, 2261, 81009))]
)
def test_real_data_is_read_whole(name: str, sizes: tuple[int, int, int]) -> None:
    """The data sets' own counts, as their README states them."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}, which does not travel with the repository")

    data = load(SHARED / name, k_core=5)

    assert (len(data.users), len(data.items), len(data.interactions)) == sizes
    assert data.features.shape == (sizes[1], 1280)
    assert not data.skipped
