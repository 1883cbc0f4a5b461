"""Tallies on real servers: what each unit was shown and did, counted once, in the same step as the log takes it in."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl
import pytest

from causalrec.errors import EventLogFull, StateUnavailable
from service.events import Event
from service.experiments.metrics import UNITS
from service.state import tallies as module
from service.state.connection import Connection
from service.state.events import EventLog
from service.state.tallies import OpenSeries, Tallies
from service.state.tally_script import TTL_SECONDS
from tests.service.served import MIXED, START, a_list, act, exposure, failure
from tests.service.state.servers import Server, connect
from tests.service.state.test_event_log import ids_kept, mend, on, spoil, stored

DIAL = OpenSeries("dial", 1, 100.0)
Tally = tuple[pl.DataFrame, dict[str, int]]


def log(connection: Connection, *open_series: OpenSeries, **options: Any) -> EventLog:
    return EventLog(connection, open_series=lambda: open_series, **options)


def tallied(server: Server, *batches: Sequence[Event], series: Sequence[OpenSeries] = (DIAL,)) -> Tally:
    """What is read of the first of `series` after these batches, each appended at once."""

    async def scenario(connection: Connection) -> Tally:
        for batch in batches:
            await log(connection, *series).append(batch)
        return await Tallies(connection).read("dial", 1)

    return on(server, scenario)


async def time_left(redis: Any, key: str) -> int:
    return int(await redis.ttl(key))


def row(tally: Tally, unit: str = "ann") -> dict[str, Any]:
    """A unit's figures but those that are 0."""
    (found,) = tally[0].filter(unit=unit).rows(named=True)
    return {name: value for name, value in found.items() if value != 0}


def test_a_unit_has_a_row_of_all_it_was_shown_and_did(any_server: Server) -> None:
    """On every kind of server; what was known before is kept apart from what came after."""
    acts = [
        act("ann", 2),
        act("ann", 3, "cart"),
        act("ann", 4, "purchase", value=9.5),
        act("ann", 5, "rating", value=4.0),
        act("ann", 6, "impression"),
    ]

    tally = tallied(
        any_server,
        [exposure("ann", 0, (3, 2, 1, 4)), a_list("ann", 0.5), a_list("ann", 1, ""), failure("ann", 1.5), *acts],
    )

    assert tally[0].schema == UNITS
    assert row(tally) == {
        **{"unit": "ann", "variant": "low", "version": 1, "propensity": 0.5, "exposed": START},
        **{"before_clicks": 3, "before_carts": 2, "before_purchases": 1, "before_ratings": 4},
        **{"lists": 2, "empty": 1, "failures": 1, "seconds": 0.5},
        **{"clicks": 1, "carts": 1, "purchases": 1, "ratings": 1, "rating_sum": 4, "revenue": 9.5},
    }


def test_each_event_counts_once(redis_server: Server) -> None:
    """However often it is sent, in one batch or in several."""
    events = [exposure("ann", 0), a_list("ann", 0), act("ann", 1), act("ann", 2)]

    found = row(tallied(redis_server, [*events, *events], events, events[2:] * 2))

    assert (found["lists"], found["clicks"]) == (1, 2)


def test_only_what_came_within_the_window_counts(redis_server: Server) -> None:
    """From the exposure on, for so many seconds, both ends included; lists and failures as well."""
    times = (-1, 0, 100, 101)

    found = row(
        tallied(
            redis_server,
            [exposure("ann", 0)],
            [act("ann", at) for at in times],
            [each for at in times[2:] for each in (a_list("ann", at), failure("ann", at))],
        )
    )

    assert (found["clicks"], found["lists"], found["failures"]) == (2, 1, 1)


def test_without_a_window_all_counts(redis_server: Server) -> None:
    """For years."""
    series = [DIAL._replace(window=None)]

    found = row(tallied(redis_server, [exposure("ann", 0), act("ann", 1e8), a_list("ann", 1e8)], series=series))

    assert (found["clicks"], found["lists"]) == (1, 1)


