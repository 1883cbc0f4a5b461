"""What may be done to experiments: states follow each other, versions never change, a ramp only grows."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from causalrec.errors import RequestError
from service.experiments import changes
from service.experiments.changes import created, held_out, paused, started, stopped, versioned
from service.experiments.model import (
    NO_EXPERIMENTS,
    Book,
    Experiment,
    ExperimentConflict,
    Guardrail,
    Holdout,
    NoSuchExperiment,
    Tuning,
    Variant,
)
from tests.service.experiments.books import LIMITS, config, put, running, variants

NAN = math.nan
TUNED: dict[str, Any] = {"kind": "tuned", "tuning": Tuning(0.1, 3600)}


def test_what_is_left_out_is_completed() -> None:
    """The least that anybody can say is a whole experiment, a draft."""
    made = created(NO_EXPERIMENTS, config(variants=variants(1.6, 0.1 + 0.2, -0.0)), LIMITS)

    first = made.versions[0]
    assert made == Experiment("dial", "draft", (first,), None, 1000.0)
    assert first.variants == (Variant("1.6", 1.6, 1 / 3), Variant("0.3", 0.1 + 0.2, 1 / 3), Variant("0", 0.0, 1 / 3))
    assert (first.version, first.series, first.salt, first.control) == (1, 1, "dial", "0")
    assert first.primary == "purchases_per_user"
    assert first.secondary == ("click_through", "revenue_per_user", "purchases_per_click")


def test_what_is_said_is_kept() -> None:
    """Nothing that a caller chose is chosen again; clicks may decide, if somebody wants them to."""
    said = config(
        variants=(Variant("new", 0.4, 0.9), Variant("old", 0.4, 0.1)),
        control="new",
        salt="s",
        primary="click_through",
        secondary=("lists_per_user",),
        guardrails=(Guardrail("coverage", 0.1), Guardrail("latency", 0.0)),
        overrides={"ann": "old"},
        window=60.0,
        planned_units=100,
    )

    assert created(NO_EXPERIMENTS, said, LIMITS).versions == (said._replace(version=1, series=1),)
    assert created(NO_EXPERIMENTS, said._replace(secondary=()), LIMITS).config.secondary == (
        "revenue_per_user",
        "purchases_per_click",
    )


def test_a_key_is_taken_for_ever() -> None:
    """Also by a stopped experiment: its records are under it."""
    book = running(config())
    book = put(book, stopped(book, "dial", 3.0))

    with pytest.raises(ExperimentConflict, match=r"there is an experiment 'dial' already.*another key"):
        created(book, config(), LIMITS)


def test_a_salt_is_taken_for_ever() -> None:
    """Whoever was in one variant of the old experiment would be in one of the new."""
    book = running(config(salt="x"))
    book = put(book, versioned(book, "dial", config(salt="y"), LIMITS))

    for said in (config("other", salt="x"), config("y")):
        with pytest.raises(RequestError, match=r"salt=.*is that of 'dial'.*give another"):
            created(book, said, LIMITS)
    book = put(book, created(book, config("other"), LIMITS))
    with pytest.raises(RequestError, match=r"salt=.*is that of 'dial'"):
        versioned(book, "other", config(salt="x"), LIMITS)
    assert versioned(book, "dial", config(salt="x"), LIMITS).versions[-1].salt == "x"


def test_versions_never_change() -> None:
    """A change is one more of them; what runs goes on running until another is started."""
    book = running(config())

    after = versioned(book, "dial", config(allocation=0.5, description="more"), LIMITS)

    assert after.versions[:1] == book.experiments["dial"].versions
    assert (after.state, after.running, after.config.version) == ("running", 1, 1)
    assert (after.versions[1].version, after.versions[1].description) == (2, "more")


def test_a_version_keeps_the_salt_of_the_newest() -> None:
    """Otherwise a ramp would shuffle everybody."""
    book = running(config(salt="x"))
    book = put(book, versioned(book, "dial", config(salt="y"), LIMITS))

    assert versioned(book, "dial", config(), LIMITS).versions[-1].salt == "y"


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ({"allocation": 0.5}, True),
        ({"description": "x", "primary": "click_through", "alpha": 0.1, "planned_units": 9}, True),
        ({"segment": (0.0, 0.9), "control": "0.8"}, True),
        ({"guardrails": (Guardrail("latency", 0.1),)}, True),
        ({"variants": variants(0.0, 0.9)}, False),
        ({"variants": variants(0.0, 0.8, weights=[0.4, 0.6])}, False),
        ({"segment": (0.1, 1.0)}, False),
        ({"salt": "other"}, False),
        ({"layer": "other"}, False),
        ({"window": 60.0}, False),
        ({"overrides": {"ann": "0"}}, False),
        ({"kind": "interleaving"}, False),
    ],
)
def test_a_series_is_versions_that_split_alike(said: dict[str, Any], same: bool) -> None:
    """Units of a ramp are analysed together, units that were split otherwise are not; and back is back."""
    book = running(config())
    book = put(book, versioned(book, "dial", config(**said), LIMITS))

    back = versioned(book, "dial", config(salt="dial"), LIMITS)

    assert [each.series for each in back.versions] == [1, 1 if same else 2, 1]


def test_every_version_of_a_tuned_experiment_is_its_own_series() -> None:
    """Its weights move, so its report weighs each version by itself."""
    said = config(**TUNED)
    book = running(said)

    assert [each.series for each in versioned(book, "dial", said, LIMITS).versions] == [1, 2]


def test_versions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tuned experiment makes them by itself, and every replica holds all of them."""
    monkeypatch.setattr(changes, "MOST_VERSIONS", 2)
    book = running(config())
    book = put(book, versioned(book, "dial", config(), LIMITS))

    with pytest.raises(ExperimentConflict, match="has 2 versions, and no more may be; make another"):
        versioned(book, "dial", config(), LIMITS)


