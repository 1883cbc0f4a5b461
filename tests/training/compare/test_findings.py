"""What is found in hand-made cells whose differences are known."""

import numpy as np
import pytest

from causalrec.errors import DataError
from tests.training.compare.outcomes import about, dialled, flat, noise, outcome
from training.compare.about import Planned
from training.compare.findings import find
from training.compare.outcome import Outcome
from training.compare.schema import Comparison, Family, Pair

VBPR, BPR, OURS = Planned("VBPR"), Planned("BPR"), Planned("CausalRec MML", baseline=False)


def _pair(found: Comparison, family: Family, metric: str, label: str, ranking: str = "chosen") -> Pair:
    (pair,) = [p for p in found.of(family) if (p.metric, p.a.label, p.a.ranking) == (metric, label, ranking)]
    return pair


def _both(*args: object, **facts: object) -> list[Outcome]:
    return [dialled(args[0], seed, *args[1:], **facts) for seed in (0, 1)]  # type: ignore[arg-type]


def test_what_the_dial_does_is_measured_in_every_set() -> None:
    """λ2 = 1 takes .02 of clicks and gives .05 of liked to everybody, and beats M alone by half of that."""
    found = find(_both("VBPR", 0.0, -0.02, 0.05), [], about(VBPR))

    clicks, liked = (_pair(found, "debiasing", metric, "VBPR") for metric in ("NDCG@10", "liked:NDCG@10"))
    over_match = _pair(found, "match_alone", "liked:NDCG@10", "VBPR")
    assert (clicks.verdict, liked.verdict, over_match.verdict) == ("lower", "higher", "higher")
    assert [clicks.difference.mean, liked.difference.mean] == pytest.approx([-0.02, 0.05])
    assert over_match.difference.mean == pytest.approx(0.025)
    assert liked.seeds == {0: pytest.approx(0.05), 1: pytest.approx(0.05)}


def test_with_ci_is_each_seed_at_its_own_lambda2() -> None:
    """Seed 0 chose .5 and seed 1 chose 1: half and all of the gain."""
    cells = [dialled("VBPR", seed, 0.0, 0.0, 0.1, lambda2=at) for seed, at in ((0, 0.5), (1, 1.0))]

    pair = _pair(find(cells, [], about(VBPR)), "debiasing", "liked:NDCG@10", "VBPR")

    assert pair.seeds == {0: pytest.approx(0.05), 1: pytest.approx(0.1)}


def test_a_figure_has_its_seeds_its_interval_and_its_change() -> None:
    """The mean over users of their averages over seeds, each seed's own, and the paired change from λ2 = 0."""
    found = find(_both("VBPR", 0.0, 0.0, 0.03), [], about(VBPR))

    figure = found.models[0].test["1.0"]["liked:NDCG@10"]
    means = [float(noise(seed).mean()) for seed in (0, 1)]
    assert figure.mean == pytest.approx(np.mean(means) + 0.03)
    assert figure.seeds == {0: pytest.approx(means[0] + 0.03), 1: pytest.approx(means[1] + 0.03)}
    assert figure.low < figure.mean < figure.high
    assert figure.change is not None
    assert figure.change.mean == pytest.approx(0.03 / np.mean(means))


def test_the_best_baseline_is_chosen_on_validation() -> None:
    """The one that is best on test must not be picked for it."""
    high, low = ({0.0: {"NDCG@10": noise(0) + base}} for base in (0.2, 0.0))
    cells = [
        outcome("VBPR", 0, low, valid=high),
        outcome("BPR", 0, high, valid=low),
        outcome("CausalRec MML", 0, {0.0: {"NDCG@10": noise(0) + 0.1}}),
    ]

    pair = _pair(find(cells, [], about(VBPR, BPR, OURS)), "improvement", "NDCG@10", "CausalRec MML", "0.0")

    assert (pair.b.label, pair.verdict) == ("VBPR", "higher")
    assert pair.difference.mean == pytest.approx(0.1)


def test_seeds_that_disagree_are_no_finding() -> None:
    """A difference that is clear over users but turns with the seed is called mixed."""
    cells = [
        dialled("VBPR", 0, 0.0, 0.0, 0.10),
        dialled("VBPR", 1, 0.0, 0.0, -0.02),
    ]

    pair = _pair(find(cells, [], about(VBPR)), "debiasing", "liked:NDCG@10", "VBPR")

    assert pair.adjusted < 0.05
    assert pair.verdict == "mixed"


def test_a_dial_that_changes_nothing_gives_the_same_lists() -> None:
    """Neither higher nor unclear: not one user's value differs."""
    pair = _pair(find(_both("VBPR", 0.0, 0.0, 0.0), [], about(VBPR)), "debiasing", "NDCG@10", "VBPR")

    assert (pair.verdict, pair.p) == ("same", 1.0)


def test_equals_are_not_called_different() -> None:
    """Twelve models that differ by chance alone: Holm and the seeds leave hardly a verdict."""
    rng = np.random.default_rng(5)
    plans = [Planned(f"CausalRec {n}", baseline=False) for n in range(12)]
    cells = [
        outcome(plan.label, seed, {0.0: {"NDCG@10": rng.exponential(0.3, 300)}})
        for plan in (VBPR, *plans)
        for seed in (0, 1, 2)
    ]

    found = find(cells, [], about(VBPR, *plans, seeds=(0, 1, 2)))

    assert len(found.of("improvement")) == 36
    assert all(pair.verdict == "unclear" for pair in found.of("improvement"))
    assert all(pair.adjusted >= pair.p for pair in found.pairs)