def test_an_act_counts_in_every_open_series_of_its_unit(redis_server: Server) -> None:
    """And in none that is closed; lists count in their own, open or not."""
    other = OpenSeries("other", 2, 10.0)
    second: dict[str, Any] = {"key": "other", "version": 3, "series": 2}

    async def scenario(connection: Connection) -> list[Tally]:
        both = log(connection, DIAL, other)
        await both.append([exposure("ann", 0), exposure("ann", 1, **second), exposure("bob", 0), act("bob", 1)])
        await both.append([act("ann", 2), act("ann", 50)])
        await log(connection, other).append([act("ann", 3), a_list("ann", 3), a_list("ann", 3, number=2, **second)])
        return [await Tallies(connection).read(*each) for each in (("dial", 1), ("other", 2))]

    dial, others = on(redis_server, scenario)

    assert (row(dial)["clicks"], row(dial)["lists"], row(dial, "bob")["clicks"]) == (2, 1, 1)
    assert (row(others)["clicks"], row(others)["lists"], row(others)["version"]) == (2, 1, 3)


def test_who_is_in_no_experiment_has_no_row(redis_server: Server) -> None:
    """Nor somebody who was given their variant by name: nothing of them is compared with others."""
    named = [exposure("cy", 0, propensity=None), a_list("cy", 0, propensity=None), failure("cy", 1, propensity=None)]

    frame, coverage = tallied(redis_server, [act("bob", 1)], [*named, act("cy", 2)])

    assert (len(frame), coverage) == (0, {})


def test_the_earliest_exposure_stays(redis_server: Server) -> None:
    """Whether it comes before that of a later version or after it, or after a list."""
    first, second = exposure("ann", 0, (1, 0, 0, 0)), exposure("ann", 9, (7, 0, 0, 0), version=2)
    shown = a_list("ann", 0.5)

    found = [
        row(tallied(redis_server, *([each] for each in order)))
        for order in ((first, shown, second), (second, first, shown), (shown, second, first))
    ]

    assert [(each["exposed"], each["version"], each["before_clicks"]) for each in found] == [(START, 1, 1)] * 3
    assert found[0] == found[1] == found[2]


def test_a_list_makes_a_row_whose_past_is_unknown(redis_server: Server) -> None:
    """And that is not analysed until the exposure comes; one of a unit that could not be asked for says no past."""
    tally = tallied(redis_server, [a_list("ann", 0), failure("bob", 1)], [exposure("cy", 0, None)])

    before = tally[0].select("unit", "exposed", "before_clicks", "before_ratings").rows()
    assert before == [("ann", None, None, None), ("bob", None, None, None), ("cy", START, None, None)]


def test_an_interleaving_is_credited_by_the_newest_list(redis_server: Server) -> None:
    """An item's team is that of the list with the latest time, whichever came last to the log; "=" is nobody's."""
    lists = [
        a_list("ann", 5, "tie hat bag", teams="=ab", **MIXED),
        a_list("ann", 0, "hat bag", teams="ba", **MIXED),
    ]
    acts = [act("ann", 6), act("ann", 7, item="bag"), act("ann", 8, "purchase", "bag"), act("ann", 9, item="shoe")]
    acts.append(act("ann", 10, item="tie"))

    found = row(tallied(redis_server, lists, acts))

    assert (found["lambda2"], found["clicks"], found["purchases"]) == (None, 4, 1)
    assert (found["clicks_a"], found["clicks_b"], found["purchases_b"]) == (1, 1, 1)
    assert "purchases_a" not in found


def test_coverage_is_of_distinct_items(redis_server: Server) -> None:
    """By variant, over all its units, within about 1 %, also of one long batch."""
    high: dict[str, Any] = {"variant": "high", "lambda2": (1.0,)}
    lists = [a_list(f"u{n}", 0, " ".join(f"i{n * 10 + k}" for k in range(20))) for n in range(900)]

    _, coverage = tallied(redis_server, lists, [a_list("x", 0, "hat bag", **high), a_list("y", 0, "hat", **high)])

    assert coverage["low"] == pytest.approx(10 * 900 + 10, rel=0.03)
    assert coverage["high"] == 2


