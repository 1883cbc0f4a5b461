"""The unit frame from an export: every unit's figures from files that the service writes, and wrote before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from causalrec.errors import DataError
from service.events import Event
from service.experiments.metrics import UNITS
from service.experiments.units import from_export
from service.partitions import SCHEMA, TOLD, opened
from service.state.deliveries import Delivered
from service.state.keys import Keys
from tests.service.served import MIXED, START, a_list, act, config, exposure, failure

Tally = tuple[pl.DataFrame, dict[str, int]]


def write(folder: Path, *batches: Sequence[Event]) -> Path:
    """Each batch is a file, or several where it is of several days."""
    number = 0
    for batch in batches:
        with opened(folder, Keys("test", "shop")) as partitions:
            partitions.add([Delivered(f"{number + at}-0", event) for at, event in enumerate(batch)])
        number += len(batch)
    return folder


def row(tally: Tally, unit: str = "ann") -> dict[str, Any]:
    """A unit's figures but those that are 0."""
    (found,) = tally[0].filter(unit=unit).rows(named=True)
    return {name: value for name, value in found.items() if value != 0}


def test_a_unit_has_a_row_of_all_it_was_shown_and_did(tmp_path: Path) -> None:
    """Over days and files, whatever the order in them: an act that came to the log before the exposure counts too."""
    told = [act("ann", 1), act("ann", 2, "cart"), act("ann", 3, "purchase", value=9.5), act("bob", 1)]
    shown = [exposure("ann", 0, (3, 2, 1, 4)), a_list("ann", 0.5), a_list("ann", 1, ""), failure("ann", 1.5)]
    late = [act("ann", 86_400, "rating", value=4.0), act("ann", 86_401), act("ann", -1), act("ann", 9, "impression")]

    tally = from_export(write(tmp_path, told, shown, late), config(window=86_400.0))

    assert tally[0].schema == UNITS
    assert tally[0]["unit"].to_list() == ["ann"]
    assert row(tally) == {
        **{"unit": "ann", "variant": "low", "version": 1, "propensity": 0.5, "exposed": START},
        **{"before_clicks": 3, "before_carts": 2, "before_purchases": 1, "before_ratings": 4},
        **{"lists": 2, "empty": 1, "failures": 1, "seconds": 0.5},
        **{"clicks": 1, "carts": 1, "purchases": 1, "ratings": 1, "rating_sum": 4, "revenue": 9.5},
    }


def test_the_first_record_says_what_a_unit_is(tmp_path: Path) -> None:
    """Also where that is a list; the acts from before are those of its first exposure, without which it has no time."""
    events = [
        exposure("ann", 9, (7, 0, 0, 0), version=2),
        a_list("ann", 0),
        exposure("ann", 5, (1, 0, 0, 0)),
        a_list("bob", 1, variant="high", lambda2=(1.0,)),
    ]

    frame, _ = from_export(write(tmp_path, events), config())

    columns = "unit", "variant", "version", "lambda2", "exposed", "before_clicks"
    assert frame.select(columns).rows() == [("ann", "low", 1, 0.0, START, 1), ("bob", "high", 1, 1.0, None, None)]


def test_what_is_of_no_unit_is_left_out(tmp_path: Path) -> None:
    """Other experiments, other series, and users who were given their variant by name."""
    others = [a_list("ann", 0, key="other"), a_list("bob", 0, version=2, series=2), a_list("cy", 0, propensity=None)]

    frame, coverage = from_export(write(tmp_path, [*others, a_list("dan", 0), act("cy", 1)]), config())

    assert frame["unit"].to_list() == ["dan"]
    assert coverage == {"low": 2}


def test_acts_count_until_a_later_series_begins(tmp_path: Path) -> None:
    """As they do while events come in: outcomes are those of the version in force. No window: for good."""
    second: dict[str, Any] = {"version": 2, "series": 2}
    events = [a_list("ann", 0), act("ann", 1), a_list("bob", 5, **second), act("ann", 6), act("bob", 6)]
    folder = write(tmp_path, [*events, a_list("ann", 8, **second), act("ann", 1e6)])

    frame, _ = from_export(folder, config(window=None), series=(1, 2))

    assert frame.select("unit", "version", "clicks").rows() == [("ann", 1, 1), ("ann", 2, 1), ("bob", 2, 1)]


