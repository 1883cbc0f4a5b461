"""Answers whose λ2 an experiment chose: one value, or two lists in one."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from service.answers import encode
from service.events import Act, Event
from service.experiments.model import Decision
from service.planning import Wanted
from service.ranking import Ranked
from service.recording import Given, Recorder
from service.rules import Boost, Cap
from tests.service.live_world import ids, make_ranker, state

ANN = Wanted("ann", 12)
LOW = Decision("dial", 3, 2, "low", (0.4,), 0.5, "ann")
MIXED = Decision("mix", 1, 1, "mixed", (0.0, 2.0), 1.0, "ann")
RANKER = make_ranker()


class Log:
    """What was recorded."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def record(self, events: Sequence[Event]) -> None:
        self.events += events


class Told:
    """What was counted."""

    def __init__(self) -> None:
        self.exposures: list[tuple[str, str]] = []

    def recorded(self, experiment: str, variant: str, *, exposure: bool) -> None:
        if exposure:
            self.exposures.append((experiment, variant))


def answer(wanted: Wanted) -> dict[str, object]:
    """The body."""
    body: dict[str, object] = json.loads(encode(RANKER.rank(wanted)[0], RANKER.bundle.manifest))
    return body


def given(ranked: Ranked, request_id: str = "r", acts: "tuple[Act, ...] | None" = ()) -> Given:
    return Given(ranked, request_id, "b", 0.002, acts)


def test_an_experiment_chooses_lambda2_and_the_answer_says_so() -> None:
    """Its list is the one of the same λ2 asked for; who is in it, stands in the answer."""
    body = answer(ANN._replace(decision=LOW))

    same = answer(ANN._replace(lambda2=(0.4,)))
    assert body["experiment"] == {"key": "dial", "version": 3, "variant": "low", "propensity": 0.5}
    assert (body["lambda2"], body["lambda2_source"]) == (0.4, "experiment")
    assert (body["items"], body["exact"]) == (same["items"], True)


def test_a_lambda2_in_the_request_beats_the_experiment() -> None:
    """And the answer is a part of none."""
    body = answer(ANN._replace(lambda2=(1.2,), decision=LOW))

    assert (body["lambda2"], body["lambda2_source"]) == (1.2, "request")
    assert "experiment" not in body


@pytest.mark.parametrize(
    "wanted",
    [
        ANN._replace(decision=LOW._replace(lambda2=(17.0,))),
        ANN._replace(decision=LOW._replace(ends=(0.0, 17.0))),
        ANN._replace(decision=MIXED, boosts=[Boost({"category": "hat"}, 0.1)]),
        ANN._replace(decision=MIXED, cap=Cap("category", 2)),
        ANN._replace(decision=MIXED, pins=[]),
    ],
)
def test_what_cannot_be_answered_as_decided_is_answered_at_the_default(wanted: Wanted) -> None:
    """A λ2 beyond this bundle's range, the user's or another's, and two lists that rules have made: no experiment."""
    body = answer(wanted)

    assert body["lambda2_source"] == "default"
    assert "experiment" not in body


def test_two_lists_are_drafted_into_one() -> None:
    """Each item stands once, says which λ2 put it there, and has its score in that list."""
    (mixed,) = RANKER.rank(ANN._replace(decision=MIXED, explain=True))
    lists = [RANKER.rank(ANN._replace(lambda2=(at,), explain=True))[0] for at in MIXED.lambda2]

    body = json.loads(encode(mixed, RANKER.bundle.manifest))

    assert len(set(ids(mixed))) == ANN.k
    assert body["lambda2"] is None
    for item, team in zip(body["items"], mixed.teams, strict=True):
        of = lists[team == "b"]
        place = ids(of).index(item["item_id"])
        assert of.explanations is not None
        assert item["lambda2"] == of.lambda2
        assert item["score"] == of.best.scores[place]
        assert item["explain"] == of.explanations[place]
    assert {"a", "b"} <= set(mixed.teams)


def test_the_same_question_is_drafted_alike_and_users_apart() -> None:
    """Chance follows from experiment, user and lists."""
    teams = [RANKER.rank(ANN._replace(decision=MIXED._replace(unit=f"u{n}")))[0].teams for n in range(8)]

    again = [RANKER.rank(ANN._replace(decision=MIXED._replace(unit=f"u{n}")))[0].teams for n in range(8)]

    assert again == teams
    assert len(set(teams)) > 4


def recorded(*every: Sequence[Given]) -> tuple[list[Event], Told]:
    log, told = Log(), Told()
    recorder = Recorder(log, told, clock=lambda: 7.0)
    for each in every:
        asyncio.run(recorder.served(each))
    return log.events, told


def test_the_first_answer_of_a_user_is_an_exposure_and_every_one_a_list() -> None:
    """With what was known of the user before, the slate, and the request that it answered."""
    acts = state(("item-001", "click"), ("item-002", "click"), ("item-001", "purchase")).acts
    (ranked,) = RANKER.rank(ANN._replace(decision=LOW))

    events, told = recorded([given(ranked, "r1", acts)], [given(ranked, "r2", acts)])

    exposure, first, second = events
    assert [event.type for event in events] == ["exposure", "list", "list"]
    assert exposure.event_id == "exposure:dial:3:ann"
    assert exposure.served is not None
    assert exposure.served.before == (2, 0, 1, 0)
    assert first.served is not None
    assert list(first.served.item_ids) == ids(ranked)
    assert (first.request_id, second.request_id) == ("r1", "r2")
    assert first.event_id != second.event_id
    assert told.exposures == [("dial", "low")]


def test_a_new_version_is_a_new_exposure_and_an_unknown_past_is_said() -> None:
    """Where Redis could not be asked, nothing is known, which is not the same as nothing done."""
    ranked = [RANKER.rank(ANN._replace(decision=LOW._replace(version=version)))[0] for version in (3, 4)]

    events, _ = recorded(*([given(each, acts=None)] for each in ranked))

    exposures = [event for event in events if event.type == "exposure"]
    assert [event.event_id for event in exposures] == ["exposure:dial:3:ann", "exposure:dial:4:ann"]
    assert all(event.served is not None and event.served.before is None for event in exposures)


def test_several_answers_to_one_user_in_one_batch_are_one_exposure() -> None:
    """And the records of all go together."""
    (ranked,) = RANKER.rank(ANN._replace(decision=LOW))

    events, _ = recorded([given(ranked), given(ranked)])

    assert [event.type for event in events] == ["exposure", "list", "list"]


def test_a_failure_is_recorded_for_its_variant() -> None:
    """For the guardrail."""
    log = Log()

    asyncio.run(Recorder(log, Told()).failed([LOW], "r", "b", 0.5))

    (event,) = log.events
    assert (event.type, event.user_id, event.request_id) == ("failure", "ann", "r")
    assert event.served is not None
    assert (event.served.variant, event.served.seconds) == ("low", 0.5)
