"""Tallies: what every unit of an experiment was shown and did, counted as the event log takes it in."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import polars as pl

from service.events import Event
from service.experiments.metrics import BEFORE, UNITS
from service.state.connection import Connection
from service.state.keys import Keys
from service.state.tally_script import ROW, UNKNOWN

OUTCOMES: Final = frozenset({"click", "cart", "purchase", "rating"})
CHUNK = 5000  # rows per call
BUDGET = 5.0  # seconds for one call: nobody waits for an answer meanwhile


class OpenSeries(NamedTuple):
    """A series whose units' outcomes count, for `window` seconds after each unit's exposure; None: for good."""

    key: str
    series: int
    window: float | None


OpenNow = Callable[[], Sequence[OpenSeries]]


class Plan(NamedTuple):
    """What the log's script is told of tallies: keys after its own, and what is where, as `tally_script` has it."""

    names: list[str]
    content: bytes


def planned(events: Sequence[Event], open_series: Sequence[OpenSeries], keys: Keys, own: int) -> Plan | None:
    """
    How events are to be tallied; None where none of them is. own: how many keys the script has of its own.

    An answer counts in its own series, an outcome in all that are open. The window of a series that is not open is not
    known: all its lists count.
    """
    chosen, series, items = [], {(each.key, each.series): each.window for each in open_series}, {}
    for number, event in enumerate(events, 1):
        if (served := event.served) is not None:
            if served.propensity is None:  # an override
                continue
            series.setdefault((served.experiment, served.series), None)
            items[served.experiment, served.series, served.variant] = 0
        elif not open_series or event.type not in OUTCOMES:
            continue
        chosen.append(number)
    if not chosen:
        return None
    names = [*(keys.units(*each) for each in series), *(keys.shown(*each) for each in items)]
    of_series = {
        f"{key}:{number}": {"units": at, "window": window}
        for at, ((key, number), window) in enumerate(series.items(), own + 1)
    }
    of_items = {":".join(map(str, each)): at for at, each in enumerate(items, own + len(series) + 1)}
    open_names = [f"{each.key}:{each.series}" for each in open_series]
    return Plan(names, orjson.dumps({"events": chosen, "series": of_series, "open": open_names, "items": of_items}))


class Tallies:
    """
    Reads the rows that the event log keeps up to date in the same atomic call in which it takes an event in: each
    event counts once. 90 days after the last one they are gone.

    They are those of `units.from_export`, but for three things that only the export can know. An outcome that comes
    to the log before the first answer of its unit, as may happen after an outage where several processes serve, is not
    in them. What an interleaving's items are credited to is looked up in the unit's newest list, whichever list showed
    the item. And `coverage` is within about 1 %.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def size(self, key: str, series: int) -> int:
        """How many units there are. Raises: StateUnavailable."""
        name = self._connection.keys.units(key, series)

        async def work(redis: Any) -> int:
            return int(await redis.hlen(name))

        return await self._connection.run(work, budget=BUDGET)

    async def read(self, key: str, *series: int) -> tuple[pl.DataFrame, dict[str, int]]:
        """
        The unit frame (metrics.UNITS) of one series or of several, one below the other, each sorted by unit; and how
        many distinct items the lists of each variant had, over all of them.

        Raises: StateUnavailable.
        """
        frames = [_frame(await self._rows(self._connection.keys.units(key, each))) for each in series]
        found = pl.concat(frames) if frames else UNITS.to_frame()
        return found, {
            variant: await self._shown([self._connection.keys.shown(key, each, variant) for each in series])
            for variant in found["variant"].unique().sort()
        }

    async def _rows(self, name: str) -> dict[bytes, bytes]:
        rows: dict[bytes, bytes] = {}  # a row may be given twice while the table grows
        cursor = 0
        while True:

            async def work(redis: Any, cursor: int = cursor) -> tuple[int, dict[bytes, bytes]]:
                answer: tuple[int, dict[bytes, bytes]] = await redis.hscan(name, cursor, count=CHUNK)
                return answer

            cursor, part = await self._connection.run(work, budget=BUDGET)
            rows.update(part)
            if not cursor:
                return rows

    async def _shown(self, names: Sequence[str]) -> int:
        async def work(redis: Any) -> int:
            return int(await redis.pfcount(*names))

        return await self._connection.run(work, budget=BUDGET)


def _frame(rows: dict[bytes, bytes]) -> pl.DataFrame:
    figures = np.frombuffer(b"".join(row[: ROW.itemsize] for row in rows.values()), ROW)
    variants = [row[ROW.itemsize : row.index(b"\0", ROW.itemsize)].decode() for row in rows.values()]
    columns: dict[str, Any] = {"unit": [unit.decode() for unit in rows], "variant": variants}
    columns |= {name: figures[name].astype(np.float64) for name in UNITS if name not in columns}
    columns["exposed"] = np.where(np.isfinite(figures["known"]), figures["exposed"], np.nan)
    before = pl.col(*BEFORE)
    return (
        pl.DataFrame(columns)
        .with_columns(pl.when(before < UNKNOWN).then(before).name.keep(), pl.col("lambda2", "exposed").fill_nan(None))
        .cast(UNITS)
        .sort("unit")
    )
