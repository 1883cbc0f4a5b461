"""Differences between two rankings: known answers, theory, and what the test does when there is nothing to find."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from causalrec.errors import DataError
from training.compare.pairs import Sample, average, difference, holm, sign_flip
from training.metrics import Bootstrap, Values

BOOTSTRAP = Bootstrap(500, 0)


def _sample(*seeds: tuple[list[int], Values | list[float] | list[list[float]]]) -> Sample:
    return {seed: (np.array(users), np.array(values)) for seed, (users, values) in enumerate(seeds)}


def test_a_user_counts_once_with_the_average_of_their_seeds() -> None:
    """User 1 is judged under both seeds, 0 and 2 under one each; columns are averaged apart."""
    users, values = average(_sample(([0, 1], [0.2, 0.4]), ([1, 2], [0.8, 0.3])))
    _, columns = average(_sample(([0, 1], [[0.2, 1.0], [0.4, 2.0]]), ([1, 2], [[0.8, 4.0], [0.3, 3.0]])))

    assert users.tolist() == [0, 1, 2]
    assert values.tolist() == pytest.approx([0.2, 0.6, 0.3])
    assert columns[:, 1].tolist() == [1.0, 3.0, 3.0]


def test_a_constant_difference_is_found_exactly() -> None:
    """Everybody gains .1 over values that average .4: +.1 and +25 %, with no doubt about the first."""
    theirs = np.random.default_rng(0).uniform(0.2, 0.6, 300)
    theirs += 0.4 - theirs.mean()

    found = difference(_sample((list(range(300)), theirs + 0.1)), _sample((list(range(300)), theirs)), BOOTSTRAP)

    assert found is not None
    assert (found.mean_a, found.mean_b) == pytest.approx((0.5, 0.4))
    assert [found.difference.mean, found.difference.low, found.difference.high] == pytest.approx([0.1] * 3)
    assert found.relative is not None
    assert found.relative.mean == pytest.approx(0.25)
    assert 0.24 < found.relative.low < 0.25 < found.relative.high < 0.26


def test_the_interval_is_that_of_paired_differences() -> None:
    """It is as wide as the differences spread, not as the users do."""
    rng = np.random.default_rng(1)
    theirs, gains = rng.normal(5.0, 3.0, 1000), rng.normal(0.2, 0.5, 1000)
    users = list(range(1000))

    found = difference(_sample((users, theirs + gains)), _sample((users, theirs)), Bootstrap(4000, 0))

    error = gains.std() / np.sqrt(1000)
    assert found is not None
    assert found.difference.low == pytest.approx(gains.mean() - 1.96 * error, abs=error / 8)
    assert found.difference.high == pytest.approx(gains.mean() + 1.96 * error, abs=error / 8)


def test_only_seeds_that_both_have_are_compared() -> None:
    """What one model did under a seed the other lacks says nothing about their difference."""
    mine = {0: (np.array([0, 1]), np.array([0.5, 0.5])), 1: (np.array([0, 1]), np.array([9.0, 9.0]))}
    theirs = {0: (np.array([0, 1]), np.array([0.4, 0.4])), 2: (np.array([0, 1]), np.array([0.0, 0.0]))}

    found = difference(mine, theirs, BOOTSTRAP)

    assert found is not None
    assert found.seeds == {0: pytest.approx(0.1)}
    assert found.difference.mean == pytest.approx(0.1)
    assert difference({0: mine[0]}, {2: theirs[2]}, BOOTSTRAP) is None


def test_models_judged_on_other_users_cannot_be_compared() -> None:
    """The same seed with other users means another split: an error, not a number."""
    with pytest.raises(DataError, match="seed 0: two models were judged on different users"):
        difference(_sample(([0, 1], [0.1, 0.2])), _sample(([0, 2], [0.1, 0.2])), BOOTSTRAP)


def test_a_ratio_to_nothing_is_not_given() -> None:
    """Over a ranking that finds nothing for anybody the difference stands alone."""
    found = difference(_sample(([0, 1], [0.1, 0.2])), _sample(([0, 1], [0.0, 0.0])), BOOTSTRAP)

    assert found is not None
    assert found.relative is None
    assert found.difference.mean == pytest.approx(0.15)


def test_p_is_that_of_all_sign_flips() -> None:
    """For eight users all 256 flips can be counted."""
    differences = np.array([0.3, -0.1, 0.2, 0.25, 0.05, -0.02, 0.4, 0.1])
    sums = [abs(float(np.dot(signs, differences))) for signs in product((-1, 1), repeat=8)]
    exact = np.mean([total >= abs(differences.sum()) - 1e-12 for total in sums])

    (found,) = sign_flip([differences], seed=0)

    assert found == pytest.approx(exact, abs=0.01)


def test_p_agrees_with_the_t_test_where_there_are_many_users() -> None:
    """Comparisons over different numbers of users may be asked for at once."""
    rng = np.random.default_rng(2)
    differences = [rng.normal(shift, 1.0, users) for shift, users in ((0.0, 500), (0.07, 800), (0.1, 500))]

    found = sign_flip(differences, seed=0)

    assert found == pytest.approx([stats.ttest_1samp(values, 0.0).pvalue for values in differences], abs=0.02)


def test_the_same_lists_are_no_difference() -> None:
    """Nobody's value differs: p is 1."""
    assert sign_flip([np.zeros(50)], seed=0) == [1.0]


def test_a_model_against_itself_differs_at_the_nominal_rate() -> None:
    """Of 600 comparisons between equals about 5 % have p < .05 and about 5 % an interval without zero."""
    rng = np.random.default_rng(3)
    users = np.arange(150)
    pairs = [(rng.exponential(0.3, 150), rng.exponential(0.3, 150)) for _ in range(600)]

    p_values = np.array(sign_flip([a - b for a, b in pairs], seed=0, flips=999))
    found = [difference({0: (users, a)}, {0: (users, b)}, BOOTSTRAP) for a, b in pairs]
    missed = np.mean([not each.difference.low <= 0 <= each.difference.high for each in found if each is not None])

    assert 0.03 < np.mean(p_values < 0.05) < 0.075
    assert 0.03 < missed < 0.085


def test_holm_is_that_of_the_book() -> None:
    """The smallest of four is multiplied by 4, the next by 3, and none ends below a smaller one's or above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