def test_start_puts_a_version_in_force() -> None:
    """The one that is named, else the newest; and back again."""
    book = running(config())
    book = put(book, versioned(book, "dial", config(variants=variants(1, 2)), LIMITS))
    newest = started(book, "dial", None, 5.0)
    back = started(put(book, newest), "dial", 1, 6.0)

    assert (newest.running, newest.changed, newest.config.version) == (2, 5.0, 2)
    assert (back.running, back.changed) == (1, 6.0)
    with pytest.raises(RequestError, match=r"version=3.*has the versions 1 to 2"):
        started(book, "dial", 3, 1.0)
    with pytest.raises(ExperimentConflict, match="version 1 of 'dial' is running already"):
        started(book, "dial", 1, 1.0)


def test_states_follow_each_other() -> None:
    """draft → running ⇄ paused → stopped."""
    draft = put(NO_EXPERIMENTS, created(NO_EXPERIMENTS, config(), LIMITS))
    on = put(draft, started(draft, "dial", None, 1.0))
    off = put(on, paused(on, "dial", 2.0))

    assert started(off, "dial", None, 3.0) == on.experiments["dial"]._replace(changed=3.0)
    assert [stopped(book, "dial", 4.0).state for book in (draft, on, off)] == ["stopped"] * 3
    assert stopped(off, "dial", 4.0).running == 1
    for book, state in ((draft, "draft"), (off, "paused")):
        with pytest.raises(ExperimentConflict, match=f"not running but {state}"):
            paused(book, "dial", 3.0)


def every_change(book: Book) -> list[Callable[[], Experiment]]:
    """All that can be done to what is there, once it is called."""
    return [
        partial(versioned, book, "dial", config(), LIMITS),
        partial(started, book, "dial", None, 4.0),
        partial(paused, book, "dial", 4.0),
        partial(stopped, book, "dial", 4.0),
    ]


def test_stopped_is_final() -> None:
    """Nothing brings it back, nothing changes it."""
    book = running(config())
    book = put(book, stopped(book, "dial", 3.0))

    for change in every_change(book):
        with pytest.raises(ExperimentConflict, match="'dial' is stopped, which is final; make another"):
            change()


def test_what_is_not_there_cannot_be_changed() -> None:
    """By its key."""
    for change in every_change(NO_EXPERIMENTS):
        with pytest.raises(NoSuchExperiment, match="'dial'"):
            change()


def test_a_ramp_only_grows() -> None:
    """Who left would be counted on under a variant that they do not get; a salt of its own splits anew."""
    book = running(config(allocation=0.5))
    for said in (config(allocation=0.2), config(allocation=0.2, salt="anew"), config(allocation=0.7)):
        book = put(book, versioned(book, "dial", said, LIMITS))

    with pytest.raises(ExperimentConflict, match=r"version 2 takes 0.2 .* version 1, which splits alike, 0.5.*salt"):
        started(book, "dial", 2, 4.0)
    assert [started(book, "dial", version, 4.0).running for version in (3, 4)] == [3, 4]


def test_a_growing_holdout_keeps_its_salt() -> None:
    """Unless another one is given: then it chooses anew."""
    book = Book(holdout=Holdout(0.1, "x"))

    assert held_out(book, 0.2, None) == Holdout(0.2, "x")
    assert held_out(book, 1.0, "y") == Holdout(1.0, "y")
    for share in (-0.1, 1.1, NAN):
        with pytest.raises(RequestError, match="from 0, nobody, to 1"):
            held_out(book, share, None)
    with pytest.raises(RequestError, match="printable"):
        held_out(book, 0.1, "")
