"""Who gets what: uniform, independent, the same everywhere and always, and nobody moves when a ramp grows."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from string import ascii_uppercase, digits
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, chisquare, kstest

from service.experiments.assignment import ALL, decide, explained, place
from service.experiments.changes import created, paused, started, stopped, versioned
from service.experiments.model import NO_EXPERIMENTS, Book, Decision
from tests.service.experiments.books import LIMITS, config, digest, drawn, put, running, several, variants

MILLION = 1_000_000
SOME = [f"user-{number}" for number in range(20_000)]
WEIGHTS = {"0": 0.4, "0.4": 0.3, "0.8": 0.15, "1.2": 0.1, "1.6": 0.05}
DIAL = config(variants=variants(0, 0.4, 0.8, 1.2, 1.6, weights=list(WEIGHTS.values())))
LUCK = 1e-3
"""Nothing here is random between two runs: a level that this many tests do not meet by chance."""


def sequential() -> list[str]:
    return [str(number) for number in range(MILLION)]


def uuids() -> list[str]:
    content = np.random.default_rng(5).bytes(16 * MILLION)
    return [str(UUID(bytes=content[at : at + 16], version=4)) for at in range(0, len(content), 16)]


def amazon() -> list[str]:
    letters = np.array(list(ascii_uppercase + digits))[np.random.default_rng(6).integers(0, 36, (MILLION, 8))]
    return ["B0" + tail for tail in letters.view("U8").ravel().tolist()]


@pytest.fixture(scope="module", params=[sequential, uuids, amazon])
def ids(request: pytest.FixtureRequest) -> list[str]:
    """A million ids of a kind."""
    found: list[str] = request.param()
    assert len(found) == MILLION
    return found


def assigned(book: Book, units: Sequence[str]) -> NDArray[np.str_]:
    """The variant of each unit; "" of those that are in nothing."""
    return np.array([found.variant if (found := decide(book, unit)) else "" for unit in units])


def table(first: NDArray[np.str_], second: NDArray[np.str_]) -> NDArray[np.int_]:
    """How often each value of the one met each of the other."""
    (_, row), (_, column) = np.unique(first, return_inverse=True), np.unique(second, return_inverse=True)
    counts = np.zeros((row.max() + 1, column.max() + 1), int)
    np.add.at(counts, (row, column), 1)
    return counts


def test_places_are_uniform(ids: list[str]) -> None:
    """A thousand equal parts of [0, 1) get as many of a million as chance gives them."""
    places = np.fromiter((place("any", unit) for unit in ids), float, MILLION)

    counts = np.histogram(places, 1000, (0, 1))[0]

    assert 0 <= places.min() < places.max() < 1
    assert chisquare(counts).pvalue > LUCK


def test_variants_get_their_weights_and_experiments_are_independent(ids: list[str]) -> None:
    """Units are split as weighted; to know a unit's variant in one experiment says nothing of the next one's."""
    one, other = running(DIAL), running(DIAL._replace(key="next"))

    first, second = assigned(one, ids), assigned(other, ids[::4])

    names, counts = np.unique(first, return_counts=True)
    assert chisquare(counts, [WEIGHTS[name] * MILLION for name in names]).pvalue > LUCK
    together = table(first[::4], second)
    assert together.shape == (5, 5)
    assert chi2_contingency(together).pvalue > LUCK


def test_the_hash_is_the_published_one() -> None:
    """Today's users are where yesterday's release put them: `printf 'salt\\0ann' | b2sum -l 64`, its first 53 bits."""
    assert place("salt", "ann") == (0x74D4F34AAA3B916D >> 11) / 2**53
    assert place("salt", "ö") == (0x9433E046EE520F12 >> 11) / 2**53


def test_the_same_words_in_other_roles_are_other_salts() -> None:
    """A salt that is also the layer's name and the holdout's must not tie variant to place."""
    half = config(salt="default", segment=(0.0, 0.5))
    book = running(half, half._replace(key="other", salt="", segment=(0.5, 1.0)))
    book = book._replace(holdout=book.holdout._replace(share=0.3, salt="default"))

    counts = Counter((found.key, found.variant) for unit in SOME if (found := decide(book, unit)))

    assert len(counts) == 4
    assert chisquare(list(counts.values())).pvalue > LUCK


def test_a_growing_ramp_moves_nobody() -> None:
    """From 1 % to all: whoever is in keeps the variant, and each step takes its share."""
    book = running(DIAL._replace(allocation=0.01, segment=(0.2, 0.9)))
    inside: dict[str, str] = {}
    for share in (0.01, 0.1, 0.11, 0.5, 1.0):
        wanted = book.experiments["dial"].config._replace(allocation=share)
        book = put(book, versioned(book, "dial", wanted, LIMITS))
        book = put(book, started(book, "dial", None, 1.0))
        now = {unit: found.variant for unit in SOME if (found := decide(book, unit))}

        assert inside.items() <= now.items()
        assert len(now) == pytest.approx(0.7 * share * len(SOME), rel=0.2)
        inside = now


def test_another_salt_splits_anew() -> None:
    """Nothing of the old split is left in the new one."""
    old = running(DIAL)
    new = put(old, versioned(old, "dial", DIAL._replace(salt="new"), LIMITS))
    new = put(new, started(new, "dial", None, 1.0))

    together = table(assigned(old, SOME), assigned(new, SOME))

    assert chi2_contingency(together).pvalue > LUCK


def test_every_replica_decides_alike() -> None:
    """Another process, which orders its sets otherwise, comes to the same."""
    code = "from tests.service.experiments.books import *; print(digest(several()))"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.pathsep.join(sys.path)}

    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert other.stdout.strip() == digest(several())


def test_a_layer_gives_a_unit_one_experiment() -> None:
    """Segments share the units of a layer out; what no segment has gets nothing."""
    book = running(config("a", segment=(0.0, 0.25)), config("b", segment=(0.25, 0.75), allocation=0.5))

    counts = Counter(found.key if (found := decide(book, unit)) else "" for unit in SOME)

    expected = {"a": 0.25, "b": 0.25, "": 0.5}
    assert (
        chisquare([counts[key] for key in expected], [share * len(SOME) for share in expected.values()]).pvalue > LUCK
    )


def test_layers_come_in_the_order_of_their_names() -> None:
    """Who is taken in one is in nothing of the next, where the others meet chance again."""
    early, late = config("z", layer="a", allocation=0.5), config("a", layer="b", allocation=0.5)

    alone, both = running(late), running(late, early)

    taken = {unit for unit in SOME if (found := decide(both, unit)) and found.key == "z"}
    rest = [unit for unit in SOME if unit not in taken]
    assert [decide(both, unit) for unit in rest] == [decide(alone, unit) for unit in rest]
    assert sum(decide(alone, unit) is not None for unit in rest) == pytest.approx(len(rest) / 2, rel=0.05)


def test_a_decision_says_what_and_how_likely() -> None:
    """Version, series, variant, λ2, propensity, unit: all that a record of it needs; and how far its λ2 go."""
    unit = next(unit for unit in SOME if place("variant:dial", unit) >= 0.95)

    assert decide(running(DIAL), unit) == Decision("dial", 1, 1, "1.6", (1.6,), 0.05, unit, (0.0, 1.6))


def test_lambda2_drawn_at_random_is_uniform_in_its_range() -> None:
    """Its propensity is the density; the same unit always draws the same."""
    book = running(drawn(between=(0.5, 2.5)))

    decisions = [found for unit in SOME if (found := decide(book, unit))]

    assert kstest([found.lambda2[0] for found in decisions], "uniform", (0.5, 2.0)).pvalue > LUCK
    assert {(found.variant, found.propensity, found.ends) for found in decisions} == {("random", 0.5, (0.5, 2.5))}
    assert decisions == [decide(book, unit) for unit in SOME]


def test_interleaving_gives_both() -> None:
    """Two λ2 in the order of the variants, to everybody."""
    book = running(config(kind="interleaving", variants=variants(0.8, 0.2)))

    assert {decide(book, unit) for unit in ["ann"]} == {
        Decision("dial", 1, 1, "interleaved", (0.8, 0.2), 1.0, "ann", (0.2, 0.8))
    }


def test_only_what_runs_assigns() -> None:
    """Drafts, paused and stopped experiments are the default λ2."""
    draft = put(NO_EXPERIMENTS, created(NO_EXPERIMENTS, config(), LIMITS))
    on = put(draft, started(draft, "dial", None, 1.0))
    books = [NO_EXPERIMENTS, draft, put(on, paused(on, "dial", 2.0)), put(on, stopped(on, "dial", 2.0))]

    assert [decide(book, "ann") for book in books] == [None] * 4
    assert decide(on, "ann") is not None


def test_the_version_in_force_decides_not_the_newest() -> None:
    """A version that was not started is a plan."""
    book = running(config())
    book = put(book, versioned(book, "dial", config(variants=variants(1.0, 2.0)), LIMITS))

    assert {found.lambda2[0] for unit in SOME[:50] if (found := decide(book, unit))} == {0.0, 0.8}


def test_the_holdout_comes_before_everything() -> None:
    """Its units get nothing, overridden or not; when it grows nobody leaves it."""
    free = running(config(overrides=dict.fromkeys(SOME[:50], "0.8")))

    held = {
        share: {
            unit for unit in SOME if decide(free._replace(holdout=free.holdout._replace(share=share)), unit) is None
        }
        for share in (0.0, 0.1, 0.4, 1.0)
    }

    assert (held[0.0], held[1.0]) == (set(), set(SOME))
    assert held[0.1] < held[0.4]
    assert len(held[0.4]) == pytest.approx(0.4 * len(SOME), rel=0.05)
    assert held[0.4] & set(SOME[:50])


def test_overrides_are_for_looking_and_never_count() -> None:
    """They hold outside segment and allocation too, in the order of keys, and have no propensity."""
    book = running(
        config("b", allocation=1e-9, segment=(0.0, 0.5), overrides={"ann": "0"}),
        config("a", allocation=1e-9, segment=(0.5, 1.0), overrides={"ann": "0.8"}),
    )

    assert decide(book, "ann") == Decision("a", 1, 1, "0.8", (0.8,), None, "ann", (0.0, 0.8))
    assert decide(book, "ann", frozenset({"a"})) == Decision("b", 1, 1, "0", (0.0,), None, "ann", (0.0, 0.8))
    assert decide(book, "bob") is None


def test_what_is_switched_off_is_as_if_paused() -> None:
    """One experiment, or all of them; the others go on."""
    book = several()
    without = put(book, paused(book, "a", 1.0))

    assert [decide(book, unit, frozenset({"a"})) for unit in SOME] == [decide(without, unit) for unit in SOME]
    assert not any(decide(book, unit, ALL) for unit in SOME)


def test_an_assignment_says_why() -> None:
    """A decision or the reason for none, which is what comes closest to one."""
    book = running(config(segment=(0.0, 0.6), allocation=0.5, overrides={"vip": "0.8"}), holdout=0.1)
    reasons = {explained(book, unit).reason for unit in SOME[:500]}
    inside = next(unit for unit in SOME if decide(book, unit))

    assert reasons == {"assigned", "holdout", "outside the segment", "outside the allocation"}
    assert explained(book, inside) == (decide(book, inside), "assigned", explained(book, inside).words)
    assert explained(book, "vip").reason == "override"
    assert (explained(book, inside, ALL).reason, explained(book, inside, ALL).decision) == ("switched off", None)
    assert explained(NO_EXPERIMENTS, "ann").reason == "no experiment"


def test_a_reason_is_about_the_units_own_place() -> None:
    """Segment and allocation are told apart by where the layer puts the unit."""
    book = running(config(segment=(0.2, 0.8), allocation=0.5))

    for unit in SOME[:500]:
        where = place("layer:default", unit)
        reason = "assigned" if 0.2 <= where < 0.5 else "outside the allocation" if 0.5 <= where < 0.8 else None
        assert explained(book, unit).reason == (reason or "outside the segment")


def test_of_several_layers_the_closest_says_why() -> None:
    """In one a larger allocation would do, in the others not even that."""
    book = running(
        config("a", layer="a", segment=(0.0, 0.1)),
        config("b", layer="b", allocation=1e-9),
        config("c", layer="c", segment=(0.0, 0.1)),
    )

    outside = [unit for unit in SOME[:200] if decide(book, unit) is None]

    assert {explained(book, unit).reason for unit in outside} == {"outside the allocation"}
