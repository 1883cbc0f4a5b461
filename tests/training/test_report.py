"""Tables and words for people."""

from causalrec.manifest import Interval, SweepRow
from tests.bundles import make_bundle
from training.report import describe, markdown_table, sweep_table, with_interval


def test_a_table_is_markdown_with_aligned_columns() -> None:
    """Every line has the same width, the second one is the rule."""
    lines = markdown_table(["a", "long name"], [["1", "x"], ["22", "y"]]).splitlines()

    assert lines == ["| a  | long name |", "|----|-----------|", "| 1  | x         |", "| 22 | y         |"]


def test_an_interval_shows_mean_and_both_ends() -> None:
    """Negative ends keep their sign."""
    assert with_interval(Interval(mean=0.01, low=-0.002, high=0.022)) == "0.0100 [-.0020, .0220]"


def test_the_sweep_shows_clicks_first_and_only_the_ndcg_of_what_was_wanted() -> None:
    """One row per λ2 and reference, the overlap last."""
    one = Interval(mean=0.5, low=0.4, high=0.6)
    metrics = dict.fromkeys(("purchases:NDCG@9", "purchases:MRR", "NDCG@9", "MRR"), one)
    rows = [
        SweepRow(ranking="debiased", lambda2=0.4, valid=metrics, test=metrics),
        SweepRow(ranking="popularity", lambda2=None, valid=metrics, test=metrics),
    ]

    lines = sweep_table(rows, "test", {"0.4": 0.9}).splitlines()

    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "ranking",
        "MRR",
        "NDCG@9",
        "purchases:NDCG@9",
        "overlap",
    ]
    assert lines[2].startswith("| λ2 = 0.4")
    assert lines[2].endswith("| 0.900   |")
    assert lines[3].startswith("| popularity")


def test_inspect_warns_of_a_dead_dial_and_of_a_default_chosen_on_clicks() -> None:
    """Whoever reads the description learns what λ2 cannot do here."""
    manifest = make_bundle("paper", dead=True).manifest
    on_clicks = manifest.lambda2.model_copy(update={"basis": "clicks, 1 % rule"})

    text = describe(manifest.model_copy(update={"lambda2": on_clicks}))

    assert "THE DIAL IS DEAD" in text
    assert "the data holds only clicks" in text
    assert "WARNING" not in describe(make_bundle("paper").manifest)
