"""A data directory of three users and three items, spoiled in one way at a time; and the real ones where they are."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from causalrec.errors import DataError
from tests.training.conftest import LOG, load

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def test_everything_is_numbered_alike(folder: Path) -> None:
    """Vocabularies are sorted, and catalogue, features and interactions follow their rows, not the files'."""
    data = load(folder)

    assert data.users.ids == ("ann", "bob", "cy")
    assert data.items.ids == ("hat", "shoe", "tie")
    assert data.catalogue["title"].to_list() == ["A hat", "A shoe", "A tie"]
    assert data.features[:, 0].tolist() == [1.0, 2.0, 0.0]
    assert list(zip(data.interactions.user, data.interactions.item, strict=True)) == [
        (user, item) for user in range(3) for item in range(3)
    ]


def test_the_catalogue_carries_every_column(folder: Path) -> None:
    """Known columns come first, always with title and category; prices are numbers; the rest is as it was."""
    data = load(folder)

    assert data.catalogue.columns == ["item_id", "title", "category", "price", "image", "brand"]
    assert data.catalogue["price"].to_list() == [None, 80.0, 9.5]
    assert data.catalogue["brand"].to_list() == ["Acme", "Sole", "Acme"]


def test_parquet_and_csv_say_the_same(folder: Path) -> None:
    """The format of a file and the order of its rows change nothing that is learned from."""
    from_csv = load(folder)
    for name in ("interactions", "items"):
        frame = pl.read_csv(folder / f"{name}.csv")
        (frame.reverse() if name == "interactions" else frame).write_parquet(folder / f"{name}.parquet")
        (folder / f"{name}.csv").unlink()

    from_parquet = load(folder)

    assert from_parquet.catalogue.equals(from_csv.catalogue)
    assert np.array_equal(from_parquet.features, from_csv.features)
    for column in ("user", "item", "timestamp", "rating"):
        assert np.array_equal(getattr(from_parquet.interactions, column), getattr(from_csv.interactions, column))


def test_whole_numbers_are_ids(folder: Path) -> None:
    """Integer id columns become strings."""
    pl.DataFrame({"user_id": [10, 9], "item_id": [3, 3]}).write_parquet(folder / "interactions.parquet")
    (folder / "interactions.csv").unlink()
    (folder / "items.csv").write_text("item_id\n3\n4\n5\n")

    data = load(folder, k_core=1)

    assert (data.users.ids, data.items.ids) == (("10", "9"), ("3",))


def test_columns_that_say_nothing_are_none(folder: Path) -> None:
    """All-empty columns are absent; half-empty ones hold NaN."""
    (folder / "interactions.csv").write_text(
        "user_id,item_id,timestamp,rating,source_split\nann,hat,,3,\nann,tie,,,\nbob,hat,,,\nbob,tie,,,\n"
    )

    log = load(folder).interactions

    assert log.timestamp is None
    assert log.source_train is None
    assert log.rating is not None
    assert np.array_equal(log.rating, [3, np.nan, np.nan, np.nan], equal_nan=True)


