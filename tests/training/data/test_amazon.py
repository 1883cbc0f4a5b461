"""The Amazon files, written here in their own formats, good and bad."""

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from causalrec.errors import ConfigError, DataError
from tests.training.data.amazon_files import FEATURES, METADATA, REVIEWS, write_features, write_lines
from training.config import DataConfig
from training.data.amazon import RECORD, convert_amazon, read_features, read_metadata, read_reviews
from training.data.dataset import load_dataset


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "reviews.json.gz", REVIEWS)


@pytest.fixture
def features(tmp_path: Path) -> Path:
    return write_features(tmp_path / "features.b", FEATURES)


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "meta.json.gz", METADATA)


def test_a_category_becomes_a_data_directory(tmp_path: Path, reviews: Path, features: Path, metadata: Path) -> None:
    """The trainer reads it; every item has its own feature, title and price; what was left out is counted."""
    told = convert_amazon(reviews, features, metadata, tmp_path / "out", quiet=True)

    dataset = load_dataset(tmp_path / "out", DataConfig(k_core=1), seed=0)
    assert dataset.items.ids == ("B000000001", "B000000002")
    assert dataset.users.ids == ("A1", "A2", "A3")
    assert dataset.interactions.rating is not None
    assert dataset.interactions.rating.tolist() == [5.0, 4.0, 2.0, 3.0]
    assert dataset.features.shape == (2, 4096)
    assert dataset.features[:, 0].tolist() == [1.0, 2.0]
    assert dataset.features[0, 2048] == 1.5
    assert dataset.catalogue["title"].to_list() == [None, "Bib"]
    assert dataset.catalogue["category"].to_list() == ["Prams", "Bibs"]
    assert dataset.catalogue["price"].to_list() == [1299.0, 9.5]
    assert dataset.catalogue["image_url"].to_list() == ["image-1.jpg", None]
    assert (told.users, told.items, told.interactions, told.width) == (3, 2, 4, 4096)
    assert told.dropped == {"items without a feature": 1, "interactions with such items": 1}
    assert not list(tmp_path.glob(".*"))


def test_metadata_may_be_absent(tmp_path: Path, reviews: Path, features: Path) -> None:
    """Then items have their ids and nothing more."""
    convert_amazon(reviews, features, None, tmp_path / "out", quiet=True)

    items = pl.read_parquet(tmp_path / "out" / "items.parquet")

    assert items["item_id"].to_list() == ["B000000002", "B000000001"]  # as in the file of features
    assert items["title"].null_count() == 2


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_features_are_kept_as_asked(tmp_path: Path, reviews: Path, features: Path, precision: str) -> None:
    """NumPy reads the file as what was asked for, to the precision that has."""
    convert_amazon(reviews, features, None, tmp_path / "out", precision=precision, quiet=True)  # type: ignore[arg-type]

    found = np.load(tmp_path / "out" / "features.npy")

    expected = np.array([[2.0], [1.0]]) + np.arange(4096) / 4096
    assert found.dtype == precision
    np.testing.assert_allclose(found, expected, rtol=5e-4 if precision == "float16" else 1e-7)
    assert bool((found == expected).all()) == (precision == "float32")


def test_of_several_reviews_the_latest_counts(tmp_path: Path) -> None:
    """By time, wherever they stand in the file; the others are counted."""
    again = [{**REVIEWS[0], "overall": 1.0, "unixReviewTime": 1400000000}, *REVIEWS, {**REVIEWS[0], "overall": 3.0}]
    dropped: Counter[str] = Counter()

    log = read_reviews(write_lines(tmp_path / "r.json", again, zipped=False), dropped, quiet=True)

    mine = log.filter(pl.col("user_id") == "A1", pl.col("item_id") == "B000000001")
    assert mine["rating"].to_list() == [1.0]
    assert len(log) == len(REVIEWS)
    assert dropped["earlier reviews of one item by one user"] == 2