def test_all_rows_are_read_however_many(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks, sorted by unit; several series one below the other, their items together."""
    monkeypatch.setattr(module, "CHUNK", 10)
    units = [f"u{number:04d}" for number in range(1500)]

    async def scenario(connection: Connection) -> tuple[int, Tally]:
        await log(connection).append([a_list(unit, 0) for unit in units])
        await log(connection).append([a_list("ann", 0, "hat tie", version=2, series=2)])
        return await Tallies(connection).size("dial", 1), await Tallies(connection).read("dial", 1, 2)

    size, (frame, coverage) = on(redis_server, scenario)

    assert size == len(units)
    assert frame["unit"].to_list() == [*units, "ann"]
    assert coverage == {"low": 3}


def test_nothing_is_tallied_that_is_not_stored(redis_server: Server) -> None:
    """A full log takes neither; a tally spoiled by somebody else lets no event in, so that it can be sent again."""
    events = [exposure("ann", 0), a_list("ann", 0), act("ann", 1)]

    async def scenario(connection: Connection) -> tuple[list[int], Tally]:
        keys = connection.keys
        with pytest.raises(EventLogFull):
            await log(connection, DIAL, most=2).append(events)
        found = [await Tallies(connection).size("dial", 1)]
        for spoiled in (keys.units("dial", 1), keys.shown("dial", 1, "low")):
            await connection.run(partial(spoil, key=spoiled))
            with pytest.raises(StateUnavailable, match="WRONGTYPE"):
                await log(connection, DIAL, clock=lambda: START).append(events)
            await connection.run(partial(mend, key=spoiled))
            found += [len(await stored(connection)), await ids_kept(connection, int(START // 86_400))]
            found.append(await Tallies(connection).size("dial", 1))
        await log(connection, DIAL, clock=lambda: START).append(events)
        return found, await Tallies(connection).read("dial", 1)

    found, tally = on(redis_server, scenario)

    assert found == [0] * 7
    assert (row(tally)["lists"], row(tally)["clicks"]) == (1, 1)


def test_two_processes_that_send_the_same_at_once(redis_server: Server) -> None:
    """Each event counts once."""
    events = [exposure("ann", 0), *(act("ann", number / 10) for number in range(400))]

    async def scenario(connection: Connection) -> Tally:
        async with connect(redis_server, keys=connection.keys) as other:
            await log(connection, DIAL).append(events[:1])
            await asyncio.gather(*(log(each, DIAL).append(events) for each in (connection, other) * 3))
        return await Tallies(connection).read("dial", 1)

    assert row(on(redis_server, scenario))["clicks"] == 400


def test_tallies_go_ninety_days_after_the_last_write(redis_server: Server) -> None:
    """Rows and items."""

    async def scenario(connection: Connection) -> list[int]:
        await log(connection).append([a_list("ann", 0)])
        names = connection.keys.units("dial", 1), connection.keys.shown("dial", 1, "low")
        return [await connection.run(partial(time_left, key=name)) for name in names]

    assert all(TTL_SECONDS - 60 < left <= TTL_SECONDS for left in on(redis_server, scenario))


def test_ids_of_any_characters_are_kept_apart(redis_server: Server) -> None:
    """Units, items and variants as they are, also with what separates the parts of a key."""
    odd: dict[str, Any] = {"variant": "λ2:0,8", "key": "a-b_c", "lambda2": (0.8,)}

    async def scenario(connection: Connection) -> Tally:
        events = [a_list('zoë:"1"', 0, "hüt", **odd), act('zoë:"1"', 1, item="hüt")]
        await log(connection, OpenSeries("a-b_c", 1, None)).append(events)
        return await Tallies(connection).read("a-b_c", 1)

    frame, coverage = on(redis_server, scenario)

    assert frame.select("unit", "variant", "lambda2", "clicks").rows() == [('zoë:"1"', "λ2:0,8", 0.8, 1.0)]
    assert coverage == {"λ2:0,8": 1}
