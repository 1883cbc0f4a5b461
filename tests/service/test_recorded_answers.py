"""What the service records of its own answers: durable before they leave, together, and nothing that users did."""

import asyncio
from pathlib import Path

import pytest

from causalrec.errors import CausalRecError, EventsRefused
from service.events import Event
from service.intake import CHUNK, RECORD_BUDGET
from tests.service.events import event
from tests.service.served import a_list, exposure, failure
from tests.service.test_intake import World, run

ANSWER = [exposure("ann", 0), a_list("ann", 0)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def waiting(world: World, *records: list[Event]) -> list["asyncio.Task[None]"]:
    """The first is being taken in, and will be until the log is open; the others have come meanwhile."""
    world.log.open.clear()
    first = asyncio.create_task(world.intake.record(records[0]))
    while not world.log.asked:
        await asyncio.sleep(0)
    others = [asyncio.create_task(world.intake.record(each)) for each in records[1:]]
    await asyncio.sleep(0)
    return [first, *others]


def test_what_is_recorded_is_in_the_log_and_of_no_user(world: World) -> None:
    """In time for an answer, counted by type; it is nothing that the user did."""
    run(world, lambda: world.intake.record(ANSWER))

    assert world.log.events == ANSWER
    assert world.log.budget == RECORD_BUDGET
    assert world.users.events == []
    assert world.told.counted == {("accepted", "exposure"): 1, ("accepted", "list"): 1}


def test_those_that_come_meanwhile_go_together(world: World) -> None:
    """One call for all that came while another was under way, in order, but no more at once than the log takes."""
    lists = [[a_list("ann", 0, number=number)] for number in range(1, 11)]
    long = [a_list("bob", 0, number=number) for number in range(CHUNK)]

    async def scenario() -> None:
        tasks = await waiting(world, ANSWER, *lists, long, ANSWER)
        world.log.open.set()
        await asyncio.gather(*tasks)

    run(world, scenario)

    assert world.log.sizes == [2, 10, CHUNK, 2]
    assert world.log.events == [*ANSWER, *(each for part in lists for each in part), *long]
    assert world.told.counted["duplicate", "list"] == 1


def test_while_redis_is_away_records_are_spooled(world: World) -> None:
    """Durable all the same, in order, and in the log when it is back; users hear of what they did alone."""
    world.leave()

    async def scenario() -> None:
        await world.intake.record(ANSWER)
        await world.intake.accept([event(1)])
        await world.intake.record([failure("ann", 2)])
        world.come_back()
        await world.emptied()

    run(world, scenario)

    assert world.log.events == [*ANSWER, event(1), failure("ann", 2)]
    assert world.users.events == [event(1)]
    assert (world.told.counted["spooled", "list"], world.told.counted["drained", ""]) == (1, 4)


def test_who_records_is_told_where_nothing_takes_it(tmp_path: Path) -> None:
    """All that went together; the next ones are tried again."""
    world = World(tmp_path, most=10)

    async def scenario() -> list[object]:
        tasks = await waiting(world, [a_list("ann", 0)], [a_list("ann", 1)], [a_list("ann", 2)])
        world.leave()
        world.log.open.set()
        refused = await asyncio.gather(*tasks, return_exceptions=True)
        world.come_back()
        await world.intake.record([a_list("ann", 3)])
        return list(refused)

    refused = run(world, scenario)

    assert [type(each) for each in refused] == [EventsRefused] * 3
    assert world.log.events == [a_list("ann", 3)]
    assert world.told.counted["refused", "list"] == 3


def test_an_error_of_the_log_reaches_all_who_wait(world: World) -> None:
    """Whatever it is: nobody waits for good, and the next ones are taken."""

    async def scenario() -> list[object]:
        tasks = await waiting(world, [a_list("ann", 0)], [a_list("ann", 1)])
        world.log.failure = CausalRecError("broken")
        world.log.open.set()
        broken = await asyncio.gather(*tasks, return_exceptions=True)
        world.come_back()
        await world.intake.record([a_list("ann", 2)])
        return list(broken)

    assert [str(each) for each in run(world, scenario)] == ["broken"] * 2
    assert world.log.events == [a_list("ann", 2)]


def test_who_leaves_while_it_is_recorded_stops_nobody(world: World) -> None:
    """Cancelled while others wait for the same call; it is recorded, and so are theirs."""

    async def scenario() -> None:
        first, leaving, staying = await waiting(world, [a_list("ann", 0)], [a_list("ann", 1)], [a_list("ann", 2)])
        leaving.cancel()
        await asyncio.wait({leaving})
        world.log.open.set()
        await asyncio.gather(first, staying)

    run(world, scenario)

    assert world.log.events == [a_list("ann", at) for at in range(3)]


def test_it_closes_after_what_is_being_recorded(world: World) -> None:
    """An answer that is still to leave has its record."""

    async def scenario() -> None:
        await waiting(world, [a_list("ann", 0)])
        asyncio.get_running_loop().call_later(0.05, world.log.open.set)  # when closing has begun

    run(world, scenario)

    assert world.log.events == [a_list("ann", 0)]