def test_rows_are_the_same_however_many_are_read_at_a_time(
    tmp_path: Path, reviews: Path, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of reviews and of features have no edges."""
    whole = convert_amazon(reviews, features, None, tmp_path / "whole", quiet=True)
    monkeypatch.setattr("training.data.amazon.ROWS", 2)
    monkeypatch.setattr("training.data.amazon.RECORDS", 2)

    parts = convert_amazon(reviews, features, None, tmp_path / "parts", quiet=True)

    assert parts == whole
    for name in ("interactions.parquet", "items.parquet", "features.npy"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_lines_of_python_dicts_are_read_too(tmp_path: Path) -> None:
    """As the metadata of 2014 are written: single quotes, None, a " inside."""
    line = """{'asin': 'B000000002', 'title': 'A 6" bib', 'price': None, 'categories': [['Baby', "Kids' bibs"]]}"""
    path = write_lines(tmp_path / "meta.json", [line], zipped=False)

    items = read_metadata(path, {"B000000002"}, Counter(), quiet=True)

    assert items.row(0) == ("B000000002", 'A 6" bib', "Kids' bibs", None, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"asin": "B000000001", "overall": 5.0}', "reviewerID is None"),
        ('{"reviewerID": "A1", "asin": 7}', "asin is 7; a review has reviewerID, asin, overall and unixReviewTime"),
        ('{"reviewerID": "A1", "asin": "B000000001", "overall": "five"}', "overall is 'five', not a number"),
        ('{"reviewerID": "A1", "asin": "B000000001", "unixReviewTime": true}', "unixReviewTime is True, not a number"),
        ('{"reviewerID": "A1"', "is not JSON"),
        ("{'reviewerID': open('x')}", "is neither JSON nor a Python dict"),
        ("{'reviewerID': 'A1'", "is neither JSON nor a Python dict"),
        ("[1, 2]", "holds list, not an object"),
        ("reviewerID,asin", "is not JSON"),
    ],
)
def test_a_bad_line_is_named_or_counted(tmp_path: Path, line: str, said: str) -> None:
    """By its number and what is wrong with it; --skip-bad counts it and goes on."""
    path = write_lines(tmp_path / "reviews.json", [*map(str_of, REVIEWS[:2]), "", line], zipped=False)
    dropped: Counter[str] = Counter()

    with pytest.raises(DataError, match=r"reviews\.json: line 4: .*--skip-bad") as raised:
        read_reviews(path, Counter(), quiet=True)
    log = read_reviews(path, dropped, skip_bad=True, quiet=True)

    assert said in str(raised.value)
    assert len(log) == 2
    assert dropped["lines of reviews.json that cannot be used"] == 1


def str_of(review: dict[str, object]) -> str:
    return str(review)  # as Python writes it


def test_of_several_lines_of_metadata_the_first_counts(tmp_path: Path) -> None:
    """An item has one row, and only items that are wanted have any."""
    again = {"asin": "B000000002", "title": "Another bib"}

    items = read_metadata(write_lines(tmp_path / "m.gz", [*METADATA, again]), {"B000000002"}, Counter(), quiet=True)

    assert items.rows() == [("B000000002", "Bib", "Bibs", 9.5, None)]


def test_a_line_of_metadata_without_an_asin_is_named(tmp_path: Path) -> None:
    """It could be nobody's."""
    path = write_lines(tmp_path / "meta.json.gz", [{"title": "whose?"}])

    with pytest.raises(DataError, match=r"meta\.json\.gz: line 1: asin is None"):
        read_metadata(path, {"B000000001"}, Counter(), quiet=True)


def test_a_file_of_reviews_cut_off_is_no_shorter_file(tmp_path: Path, reviews: Path) -> None:
    """Half a download is refused, not half read; so is another file's content."""
    content = reviews.read_bytes()
    (tmp_path / "half.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "changed.gz").write_bytes(content[:-8] + b"\0" * 8)
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b"\n"))

    for name, said in (("half.gz", "cut off"), ("changed.gz", "cut off or damaged"), ("empty.gz", "holds no review")):
        with pytest.raises(DataError, match=rf"{name}: .*{said}"):
            read_reviews(tmp_path / name, Counter(), quiet=True)
    with pytest.raises(DataError, match=r"absent\.gz: cannot be read"):
        read_reviews(tmp_path / "absent.gz", Counter(), quiet=True)


