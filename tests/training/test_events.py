"""Exported events beside the three users and three items: read as interactions, and never twice."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from causalrec.errors import ConfigError, DataError
from tests.training.conftest import load
from tests.worlds import write_data
from training.__main__ import main
from training.config import DataConfig, read_config
from training.data.dataset import Dataset
from training.data.events import read_events
from training.prepare import prepare

DAY = datetime(2026, 1, 31, tzinfo=UTC)
ITEMS = pl.Series(["hat", "shoe", "tie"])
Row = tuple[str, str, str, float | None, int]


def write_events(folder: Path, *rows: Row, name: str = "date=2026-01-31/part-1-0-2-0.parquet") -> Path:
    """Rows of user, item, type, value and seconds after DAY, as the service exports them."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        [
            (f"{name} {number}", user, item, type_, value, DAY.timestamp() + after, None, f"{number}-0")
            for number, (user, item, type_, value, after) in enumerate(rows)
        ],
        ["event_id", "user_id", "item_id", "type", "value", "timestamp", "request_id", "stream_id"],
        orient="row",
    ).with_columns(
        pl.col("value").cast(pl.Float64), timestamp=pl.from_epoch("timestamp", "s").dt.replace_time_zone("UTC")
    ).write_parquet(folder / name)
    return folder


def pairs(data: Dataset) -> dict[tuple[str, str], tuple[float, float]]:
    """Timestamp and rating by user and item."""
    log = data.interactions
    assert log.timestamp is not None
    assert log.rating is not None
    return {
        (data.users.ids[user], data.items.ids[item]): (timestamp, rating)
        for user, item, timestamp, rating in zip(log.user, log.item, log.timestamp, log.rating, strict=True)
    }


def test_events_add_to_the_interactions(folder: Path, tmp_path: Path) -> None:
    """New users too; a pair that is in both has the later time, and the events' rating where they have one."""
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp,rating\nann,hat,7,4\nbob,hat,9000000000,3\n")
    events = write_events(
        tmp_path / "events",
        ("ann", "hat", "rating", 1.5, 10),
        ("ann", "hat", "click", None, 20),
        ("bob", "hat", "click", None, 30),
        ("dan", "tie", "cart", None, 40),
    )

    found = pairs(load(folder, k_core=1, events=events))

    at = DAY.timestamp()
    assert found[("ann", "hat")] == (at + 20, 1.5)
    assert found[("bob", "hat")] == (9e9, 3.0)
    assert found[("dan", "tie")][0] == at + 40
    assert len(found) == 3


def test_a_pair_is_one_interaction_however_often_it_happened(tmp_path: Path) -> None:
    """Over several files: the latest time, and the latest rating."""
    events = write_events(tmp_path, ("ann", "hat", "rating", 5, 50), ("ann", "hat", "click", None, 60))
    write_events(events, ("ann", "hat", "rating", 2, 55), name="date=2026-02-01/part-3-0-3-0.parquet")

    frame, _, skipped = read_events(events, ITEMS, ("click", "rating"))

    assert frame.rows() == [("ann", "hat", DAY.timestamp() + 60, 2.0)]
    assert skipped == {}


def test_only_the_types_asked_for_count(folder: Path, tmp_path: Path) -> None:
    """An impression never does, and cannot be asked for."""
    events = write_events(
        tmp_path / "events",
        ("dan", "hat", "impression", None, 1),
        ("dan", "tie", "click", None, 2),
        ("dan", "shoe", "purchase", 9.5, 3),
    )

    every, bought = (
        load(folder, k_core=1, events=events),
        load(folder, k_core=1, events=events, events_types=["purchase"]),
    )

    assert [pair for pair in pairs(every) if pair[0] == "dan"] == [("dan", "shoe"), ("dan", "tie")]
    assert [pair for pair in pairs(bought) if pair[0] == "dan"] == [("dan", "shoe")]
    with pytest.raises(ValueError, match="events_types"):
        DataConfig.model_validate({"events_types": ["impression"]})


def test_what_the_service_recorded_of_its_answers_is_no_event(tmp_path: Path) -> None:
    """Exposures, lists and failures lie in the same files, in columns that older ones lack: they teach nothing."""
    events = write_events(tmp_path, ("ann", "hat", "click", None, 1))
    write_events(
        events,
        *[("ann", "", type_, None, 2) for type_ in ("exposure", "list", "failure")],
        ("bob", "tie", "click", None, 3),
        name="date=2026-02-01/part-3-0-3-0.parquet",
    )
    path = events / "date=2026-02-01/part-3-0-3-0.parquet"
    columns = {"experiment": pl.lit("dial"), "item_ids": pl.lit(["hat", "shoe"]), "lambda2": pl.lit([0.5])}
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)

    frame, _, skipped = read_events(events, ITEMS, ("click", "cart", "purchase", "rating"))

    assert frame.select("user_id", "item_id").rows() == [("ann", "hat"), ("bob", "tie")]
    assert skipped == {}


