"""What happens to running experiments by itself: looks, stops, weights that move, reports that are kept."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import pytest
from numpy.random import default_rng

from service.experiments import analysis, changes
from service.experiments.model import Config, Decision, Experiment, Guardrail, Tuning
from service.experiments.report import Report
from service.state.keys import Keys
from service.steward import Steward
from tests.service.served import START
from tests.service.state.experimenting.world import Replica, begun, replica, visit
from tests.service.state.servers import Server

T = TypeVar("T")
SLOW = Guardrail("latency", 0.1)
WEEK = 7 * 86_400
Run = Callable[[Callable[[Replica], Awaitable[T]]], T]


@pytest.fixture
def run(server: Server, keys: Keys) -> Run[Any]:
    """Runs a scenario on one replica."""

    def ran(scenario: Callable[[Replica], Awaitable[T]]) -> T:
        async def on_one() -> T:
            async with replica(server, keys) as one:
                return await scenario(one)

        return asyncio.run(on_one())

    return ran


def slow(decision: Decision) -> float:
    """How long an answer takes where a variant is slow."""
    number = int(decision.unit[1:]) % 7
    return (0.05 if decision.lambda2 == (0.8,) else 0.02) * (1 + number / 10)


def test_every_pass_looks_at_what_runs(run: Run[list[Any]]) -> None:
    """The look is in the timeline: units by variant, when."""

    async def scenario(one: Replica) -> list[Any]:
        await begun(one)
        await one.visited(40, "click")
        await one.steward.attend()
        one.clock.now += 60
        await one.visited(10, "click", start=40)
        await one.steward.attend()
        return await one.store.looks("dial", 1)

    looks = run(scenario)

    assert [each.at for each in looks] == [START, START + 60]
    assert [sum(each.units.values()) for each in looks] == [40, 50]


def test_looks_grow_sparser(run: Run[list[Any]]) -> None:
    """The next one is remembered after a hundredth of the time since the first."""

    async def scenario(one: Replica) -> list[Any]:
        await begun(one)
        await one.visited(4)
        for later in (0, 1000, 1005, 1011, 1012):
            one.clock.now = START + later
            await one.steward.attend()
        return await one.store.looks("dial", 1)

    assert [each.at - START for each in run(scenario)] == [0, 1000, 1011]


def test_the_first_look_at_a_broken_split_is_kept_at_once(run: Run[list[Any]]) -> None:
    """However short a time after the last one: that the sample ratio failed once stays known."""

    async def scenario(one: Replica) -> list[Any]:
        await begun(one)
        await one.visited(20)
        decisions = [decision for n in range(20, 420) if (decision := one.experiments.decide(f"u{n}"))]
        kept = [each for each in decisions if each.variant == "0"]
        for later in (0, 1000, 1001, 1002):
            one.clock.now = START + later
            if later == 1001:
                visits = [visit(each, one.clock.now, (), {}) for each in kept]
                await one.log.append([event for every in visits for event in every])
            await one.steward.attend()
        return await one.store.looks("dial", 1)

    looks = run(scenario)

    assert [each.at - START for each in looks] == [0, 1000, 1001]
    assert looks[2].srm_p_value < 1e-6 < looks[1].srm_p_value


def test_the_sample_ratio_is_told_while_an_experiment_runs(run: Run[Any]) -> None:
    """For a metric; of what is not running nothing is told, and nothing by a replica that does not lead."""
    told: list[Mapping[str, float]] = []

    async def scenario(one: Replica) -> None:
        await begun(one)
        parts = one.experiments, one.reports, one.store, default_rng(0), one.clock
        steward = Steward(*parts, told=lambda p_values: told.append({**p_values}))
        await one.visited(40)
        await steward.attend()
        await one.experiments.pause("dial", "ann")
        await steward.attend()
        await one.experiments.start("dial", None, "ann")
        one.store._me = "another replica"
        await steward.attend()

    run(scenario)

    assert [list(each) for each in told] == [["dial"], [], []]
    assert 0.01 < told[0]["dial"] <= 1


def test_nobody_is_nothing_to_look_at(run: Run[list[Any]]) -> None:
    """An empty experiment has no timeline."""

    async def scenario(one: Replica) -> list[Any]:
        await begun(one)
        await one.steward.attend()
        return await one.store.looks("dial", 1)

    assert run(scenario) == []


def test_a_breached_guardrail_stops_the_experiment(run: Run[Any]) -> None:
    """By itself, with an entry in the audit log that says which and by how much; the look is kept."""

    async def scenario(one: Replica) -> Any:
        await begun(one, segment=(0.0, 0.5), guardrails=(SLOW,))
        await begun(one, "fine", segment=(0.5, 1.0))
        await one.visited(1200, seconds=slow)
        await one.steward.attend()
        entry = (await one.experiments.audit("dial", 1))[0]
        states = {key: each.state for key, each in one.experiments.book.experiments.items()}
        return entry, states, await one.store.looks("dial", 1), one.experiments.decide("u0")

    entry, states, looks, decision = run(scenario)

    assert (entry.act, entry.actor, entry.version, entry.at) == ("breach", "guardrail", 1, START)
    assert entry.detail.startswith("seconds per answer of 0.8 is worse than the control's by +1")
    assert entry.detail.endswith("10.00\N{NARROW NO-BREAK SPACE}% is allowed")
    assert states == {"dial": "stopped", "fine": "running"}
    assert len(looks) == 1
    assert decision is None or decision.key == "fine"


def test_what_holds_within_its_guardrails_goes_on(run: Run[str]) -> None:
    """The same with answers as fast."""

    async def scenario(one: Replica) -> str:
        await begun(one, guardrails=(SLOW,))
        await one.visited(600, seconds=lambda decision: 0.02 * (1 + int(decision.unit[1:]) % 7 / 10))
        await one.steward.attend()
        return one.experiments.book.experiments["dial"].state

    assert run(scenario) == "running"


TUNED: dict[str, Any] = {"kind": "tuned", "tuning": Tuning(0.1, 600.0)}


def test_weights_move_towards_what_sells(run: Run[Any]) -> None:
    """As a new version in force, by nobody but tuning, once its time has come; nothing falls below the floor."""

    async def scenario(one: Replica) -> Any:
        await begun(one, **TUNED)
        decisions = [decision for n in range(400) if (decision := one.experiments.decide(f"u{n}"))]
        sold = [("purchase",) if each.lambda2 == (0.8,) and n % 2 else () for n, each in enumerate(decisions)]
        visits = [visit(each, START, acts, {}) for each, acts in zip(decisions, sold, strict=True)]
        await one.log.append([event for every in visits for event in every])
        await one.steward.attend()
        early = len(one.experiments.book.experiments["dial"].versions)
        one.clock.now += 601
        await one.steward.attend()
        return early, one.experiments.book.experiments["dial"], (await one.experiments.audit("dial", 1))[0]

    early, found, entry = run(scenario)
    weights = {each.name: each.weight for each in found.config.variants}

    assert (early, found.state, found.running, found.config.actor) == (1, "running", 2, "tuning")
    assert found.versions[0].salt != found.config.salt  # everybody is drawn anew
    assert weights["0.8"] > 0.85
    assert weights["0"] >= 0.1
    assert sum(weights.values()) == pytest.approx(1, abs=1e-9)
    assert (entry.act, entry.actor, entry.version, entry.at) == ("tune", "tuning", 2, START + 601)
    assert "0.8 (λ2 0.8, weight 0.5) → 0" in entry.detail.replace("variants 0 (λ2 0, weight 0.5), ", "")


def test_a_tuned_experiment_is_reported_as_one(run: Run[Any]) -> None:
    """Units of all versions, and one timeline."""

    async def scenario(one: Replica) -> Any:
        await begun(one, **TUNED)
        await one.visited(250, "click")
        await one.steward.attend()
        one.clock.now += 601
        await one.steward.attend()
        await one.visited(50, "click", start=250)
        one.clock.now += 60
        await one.steward.attend()
        return await one.experiments.report("dial"), await one.store.looks("dial", 1)

    report, looks = run(scenario)

    assert (report.version, report.units) == (2, 300)
    assert [each.at - START for each in looks] == [0, 601, 661]


def test_who_changed_it_meanwhile_is_not_overruled(run: Run[Any], caplog: pytest.LogCaptureFixture) -> None:
    """A person paused it while it was analysed: it stays so, and nothing is stopped."""
    caplog.set_level(logging.INFO, "service.steward")

    async def scenario(one: Replica) -> Any:
        seen = await begun(one, guardrails=(SLOW,))
        await one.visited(600, seconds=slow)
        new = one.reports.new

        async def slowly(experiment: Experiment) -> Any:
            made = await new(experiment)
            await one.experiments.pause("dial", "bob")
            return made

        one.reports.new = slowly  # type: ignore[method-assign] # somebody is faster
        await one.steward.attend()
        return seen, one.experiments.book.experiments["dial"].state, await one.experiments.audit("dial", 1)

    _, state, (entry,) = run(scenario)

    assert (state, entry.act, entry.actor) == ("paused", "pause", "bob")
    assert "was changed meanwhile: it is paused" in caplog.text


def test_an_error_in_one_experiment_harms_no_other(
    run: Run[list[Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its key."""
    analyse = analysis.analyse

    def spoilt(config: Config, *arguments: Any, **named: Any) -> Report:
        if config.key == "broken":
            raise ZeroDivisionError("what nobody foresaw")
        return analyse(config, *arguments, **named)

    monkeypatch.setattr(analysis, "analyse", spoilt)

    async def scenario(one: Replica) -> list[Any]:
        await begun(one, "broken", segment=(0.0, 0.5))
        await begun(one, segment=(0.5, 1.0))
        await one.visited(40)
        assert await one.steward.attend()
        return await one.store.looks("dial", 1)

    assert len(run(scenario)) == 1
    assert "'broken' could not be looked after" in caplog.text