def test_a_record_cut_off_is_named_by_its_byte(features: Path) -> None:
    """Before any feature is read."""
    features.write_bytes(features.read_bytes()[:-100])

    with pytest.raises(DataError, match=rf"the record at byte {2 * RECORD.itemsize} has 16294 of its 16,394 bytes"):
        next(read_features(features, set(FEATURES), quiet=True))


@pytest.mark.parametrize(("filler", "at_a_time"), [(b"\0", 1), (b"\0", 256), (b"\x3f", 256)])
def test_a_file_of_other_records_is_refused(
    features: Path, filler: bytes, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size may fit by chance; where an asin should be, there is none."""
    monkeypatch.setattr("training.data.amazon.RECORDS", at_a_time)
    content = features.read_bytes()
    features.write_bytes(content[: RECORD.itemsize] + filler * RECORD.itemsize + content[RECORD.itemsize :])

    with pytest.raises(DataError, match=rf"the record at byte {RECORD.itemsize} begins with b'.*', which is no asin"):
        list(read_features(features, set(FEATURES), quiet=True))


def test_an_empty_or_absent_file_of_features_is_refused(tmp_path: Path) -> None:
    """By one clear line each."""
    (tmp_path / "empty.b").write_bytes(b"")

    with pytest.raises(DataError, match=r"empty\.b: is empty"):
        next(read_features(tmp_path / "empty.b", set(), quiet=True))
    with pytest.raises(DataError, match=r"absent\.b: cannot be read"):
        next(read_features(tmp_path / "absent.b", set(), quiet=True))


def test_features_that_cannot_be_used_are_counted(tmp_path: Path, reviews: Path, features: Path) -> None:
    """NaN, and a second one for the same item: the first stays."""
    bad = write_features(tmp_path / "bad.b", {"B000000002": float("nan")}).read_bytes()
    second = write_features(tmp_path / "second.b", {"B000000001": 5.0}).read_bytes()
    features.write_bytes(bad + write_features(tmp_path / "one.b", {"B000000001": 1.0}).read_bytes() + second)

    told = convert_amazon(reviews, features, None, tmp_path / "out", quiet=True)

    assert told.dropped["features with NaN or infinity"] == 1
    assert told.dropped["features of an item that has one already"] == 1
    assert told.dropped["items without a feature"] == 2
    assert np.load(tmp_path / "out" / "features.npy")[:, 0].tolist() == [1.0]


def test_what_float16_cannot_hold_is_refused(tmp_path: Path, reviews: Path) -> None:
    """With the way out, which works; nothing is left of the first try."""
    features = write_features(tmp_path / "features.b", {"B000000001": 70_000.0, "B000000002": 1.0})

    with pytest.raises(DataError, match="more than float16 holds; convert again with --float32"):
        convert_amazon(reviews, features, None, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))

    convert_amazon(reviews, features, None, tmp_path / "out", precision="float32", quiet=True)
    assert np.load(tmp_path / "out" / "features.npy")[0, 0] == 70_000.0


def test_files_of_two_categories_are_not_one_data_set(tmp_path: Path, reviews: Path) -> None:
    """No item has a feature: said so, and nothing written."""
    features = write_features(tmp_path / "other.b", {"B999999999": 1.0})

    with pytest.raises(DataError, match="none of the 3 items has a feature"):
        convert_amazon(reviews, features, None, tmp_path / "out", quiet=True)

    assert not (tmp_path / "out").exists()


def test_what_is_there_stays(tmp_path: Path, reviews: Path, features: Path) -> None:
    """A directory in the way is refused before anything is read."""
    (tmp_path / "out").mkdir()

    with pytest.raises(ConfigError, match="out: is there already; name another directory"):
        convert_amazon(tmp_path / "absent", features, None, tmp_path / "out", quiet=True)

    assert list((tmp_path / "out").iterdir()) == []
