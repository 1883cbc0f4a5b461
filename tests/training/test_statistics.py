"""The figures of the paper's Table 1."""

import pytest

from training.data.statistics import Statistics


def test_sparsity_is_the_share_of_pairs_without_interaction() -> None:
    """Qiu et al. 2021, Table 1, Baby: 19,822 users, 7,776 items, 163,856 interactions give 99.89 %."""
    baby = Statistics(users=19_822, items=7_776, interactions=163_856, train=0, valid=0, test=0)

    assert baby.sparsity == pytest.approx(99.89, abs=5e-3)


def test_the_text_holds_every_figure() -> None:
    """One line for the whole, one for the parts with their shares."""
    text = str(Statistics(users=1_000, items=20, interactions=5_000, train=4_000, valid=500, test=500))

    assert text == (
        "1,000 users, 20 items, 5,000 interactions, sparsity 75.00 %\n"
        "train 4,000 (80.0 %), valid 500 (10.0 %), test 500 (10.0 %)"
    )