def test_items_nobody_chose_enough_leave_the_catalogue(folder: Path) -> None:
    """An item below the k-core is in no vocabulary, catalogue or feature row."""
    (folder / "interactions.csv").write_text("user_id,item_id\nann,hat\nann,tie\nbob,hat\nbob,tie\nbob,shoe\n")

    data = load(folder)

    assert data.items.ids == ("hat", "tie")
    assert data.catalogue["item_id"].to_list() == ["hat", "tie"]
    assert data.features[:, 0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("file", ["interactions.csv", "items.csv", "features.npy"])
def test_the_fingerprint_follows_every_file(folder: Path, file: str) -> None:
    """The same files give the same fingerprint; one changed byte gives another."""
    before, again = load(folder).fingerprint, load(folder).fingerprint
    data = bytearray((folder / file).read_bytes())
    data[-2] ^= 1
    (folder / file).write_bytes(data)

    assert before == again
    assert load(folder).fingerprint != before


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
def test_a_bad_row_is_named_with_its_line(folder: Path, row: str, message: str) -> None:
    """File, line, value and the way out."""
    (folder / "interactions.csv").write_text(LOG + row + "\n")

    with pytest.raises(DataError, match=rf"(?s)interactions\.csv: 1 row is bad .*--skip-bad .*\n  {message}"):
        load(folder)


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_skip_bad_goes_on_without_the_row(folder: Path, row: str, message: str) -> None:
    """With --skip-bad the row is counted and the rest is as if it had not been there."""
    (folder / "interactions.csv").write_text(LOG + row + "\n")

    data = load(folder, skip_bad=True)

    ((_, skipped),) = data.skipped.items()
    assert skipped.count == 1
    assert len(skipped.examples) == 1
    assert len(data.interactions) == 9


def test_all_bad_rows_are_counted_and_the_first_five_named(folder: Path) -> None:
    """Problems of different kinds are reported together, in the order of their lines."""
    bad = "".join(f"u{n},{'sock' if n % 2 else 'hat'},{'x' if n % 2 == 0 else 7},4\n" for n in range(40))
    (folder / "interactions.csv").write_text(LOG + bad)

    with pytest.raises(DataError) as error:
        load(folder)

    lines = str(error.value).splitlines()
    assert "40 rows are bad" in lines[0]
    assert [line.split(":")[0] for line in lines[1:6]] == [f"  line {n}" for n in range(11, 16)]
    assert lines[6:] == ["  and 35 more"]


def test_line_numbers_survive_blank_lines_and_quoted_breaks(folder: Path) -> None:
    """The line named is the one an editor shows."""
    (folder / "items.csv").write_text('item_id,title\n\nhat,"A\nhat"\nshoe,A shoe\nshoe,Again\n')

    with pytest.raises(DataError, match=r"line 6: item_id 'shoe' is there already, in line 5"):
        load(folder)


def test_parquet_rows_are_named_from_one(folder: Path) -> None:
    """Parquet has no lines; its first row is row 1."""
    pl.DataFrame({"user_id": ["ann", "bob"], "item_id": ["hat", None]}).write_parquet(folder / "interactions.parquet")
    (folder / "interactions.csv").unlink()

    with pytest.raises(DataError, match=r"interactions\.parquet: 1 row is bad .*\n  row 2: item_id is missing"):
        load(folder)


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
def test_a_file_that_is_wrong_as_a_whole_is_refused(folder: Path, content: bytes, message: str, skip_bad: bool) -> None:
    """What concerns every row cannot be skipped."""
    (folder / "interactions.csv").write_bytes(content)

    with pytest.raises(DataError, match=message) as error:
        load(folder, skip_bad=skip_bad)

    assert str(error.value).startswith(str(folder / "interactions.csv"))


def test_ignored_columns_are_passed_over(folder: Path) -> None:
    """An extra column is an error until the configuration says to ignore it."""
    (folder / "interactions.csv").write_text("colour,user_id,item_id\nred,ann,hat\n")

    data = load(folder, k_core=0, ignore_columns=("colour",))

    assert len(data.interactions) == 1


@pytest.mark.parametrize("name", ["interactions", "items"])
def test_a_missing_file_says_which_names_are_looked_for(folder: Path, name: str) -> None:
    """Both names that would do are in the message."""
    (folder / f"{name}.csv").unlink()

    with pytest.raises(DataError, match=rf"neither {name}\.parquet nor {name}\.csv"):
        load(folder)


def test_two_files_of_one_name_are_refused(folder: Path) -> None:
    """Which one is meant is not guessed."""
    pl.read_csv(folder / "items.csv").write_parquet(folder / "items.parquet")

    with pytest.raises(DataError, match=r"there is items\.parquet as well as items\.csv"):
        load(folder)


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_a_parquet_file_cut_off_is_refused(folder: Path, length: int) -> None:
    """Damage is named, whatever the length."""
    path = folder / "interactions.parquet"
    pl.read_csv(folder / "interactions.csv").write_parquet(path)
    (folder / "interactions.csv").unlink()
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(DataError, match=r"interactions\.parquet: is "):
        load(folder)


def test_a_core_of_nothing_says_so(folder: Path) -> None:
    """Too little data for the k-core is an error with the way out, not an empty data set."""
    with pytest.raises(DataError, match=r"nothing is left of its 9 interactions with data\.k_core = 4; lower it"):
        load(folder, k_core=4)


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