def test_the_last_report_of_a_stopped_experiment_is_kept(run: Run[list[Any]]) -> None:
    """At once, every hour while what its units do counts, once after that, and then no more."""

    async def scenario(one: Replica) -> list[Any]:
        await begun(one)
        await one.visited(10, "click")
        await one.experiments.stop("dial", "", "ann")
        kept = []
        for later in (0, 1800, 3601, WEEK - 60, WEEK + 1, WEEK + 3600, 2 * WEEK):
            one.clock.now = START + later
            await one.steward.attend()
            report = await one.reports.kept("dial")
            assert report
            kept.append((report.at - START, report.units, report.state))
        return kept

    expected = (0, 0, 3601, WEEK - 60, WEEK - 60, WEEK + 3600, WEEK + 3600)
    assert run(scenario) == [(at, 10, "stopped") for at in expected]


def test_a_report_that_was_kept_is_not_replaced_by_nothing(run: Run[Any]) -> None:
    """Where nobody looked after it until its tallies had gone."""

    async def scenario(one: Replica) -> Any:
        await begun(one)
        await one.visited(10, "click")
        await one.experiments.stop("dial", "", "ann")
        await one.steward.attend()
        name = one.connection.keys.units("dial", 1)
        await one.connection.run(lambda redis: redis.delete(name))
        one.clock.now += 2 * WEEK
        for _ in range(2):
            await one.steward.attend()
        return await one.reports.kept("dial")

    report = run(scenario)

    assert (report.at, report.units) == (START, 10)


def test_a_tuned_experiment_of_many_versions_stays_as_it_is(run: Run[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """No more can be made: its weights rest, and it goes on."""
    monkeypatch.setattr(changes, "MOST_VERSIONS", 1)

    async def scenario(one: Replica) -> int:
        await begun(one, **TUNED)
        await one.visited(250, "click")
        one.clock.now += 601
        await one.steward.attend()
        return len(one.experiments.book.experiments["dial"].versions)

    assert run(scenario) == 1
