"""Sample ratio mismatch: valid at every look, and able to see what is broken."""

from types import ModuleType

import numpy as np
import pytest
from scipy.stats import chisquare

from benchmarks.experiments.health import alarmed, split
from service.experiments.report import Look
from service.experiments.sample_ratio import CONCENTRATIONS, LEVEL, log_evidence, sample_ratio
from tests.service.experiments import peers

HALVES = {"dial-0": 0.5, "dial-0.8": 0.5}


@pytest.fixture(scope="module")
def savvi() -> ModuleType:
    return peers.savvi("multinomial")


def look(p: float) -> Look:
    return Look(at=0.0, units={}, difference={}, srm_p_value=p)


def counts(first: int, second: int) -> dict[str, int]:
    return dict(zip(HALVES, (first, second), strict=True))


@pytest.mark.parametrize("n", [[3, 1], [480, 520], [400, 600]])
@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.25, 0.75]])
def test_the_evidence_is_the_average_of_savvis(savvi: ModuleType, n: list[int], shares: list[float]) -> None:
    """Its posterior odds for each of our concentrations (Lindon & Malek 2020, equation 9)."""
    odds = []
    for k in CONCENTRATIONS:
        peer = savvi.Multinomial(0.05, np.array(shares), k)
        peer.update(np.array(n))
        odds.append(peer.odds)

    assert np.exp(log_evidence(n, shares)) == pytest.approx(np.mean(odds), rel=1e-9)


def test_evidence_does_not_depend_on_where_looks_are() -> None:
    """Unit by unit or all at once: it is that of the counts."""
    steps = np.array([[1, 0], [1, 1], [2, 1], [2, 2]])

    assert log_evidence(steps, [0.5, 0.5])[-1] == log_evidence([2, 2], [0.5, 0.5])
    assert log_evidence([0, 0], [0.5, 0.5]) == pytest.approx(0, abs=1e-12)


def test_sound_splits_are_alarmed_at_no_more_than_the_level() -> None:
    """1,000 experiments, 100 looks each; the same counts against shares that are off are all seen."""
    drawn = split(np.random.default_rng(0), 1000, 100, (0.5, 0.3, 0.2))

    assert alarmed(drawn, (0.5, 0.3, 0.2))[:, -1].mean() <= LEVEL
    assert alarmed(drawn, (0.45, 0.35, 0.2))[:, -1].all()


def test_lost_exposures_of_one_variant_raise_the_alarm() -> None:
    """5 % of one half lost: seen in nearly all of 300 splits by 50,000 units, in few by 5,000."""
    drawn = split(np.random.default_rng(1), 300, 100, (0.5, 0.5), (1.0, 0.95))

    seen = alarmed(drawn, (0.5, 0.5)).mean(axis=0)

    assert seen[-1] > 0.93
    assert seen[9] < 0.2


def test_the_chi_square_is_that_of_scipy() -> None:
    found = sample_ratio([(HALVES, counts(4800, 5200))])

    assert found is not None
    assert found.chi_square_p_value == pytest.approx(chisquare([4800, 5200]).pvalue)
    assert found.expected == HALVES
    assert found.observed == counts(4800, 5200)


def test_an_alarm_once_raised_stays() -> None:
    """The p-value is the smallest there ever was: later units do not make the earlier ones sound."""
    now = sample_ratio([(HALVES, counts(5000, 5000))])
    later = sample_ratio([(HALVES, counts(5000, 5000))], [look(0.2), look(0.003), look(0.5)])

    assert now is not None
    assert later is not None
    assert (now.p_value, now.failed) == (1.0, False)
    assert (later.p_value, later.failed) == (0.003, True)


def test_shares_that_moved_are_judged_version_by_version() -> None:
    """A tuned experiment: each version by its own shares, though the sums fit none of them."""
    moved = [(HALVES, counts(5000, 5000)), ({"dial-0": 0.2, "dial-0.8": 0.8}, counts(2000, 8000))]
    broken = [moved[0], (moved[1][0], counts(2600, 7400))]

    sound, wrong = sample_ratio(moved), sample_ratio(broken)

    assert sound is not None
    assert wrong is not None
    assert sound.expected == pytest.approx({"dial-0": 0.35, "dial-0.8": 0.65})
    assert sound.chi_square_p_value == 1
    assert (sound.failed, wrong.failed) == (False, True)


def test_a_variant_without_units_counts_and_no_units_at_all_say_nothing() -> None:
    missing = sample_ratio([(HALVES, {"dial-0": 200})])

    assert missing is not None
    assert missing.failed
    assert missing.observed == counts(200, 0)
    assert sample_ratio([(HALVES, {})]) is None


def test_units_where_none_should_be_fail_at_once() -> None:
    """A variant of the share 0 that has units."""
    found = sample_ratio([({"dial-0": 1.0, "dial-0.8": 0.0}, counts(100, 1))])

    assert found is not None
    assert (found.p_value, found.failed) == (0.0, True)