def test_what_cannot_be_debiased_has_no_dial() -> None:
    """Its λ2 is not compared with anything, and the reason is kept."""
    found = find([flat("BPR", 0, 0.0, undebiasable="no picture")], [], about(BPR, seeds=(0,)))

    assert (found.models[0].dial, found.models[0].undebiasable) == (False, "no picture")
    assert found.of("debiasing") == found.of("match_alone") == []


def test_a_peer_stands_beside_its_counterpart() -> None:
    """By name; cornac's CausalRec beside the authors' form; the lower end against −2 % is said."""
    plans = about(VBPR, Planned("CausalRec authors", baseline=False))
    cells = [*_both("VBPR", 0.0, 0.0, 0.01), *_both("CausalRec authors", 0.0, 0.0, 0.02)]
    cells += [flat("cornac VBPR", seed, -0.01, peer=True) for seed in (0, 1)]
    cells += _both("cornac CausalRec", 0.05, 0.0, 0.0, peer=True)

    found = find(cells, [], plans)

    assert {(p.a.label, p.b.label, p.a.ranking) for p in found.of("peer")} == {
        ("VBPR", "cornac VBPR", "0.0"),
        ("CausalRec authors", "cornac CausalRec", "0.0"),
        ("CausalRec authors", "cornac CausalRec", "chosen"),
    }
    assert any("beside cornac VBPR" in line and "is above -2%" in line for line in found.conclusions)
    assert any("beside cornac CausalRec" in line and "is NOT above -2%" in line for line in found.conclusions)


def test_a_peer_that_may_be_far_better_is_not_passed() -> None:
    """Equal on average but with an interval that reaches below −2 %: that is said, whatever its upper end."""
    shuffled = np.random.default_rng(0).permutation(noise(0))
    cells = [outcome("VBPR", 0, {0.0: {"NDCG@10": noise(0)}})]
    cells += [outcome("cornac VBPR", 0, {0.0: {"NDCG@10": shuffled}}, peer=True)]

    found = find(cells, [], about(VBPR, seeds=(0,)))

    assert any("beside cornac VBPR" in line and "is NOT above -2%" in line for line in found.conclusions)


def test_the_fusions_are_compared_as_in_the_papers_figure() -> None:
    """The branches' own losses within each fusion, and the fusions with and without them."""
    places = {"A": ("addition", False), "M": ("multiplication", False)}
    places |= {"AML": ("addition", True), "MML": ("multiplication", True)}
    plans = [Planned(label, False, fusion, multitask) for label, (fusion, multitask) in places.items()]  # type: ignore[arg-type]
    cells = [cell for base, label in enumerate(places) for cell in _both(label, base / 100, 0.0, 0.0)]

    found = find(cells, [], about(*plans))

    compared = [(p.a.label, p.b.label, p.verdict) for p in found.of("fusion") if p.metric == "NDCG@10"]
    assert compared == [("MML", "M", "higher"), ("AML", "A", "higher"), ("MML", "AML", "higher"), ("M", "A", "higher")]


def test_missing_cells_are_named_and_never_filled_in() -> None:
    """One seed of a model and the whole of another are not there: both are said, and no figure has them."""
    found = find([dialled("VBPR", 0, 0.0, 0.0, 0.1)], [], about(VBPR, BPR))

    assert [(cell.label, cell.seed) for cell in found.missing] == [("VBPR", 1), ("BPR", 0), ("BPR", 1)]
    assert [model.label for model in found.models] == ["VBPR"]
    assert list(found.models[0].test["0.0"]["NDCG@10"].seeds) == [0]
    assert any("VBPR seed 1, BPR seed 0 and BPR seed 1" in line for line in found.conclusions)


def test_cells_that_contradict_each_other_are_refused() -> None:
    """The same cell twice, or a λ2 chosen that was never judged: the message names the cell."""
    cell = dialled("VBPR", 0, 0.0, 0.0, 0.1)

    with pytest.raises(DataError, match="VBPR, seed 0: two cells hold it"):
        find([cell, cell], [], about(VBPR))
    with pytest.raises(DataError, match=r"VBPR, seed 0: λ2 = 0\.7 was chosen but never judged"):
        find([dialled("VBPR", 0, 0.0, 0.0, 0.1, lambda2=0.7)], [], about(VBPR))


def test_a_model_below_popularity_is_named() -> None:
    """It is the first thing to know of it."""
    found = find([*_both("VBPR", 0.0, 0.0, 0.0), *_both("BPR", -0.15, 0.0, 0.0)], [], about(VBPR, BPR))

    assert "Without CI, ranking by popularity has the higher NDCG@10 than BPR." in found.conclusions


def test_the_dial_is_praised_only_where_it_beats_both_ends() -> None:
    """Better than λ2 = 0 is not enough: M alone must be beaten too."""
    beats = find(_both("VBPR", 0.0, 0.0, 0.04), [], about(VBPR))
    half = find(_both("VBPR", 0.0, 0.0, 0.04, lambda2=0.5), [], about(VBPR))

    assert any(line.startswith("Items rated high") and "are beaten by VBPR" in line for line in beats.conclusions)
    assert any(line.startswith("Items rated high") and "no model beats both" in line for line in half.conclusions)
