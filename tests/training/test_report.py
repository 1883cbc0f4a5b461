"""Tables and words for people."""

import pytest

from causalrec.equations import Form
from causalrec.manifest import Interval, Lambda2Range, SweepRow
from causalrec.model import UNDEBIASABLE, ModelConfig, Name
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


@pytest.mark.parametrize("name", UNDEBIASABLE)
def test_inspect_says_why_a_model_cannot_be_debiased(name: Name) -> None:
    """In the place of a range; neither a dead dial nor a guessed default is to be warned of where there is none."""
    model = ModelConfig(name=name, dim=8)
    only = Lambda2Range(default=0.0, maximum=0.0, basis=UNDEBIASABLE[name])

    text = describe(make_bundle("additive").manifest.model_copy(update={"model": model, "lambda2": only}))

    assert f"model       {name}, additive form, d=8\n" in text
    assert f"lambda2     0 only: {UNDEBIASABLE[name]}\n" in text
    assert not any(word in text for word in ("WARNING", "notice n", "c_u", "m* ", "null match"))


@pytest.mark.parametrize(
    ("form", "there", "absent"),
    [
        ("paper", ("causalrec, paper form", "null match=mean", "c_u  ", "saturated"), ("m*  ",)),
        ("authors", ("causalrec, authors form", "null match=mean", "m*  ", "saturated"), ("c_u",)),
        ("additive", ("causalrec, additive form", "notice n"), ("c_u", "m*  ", "null match", "saturated")),
        ("sum", ("causalrec, sum form", "saturated"), ("c_u", "m*  ", "null match")),
    ],
)
def test_inspect_shows_what_the_form_has(form: Form, there: tuple[str, ...], absent: tuple[str, ...]) -> None:
    """c_u is the paper's, m* the authors'; the additive form has no σ to saturate."""
    text = describe(make_bundle(form).manifest)

    assert [word for word in there if word not in text] == []
    assert [word for word in absent if word in text] == []
