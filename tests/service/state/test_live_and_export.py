"""Two accounts of the same events agree: tallied as they came to a real server, and joined from the exported files."""

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from service.events import Event, RecordType
from service.experiments.units import from_export
from service.partitions import opened
from service.state.connection import Connection
from service.state.deliveries import Deliveries
from service.state.events import EventLog
from service.state.tallies import OpenSeries, Tallies
from tests.service.served import MIXED, a_list, act, config, exposure, failure
from tests.service.state.conftest import Running
from tests.service.state.test_event_log import on

ITEMS = "hat bag tie shoe"
OPEN = (OpenSeries("dial", 1, 60.0), OpenSeries("mixed", 4, None))
STAYS = ("list", "failure")
Tally = tuple[pl.DataFrame, dict[str, int]]


def shown(rng: random.Random, unit: str, at: float) -> list[Event]:
    """An answer of one of three experiments, the last of them not open any more, its exposure just before it."""
    which = rng.randrange(3)
    answer: dict[str, Any] = (
        {
            "variant": "low" if unit < "u5" else "high",
            "propensity": None if unit == "u0" else 0.5,
            "version": 1 + (at > 150),
        },
        {**MIXED, "key": "mixed", "series": 4, "version": 4},
        {"key": "old"},
    )[which]
    if rng.random() < 0.1:
        return [failure(unit, at, **answer)]
    teams = {"teams": "=bab"} if which == 1 else {}
    items = ITEMS if which == 1 else " ".join(rng.sample(ITEMS.split(), rng.randrange(4)))
    before = None if rng.random() < 0.2 else (rng.randrange(9), 0, rng.randrange(3), 1)
    return [exposure(unit, at - 0.001, before, **answer), a_list(unit, at, items, **answer, **teams)]


def stream(rng: random.Random) -> list[Event]:
    """
    Ten minutes of a shop, one event a second: acts before any answer, between them, and long after; many are repeated,
    and exposures and acts may come to the log a few events late.
    """
    events: list[Event] = []
    for at in range(600):
        unit = f"u{rng.randrange(10)}"
        if rng.random() < 0.35 and at < 400:
            events += shown(rng, unit, at)
        else:
            types: list[RecordType] = ["click", "click", "cart", "purchase", "rating", "impression"]
            value = rng.choice([None, 2.5, 10.0])
            events.append(act(unit, at, rng.choice(types), rng.choice([*ITEMS.split(), "sock"]), value=value))
    moved = [
        (number + (rng.random() < 0.3) * 4 * (each.type == "exposure"), each) for number, each in enumerate(events)
    ]
    repeated = [(at + rng.randrange(200), each) for at, each in moved if rng.random() < 0.3]
    return [each for _, each in sorted([*moved, *repeated], key=lambda pair: pair[0])]


@pytest.mark.parametrize("seed", range(8))
def test_the_export_says_what_the_tallies_say(running: Running, tmp_path: Path, seed: int) -> None:
    """Every figure of every unit, and how many items were shown, in batches of any size."""
    rng = random.Random(seed)
    left = stream(rng)

    async def scenario(connection: Connection) -> list[Tally]:
        log = EventLog(connection, open_series=lambda: OPEN)
        while left:
            batch = [left.pop(0) for _ in range(min(len(left), rng.choice([1, 2, 7, 90])))]
            await log.append(batch)
        deliveries = Deliveries(connection, "folder")
        await deliveries.open()
        with opened(tmp_path, connection.keys) as partitions:
            while part := await deliveries.read(100):
                partitions.add(part)
        return [await Tallies(connection).read(*each) for each in (("dial", 1), ("mixed", 4))]

    live = on(running("embedded"), scenario)

    for (frame, coverage), series in zip(live, OPEN, strict=True):
        exported = from_export(tmp_path, config(series.key, series.series, window=series.window))
        assert_frame_equal(frame, exported[0], rel_tol=1e-12)
        assert coverage == exported[1]
    (dial, _), (mixed, _) = live
    assert dial["unit"].to_list() == [f"u{number}" for number in range(1, 10)]
    assert mixed.select("clicks_a", "clicks_b", "purchases_a", "purchases_b").sum().row(0) > (0, 0, 0, 0)