def test_items_that_the_trainer_does_not_know_are_dropped_and_counted(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They were told to the service after the items file was written: no error."""
    events = write_events(
        tmp_path / "events", ("ann", "hat", "click", None, 1), *[("ann", "new", "click", None, 2)] * 3
    )

    with caplog.at_level(logging.WARNING):
        data = load(folder, events=events)

    assert data.skipped["events: events with items that are not in the items file"].count == 3
    assert "skipped 3: events: events with items" in caplog.text


def test_events_alone_are_enough(folder: Path, tmp_path: Path) -> None:
    """A shop that begins with the service has no interactions file."""
    (folder / "interactions.csv").unlink()
    events = write_events(tmp_path / "events", ("ann", "hat", "click", None, 1), ("bob", "tie", "click", None, 2))

    data = load(folder, k_core=1, events=events)

    assert (data.users.ids, data.items.ids, len(data.interactions)) == (("ann", "bob"), ("hat", "tie"), 2)


def test_what_only_events_tell_is_training_data_of_the_source(folder: Path, tmp_path: Path) -> None:
    """With split = "source" the test part stays what the source put there."""
    (folder / "interactions.csv").write_text(
        "user_id,item_id,source_split\nann,hat,train\nann,tie,test\nbob,hat,train\n"
    )
    events = write_events(tmp_path / "events", ("ann", "tie", "click", None, 1), ("bob", "tie", "click", None, 2))

    log = load(folder, k_core=1, events=events).interactions

    assert log.source_train is not None
    assert log.source_train.tolist() == [True, False, True, True]


def test_the_fingerprint_follows_the_events(folder: Path, tmp_path: Path) -> None:
    """Another export is other data; the same one elsewhere is the same."""
    rows: list[Row] = [("ann", "hat", "click", None, 1), ("bob", "tie", "click", None, 2)]
    one, same, other = (
        write_events(tmp_path / where / "events", *chosen)
        for where, chosen in (("1", rows), ("2", rows), ("3", [*rows, ("cy", "tie", "click", None, 3)]))
    )

    prints = [load(folder, events=events).fingerprint for events in (None, one, same, other)]

    assert prints[1] == prints[2]
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"has no exported events; `python -m service events export --to DIR`"),
        (b"PAR1 cut off", r"part-1\.parquet: is no whole Parquet file"),
        (pl.DataFrame({"user_id": ["ann"]}), r"part-1\.parquet: column item_id is None, not String"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | pl.DataFrame | None, message: str
) -> None:
    """With the file and the way out."""
    path = tmp_path / "part-1.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content.write_parquet(path)

    with pytest.raises(DataError, match=message):
        read_events(tmp_path, ITEMS, ("click",))


def test_a_folder_without_an_event_that_counts_is_named(tmp_path: Path) -> None:
    """With the types that were looked for."""
    write_events(tmp_path, ("ann", "hat", "impression", None, 1))

    with pytest.raises(DataError, match=r"no event of data\.events_types = \['click'\]"):
        read_events(tmp_path, ITEMS, ("click",))


def test_the_trainer_learns_from_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line, with `events` under [data]: more interactions, and a bundle that says where from."""
    data = write_data(tmp_path / "data")
    events = write_events(
        tmp_path / "events",
        *[(f"user-{n:03d}", f"item-{(7 * n + k) % 80:03d}", "click", None, n) for n in range(60) for k in range(3)],
    )
    run = tmp_path / "run.toml"
    run.write_text(
        f'name = "loop"\n[data]\nevents = "{events}"\nk_core = 2\n[fit]\nepochs = 2\ncheckpoints = "{tmp_path}/runs"\n'
        f'[evaluate]\nbootstrap = 100\n[export]\nout = "{tmp_path}/bundles"\n'
    )

    code = main(["--config", str(run), "--data", str(data), "--quiet"])

    assert code == 0
    assert Path(capsys.readouterr().out.strip()).is_dir()
    config = read_config(run)
    bare = config.model_copy(update={"data": config.data.model_copy(update={"events": None})})
    more, less = prepare(config, data).statistics, prepare(bare, data).statistics
    assert less.interactions == 720
    assert 0 < more.interactions - less.interactions <= 180


def test_no_events_is_not_a_string(tmp_path: Path) -> None:
    """What --print-config says of a field that is not set is a comment, since TOML has no word for it."""
    path = tmp_path / "run.toml"
    path.write_text("[data]\nevents = 5\n")

    with pytest.raises(ConfigError, match=r"data\.events = 5"):
        read_config(path)