def test_until_is_the_end(tmp_path: Path) -> None:
    """What came after is as if it had not."""
    folder = write(tmp_path, [a_list("ann", 0), act("ann", 1), act("ann", 2), a_list("ann", 2), a_list("bob", 3)])

    frame, _ = from_export(folder, config(), until=START + 1)

    assert frame.select("unit", "lists", "clicks").rows() == [("ann", 1, 1)]


def test_an_interleaving_is_credited_by_the_list_that_showed_the_item(tmp_path: Path) -> None:
    """By the request that an act names; without one, by the newest list before it that has the item."""
    lists = [
        a_list("ann", 0, "hat bag", 1, teams="ab", **MIXED),
        a_list("ann", 10, "sock hat tie", 2, teams="=ba", **MIXED),
        a_list("ann", 20, "tie", 3, teams="b", **MIXED),
    ]
    acts = [
        act("ann", 21),  # of the second list: b
        act("ann", 22, request_id="request-1"),  # a
        act("ann", 23, item="bag"),  # of the first: b
        act("ann", 24, "purchase", "tie"),  # of the third: b
        act("ann", 25, "purchase", "tie", request_id="request-2"),  # a
        act("ann", 26, "purchase", "tie", request_id="elsewhere"),  # of no list of the experiment
        act("ann", 27, item="shoe"),  # never shown
        act("ann", 28, item="sock"),  # in the head that both lists share
        act("ann", 5, "cart"),
    ]

    found = row(from_export(write(tmp_path, lists, acts), config(kind="interleaving")))

    assert (found["lambda2"], found["clicks"], found["purchases"]) == (None, 5, 3)
    assert [found[name] for name in ("clicks_a", "clicks_b", "purchases_a", "purchases_b")] == [1, 2, 1, 1]


def test_one_request_may_show_an_item_in_several_lists(tmp_path: Path) -> None:
    """A batch, or ids of requests that a caller makes up: an act counts once."""
    lists = [a_list("ann", at, "hat", 1, teams="a", **MIXED)._replace(event_id=f"list{at}") for at in (0, 1)]

    found = row(from_export(write(tmp_path, [*lists, act("ann", 2, request_id="request-1")]), config()))

    assert (found["clicks"], found["clicks_a"]) == (1, 1)


def test_coverage_is_of_distinct_items(tmp_path: Path) -> None:
    """By variant, also one whose lists are all empty."""
    high: dict[str, Any] = {"variant": "high", "lambda2": (1.0,)}
    lists = [a_list("ann", 0, "hat bag"), a_list("bob", 0, "hat tie"), a_list("cy", 0, "", **high)]

    _, coverage = from_export(write(tmp_path, lists), config())

    assert coverage == {"low": 3, "high": 0}


def test_files_from_before_there_were_experiments_are_read(tmp_path: Path) -> None:
    """They lack the columns; their acts count, and no id in them is written again."""
    write(tmp_path, [act("ann", 1)])
    for path in tmp_path.rglob("*.parquet"):
        pl.read_parquet(path).select(list(SCHEMA)[:TOLD]).write_parquet(path)

    assert len(from_export(tmp_path, config())[0]) == 0
    write(tmp_path, [act("ann", 1), act("ann", 2), exposure("ann", 0)])

    rows = pl.concat([pl.scan_parquet(path).select("event_id") for path in tmp_path.rglob("*.parquet")]).collect()
    assert (len(rows), rows["event_id"].n_unique()) == (3, 3)
    assert row(from_export(tmp_path, config()))["clicks"] == 2


@pytest.mark.parametrize(("content", "message"), [(None, "events export --to DIR"), (b"PAR1", "cannot be read")])
def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """With the way out."""
    if content:
        (tmp_path / "part-1.parquet").write_bytes(content)

    with pytest.raises(DataError, match=f"{tmp_path}.*{message}"):
        from_export(tmp_path, config())
