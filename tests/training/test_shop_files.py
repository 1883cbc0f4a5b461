"""The shop on disk: whole or not at all, reproducible, and refused when it was changed."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from causalrec.errors import DataError
from tests.training.conftest import TINY
from training.shop import (
    make_shop,
    read_shop,
    write_shop,
)


def sums(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_files_are_the_log_the_catalogue_and_the_truth(tmp_path: Path) -> None:
    """The tables hold the world row by row, in the project's columns; clicks' timestamps follow the draws."""
    world = make_shop(TINY)
    write_shop(world, tmp_path / "shop")

    log, items, bought = (
        pl.read_parquet(tmp_path / f"shop/{name}.parquet") for name in ("interactions", "items", "purchases")
    )

    assert log.columns == ["user_id", "item_id", "timestamp"]
    first = log.filter(pl.col("user_id") == "user-0001").sort("timestamp")["item_id"].to_list()
    assert first == [world.item_ids[row] for row in world.clicks[0]]
    assert items["item_id"].to_list() == sorted(items["item_id"]) == list(world.item_ids)
    assert items["title"][0] == world.items.title(0)
    assert all((tmp_path / "shop/images" / name).is_file() for name in items["image"])
    assert "durability" not in items.columns
    of_last = bought.filter((pl.col("user_id") == "user-0006") & (pl.col("split") == "test"))["item_id"].to_list()
    assert of_last == [world.item_ids[row] for row in world.test[5]]
    assert log.join(bought, on=["user_id", "item_id"]).is_empty()


def test_one_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two shops of one configuration are equal file by file; another seed is another shop."""
    for name, config in (("a", TINY), ("b", TINY), ("c", TINY.model_copy(update={"seed": 4}))):
        write_shop(make_shop(config), tmp_path / name)

    a, b, c = (sums(tmp_path / name) for name in "abc")

    assert a == b
    assert len(a) == 24 + 4
    assert all(a[name] != c[name] for name in a)


def test_another_pull_has_the_same_pictures(tmp_path: Path) -> None:
    """What an item looks like depends on the seed, not on the pull."""
    write_shop(make_shop(TINY), tmp_path / "one")
    write_shop(make_shop(TINY.model_copy(update={"pull": 2.0})), tmp_path / "two")

    assert sums(tmp_path / "one/images") == sums(tmp_path / "two/images")


def test_a_shop_reads_back_as_the_world_it_was_written_from(tmp_path: Path) -> None:
    """shop.json is enough to remake everything, the truth included."""
    world = make_shop(TINY)

    again = read_shop(write_shop(world, tmp_path / "data" / "shop"))

    assert again.config == world.config
    assert again.item_ids == world.item_ids
    for name in ("taste", "kappa", "clicks", "valid", "test"):
        assert (getattr(again, name) == getattr(world, name)).all(), name


def test_a_whole_shop_is_reused_and_another_is_not_overwritten(tmp_path: Path) -> None:
    """Writing again touches nothing; another configuration or foreign files are refused with the way out."""
    write_shop(make_shop(TINY), tmp_path / "shop")
    picture = tmp_path / "shop/images/item-0001.jpg"
    written = picture.stat().st_mtime_ns
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")

    write_shop(make_shop(TINY), tmp_path / "shop")

    assert picture.stat().st_mtime_ns == written
    with pytest.raises(DataError, match=r"shop\.json: another shop is here .*choose another directory"):
        write_shop(make_shop(TINY.model_copy(update={"pull": 2.0})), tmp_path / "shop")
    with pytest.raises(DataError, match=r"mine/shop\.json"):
        write_shop(make_shop(TINY), tmp_path / "mine")
    assert (tmp_path / "mine/notes.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config", TINY.model_dump() | {"seed": 5}),
        ("config", TINY.model_dump() | {"colour": "red"}),
        ("config", None),
        ("fingerprint", "0" * 64),
        ("schema_version", 2),
        ("sha256", None),
    ],
)
def test_an_edited_record_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """A shop.json that does not describe what was written raises DataError naming the file."""
    directory = write_shop(make_shop(TINY), tmp_path / "shop")
    record = json.loads((directory / "shop.json").read_text())
    (directory / "shop.json").write_text(json.dumps(record | {key: value}))

    with pytest.raises(DataError, match=r"shop/(shop\.json|interactions\.parquet): "):
        read_shop(directory)


@pytest.mark.parametrize("name", ["interactions.parquet", "purchases.parquet", "images/item-0003.jpg"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """A table or picture that is not what was written raises DataError naming it, so that no truth is mixed up."""
    directory = write_shop(make_shop(TINY), tmp_path / "shop")
    (directory / name).write_bytes((directory / name).read_bytes()[:-1])

    with pytest.raises(DataError, match=f"{name.split('/', maxsplit=1)[0]}: is not what shop.json recorded"):
        read_shop(directory)


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_a_record_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever stands in shop.json, the answer is a DataError naming it."""
    (tmp_path / "shop.json").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(DataError, match=r"shop\.json"):
        read_shop(tmp_path)


def test_an_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop is complete or absent: Ctrl-C while drawing leaves neither a shop nor a half one beside it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.shop.files.draw_picture", interrupted)

    with pytest.raises(KeyboardInterrupt):
        write_shop(make_shop(TINY), tmp_path / "shop")

    assert list(tmp_path.iterdir()) == []
