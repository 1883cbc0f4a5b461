"""The unit frame from exported events: the same figures as the live tallies', from Parquet, however many there are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl
from polars.datatypes import DataTypeClass

from causalrec.errors import DataError
from service.experiments.metrics import BEFORE, UNITS
from service.experiments.model import Config

MOMENT = pl.Datetime("us", "UTC")
READ: Final[Mapping[str, pl.DataType | DataTypeClass]] = {
    "user_id": pl.String,
    "item_id": pl.String,
    "type": pl.String,
    "value": pl.Float64,
    "timestamp": MOMENT,
    "request_id": pl.String,
    "experiment": pl.String,
    "version": pl.Int64,
    "series": pl.Int64,
    "variant": pl.String,
    "lambda2": pl.List(pl.Float64),
    "propensity": pl.Float64,
    "item_ids": pl.List(pl.String),
    "teams": pl.String,
    "seconds": pl.Float64,
    **dict.fromkeys(BEFORE, pl.Int64),
}
"""The columns read; those from `experiment` on are not in files that an earlier release wrote."""
ROW = ("unit", "series")


def from_export(
    folder: Path, config: Config, until: float | None = None, *, series: Sequence[int] | None = None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """
    What the units of an experiment were shown and did, from the Parquet files below `folder`.

    A unit is of a series from the first exposure, list or failure there; its lists, failures and outcomes count from
    then on, for as long as the window says. Its variant, version, λ2 and propensity are those of that first record, the
    acts from before those of its first exposure. Outcomes count up to the first answer of a later series of the same
    experiment. A click or purchase in an interleaving is credited by the list of the answer that its request_id names;
    without one, by the unit's latest list before it that has the item.

    A unit of which no exposure is on record has `exposed` null: it is not analysed, so that a loss shows in the sample
    ratio. Answers of overridden users are left out. Memory: that of the units, and of the lists of an interleaving.

    Args:
        until: events after it are left out, in seconds since 1970.
        series: those wanted, in that order, one below the other; left out: the one that `config` is of.
    Returns: the frame (metrics.UNITS), sorted by unit within a series; how many distinct items the lists of each
        variant had.
    Raises: DataError where there are no files, or one cannot be read.
    """
    wanted = (config.series,) if series is None else tuple(series)
    try:
        events = _events(folder, until)
        answers = events.filter(pl.col("experiment") == config.key)
        starts = _collected(answers.group_by("series").agg(pl.col("at").min()))
        own = answers.filter(pl.col("series").is_in(wanted), pl.col("propensity").is_not_null())
        own = own.rename({"user_id": "unit"})
        units = _collected(_first(own))
        within = _Within(units, config.window, starts)
        lists = within.of(own)
        outcomes = within.of(events.filter(pl.col("type").is_in(OUTCOMES)).rename({"user_id": "unit"}), ends=True)
        parts = [_collected(_shown(lists)), _collected(_did(outcomes)), _credits(own, outcomes)]
        coverage = _coverage(lists)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{folder}: cannot be read ({str(error).splitlines()[0]}); export it again") from error
    for part in parts:
        units = units.join(part, on=ROW, how="left")
    summed = [name for name in UNITS if name not in KEPT]
    place = pl.col("series").replace_strict({each: at for at, each in enumerate(wanted)}, return_dtype=pl.Int64)
    units = units.with_columns(exposed=pl.when("recorded").then("exposed"))
    frame = units.with_columns(pl.col(summed).fill_null(0)).sort(place, "unit").select(UNITS.names()).cast(UNITS)
    return frame, {variant: coverage.get(variant, 0) for variant in frame["variant"].unique().sort()}


KEPT = ("unit", "variant", "version", "lambda2", "propensity", "exposed", *BEFORE)
OUTCOMES = ("click", "cart", "purchase", "rating")


class _Within:
    """The units, and until when their events count."""

    def __init__(self, units: pl.DataFrame, window: float | None, starts: pl.DataFrame) -> None:
        later = {
            each: starts.filter(pl.col("series") > each)["at"].min() for each in units["series"].unique().to_list()
        }
        ends = pl.DataFrame(
            {"series": list(later), "end": list(later.values())}, {"series": pl.Int64, "end": pl.Float64}
        )
        self._units = units.select(*ROW, "exposed").join(ends, on="series", how="left").lazy()
        self._window = float("inf") if window is None else window

    def of(self, events: pl.LazyFrame, *, ends: bool = False) -> pl.LazyFrame:
        """Those events of units that count, with the series; ends: only until a later series begins."""
        on = "unit" if ends else list(ROW)
        found = events.drop("series") if ends else events
        joined = found.join(self._units, on=on).filter(
            pl.col("at").is_between("exposed", pl.col("exposed") + self._window)
        )
        return joined.filter(pl.col("end").is_null() | (pl.col("at") < pl.col("end"))) if ends else joined


def _events(folder: Path, until: float | None) -> pl.LazyFrame:
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise DataError(f"{folder}: has no exported events; `python -m service events export --to DIR` writes some")
    scanned = pl.scan_parquet(
        files, schema=READ, hive_partitioning=False, missing_columns="insert", extra_columns="ignore"
    )
    events = scanned.with_columns(at=pl.col("timestamp").dt.epoch("us") / 1e6).drop("timestamp")
    return events if until is None else events.filter(pl.col("at") <= until)


def _collected(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")


def _first(own: pl.LazyFrame) -> pl.LazyFrame:
    """A row per unit and series: when it began, and as what."""
    exposure = pl.col("type") == "exposure"
    alone = pl.when(pl.col("lambda2").list.len() == 1).then(pl.col("lambda2").list.first())
    return (
        own.with_columns(lambda2=alone, known=pl.when(exposure).then("at"))
        .group_by(ROW)
        .agg(
            pl.col("variant", "version", "lambda2", "propensity").sort_by("at").first(),
            pl.col(BEFORE).sort_by("known", nulls_last=True).first(),
            exposed=pl.col("at").min(),
            recorded=exposure.any(),
        )
    )


def _shown(lists: pl.LazyFrame) -> pl.LazyFrame:
    a_list = pl.col("type") == "list"
    return lists.group_by(ROW).agg(
        lists=a_list.sum(),
        empty=(a_list & (pl.col("item_ids").list.len() == 0)).sum(),
        failures=(pl.col("type") == "failure").sum(),
        seconds=pl.col("seconds").filter(a_list).sum(),
    )


def _did(outcomes: pl.LazyFrame) -> pl.LazyFrame:
    kind = pl.col("type")
    return outcomes.group_by(ROW).agg(
        clicks=(kind == "click").sum(),
        carts=(kind == "cart").sum(),
        purchases=(kind == "purchase").sum(),
        ratings=(kind == "rating").sum(),
        rating_sum=pl.col("value").filter(kind == "rating").sum(),
        revenue=pl.col("value").filter(kind == "purchase").sum(),
    )


def _credits(own: pl.LazyFrame, outcomes: pl.LazyFrame) -> pl.DataFrame:
    """Clicks and purchases of an interleaving by whose item it was."""
    lists = own.filter(pl.col("type") == "list", pl.col("teams") != "")
    team = pl.col("teams").str.split("").alias("team")
    placed = _collected(
        lists.select(*ROW, "at", "request_id", team, item_id="item_ids").explode("item_id", "team")
    ).sort("at")
    acts = _collected(outcomes.filter(pl.col("type").is_in(["click", "purchase"]), _known(placed["unit"]))).sort("at")
    named = acts.filter(pl.col("request_id").is_not_null()).join(
        placed.unique([*ROW, "request_id", "item_id"], keep="last"), on=[*ROW, "request_id", "item_id"]
    )
    guessed = acts.filter(pl.col("request_id").is_null()).join_asof(
        placed.drop("request_id"), on="at", by=[*ROW, "item_id"], strategy="backward", check_sortedness=False
    )
    both = pl.concat([named.select(*ROW, "type", "team"), guessed.select(*ROW, "type", "team")])
    return both.group_by(ROW).agg(
        ((pl.col("type") == kind) & (pl.col("team") == whose)).sum().alias(f"{kind}s_{whose}")
        for kind in ("click", "purchase")
        for whose in ("a", "b")
    )


def _known(units: pl.Series) -> pl.Expr:
    return pl.col("unit").is_in(units.unique().implode())


def _coverage(lists: pl.LazyFrame) -> Mapping[str, int]:
    shown = lists.filter(pl.col("type") == "list").select("variant", "item_ids").explode("item_ids").drop_nulls()
    found = _collected(shown.group_by("variant").agg(pl.col("item_ids").n_unique()))
    return dict(found.iter_rows())
